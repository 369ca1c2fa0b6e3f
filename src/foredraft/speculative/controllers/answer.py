"""What the adaptive controller knows of one running answer."""

from __future__ import annotations

from foredraft.speculative.controllers.bucket import Bucket
from foredraft.speculative.controllers.calibration import Trust
from foredraft.speculative.sequence import Sequence as RunningSequence

_DECAY = 0.9
"""Memory of λ: about ten rounds."""
_PRIOR = 6.0
"""Plain steps by which λ is held to 1 at first: one lucky round must not make all others look poor."""
_FIRST_WAIT, _LONGEST_WAIT = 8, 256
"""Plain tokens before a probe: the first, and the most after doublings."""
_FUND, _FUND_RATE = 1.0, 0.002
"""What probes may cost, in plain steps: at first, and for each plain token since."""
_WON_FUND, _WON_RATE = 6.0, 0.05
"""Where guessing has paid, looking for the next good stretch may cost more: a share of what was won, up to this."""
_WON_WAIT = 48
"""Most plain tokens before a probe while there are winnings to spend."""


class Answer:
    """Credit, the price of time, how guesses have fared lately, and when to probe. Times in plain steps."""

    def __init__(self, sequence: RunningSequence, bucket: Bucket) -> None:
        self.sequence = sequence
        self.bucket = bucket
        self.p_min = sequence.request.speculation.p_min
        self.min_draft = sequence.request.speculation.min_draft
        self.adapts = sequence.request.speculation.adapt
        self.mode = _mode(sequence)
        """The way of choosing tokens, which decides how likely guesses are to stand."""
        self.may_hold = not (sequence.rule.needs_laws and not sequence.sampler.greedy)
        """Whether drawn guesses may be kept from the target: they may not where a law must be kept (§1.6)."""
        self.lam = 1.0
        """λ: tokens per plain step's time over about the last ten rounds; at least 1, which plain decoding gives."""
        self.trust = Trust()
        self.read = len(sequence.tokens) - 1
        """Tokens the draft model has read, as far as one can tell from here."""
        self.plain_run = 0
        """Tokens since the draft model last guessed."""
        self.begun = False
        """Whether it has been asked for guesses."""
        self.probing = self.greeting = False
        """Whether this round asks the draft only to find out; and whether it does so because the answer begins."""
        self.saved_s = self.saved_var = 0.0
        self._tokens = self._time = 0.0
        self._wait = _FIRST_WAIT
        self._fund = _FUND
        self._rested = 0

    @property
    def worth(self) -> float:
        """What one drafted token that the calibration is sure of is worth here, in plain steps."""
        return self.trust.level / self.lam

    def wrote(self, tokens: int, time: float) -> None:
        """A round wrote tokens in so many plain steps."""
        self._tokens = _DECAY * self._tokens + tokens
        self._time = _DECAY * self._time + time
        self.lam = max(1.0, (self._tokens + _PRIOR) / (self._time + _PRIOR))

    def guessed(self, tokens: int, time: float) -> None:
        """The same for a round with guesses: credit is charged, and winnings pay for later probes."""
        self.bucket.guessed(tokens, time)
        if tokens > time:
            self._fund = min(_WON_FUND, self._fund + _WON_RATE * (tokens - time))

    def rested(self, tokens: int) -> None:
        """A round without the draft model."""
        self.plain_run += tokens
        self._rested += tokens
        if self._rested >= 8:
            self.trust.rest(self._rested)
            self._rested = 0
        if self._fund < _FUND:
            self._fund += _FUND_RATE * tokens

    def drew(self, right: bool) -> None:
        """A round with the draft model: whether its first token was right."""
        if self.probing:
            self._wait = max(self._wait // 4, _FIRST_WAIT) if right else min(2 * self._wait, _LONGEST_WAIT)
        self.plain_run = 0

    def look_again(self) -> None:
        """Something has happened that is worth an early probe."""
        self._wait = _FIRST_WAIT

    @property
    def wait(self) -> int:
        """Plain tokens before the next probe."""
        return min(self._wait, _WON_WAIT) if self._fund > 2.0 * _FUND else self._wait

    def probe(self, risk: float, *, sure: bool) -> bool:
        """Whether to find out now if guessing pays again, at this risk; `sure`: its cost is known from use."""
        if self.plain_run < self.wait or (sure and self._fund < min(risk, _FUND)):
            return False
        self.probing = True
        self._fund -= risk
        return True


def _mode(sequence: RunningSequence) -> str:
    temperature = sequence.request.sampling.temperature
    if temperature == 0.0:
        return "greedy"
    return f"{'sampled' if sequence.rule.needs_laws else 'coupled'} {'cool' if temperature <= 0.5 else 'warm'}"
