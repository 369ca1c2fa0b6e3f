"""State that the adaptive controller keeps of one running sequence."""

from __future__ import annotations

from foredraft.speculative.controllers.adaptive.budget import LossBudget
from foredraft.speculative.controllers.adaptive.drift import DriftFilter
from foredraft.speculative.controllers.adaptive.probing import ProbeSchedule
from foredraft.speculative.controllers.adaptive.savings import TimeSaved
from foredraft.speculative.controllers.hyperparameters import Hyperparameters
from foredraft.speculative.sequence import RunningSequence


class SequenceState:
    """Credit, the value of a token, how guesses have fared lately, and when to probe. Times in plain steps."""

    def __init__(self, sequence: RunningSequence, budget: LossBudget, hyper: Hyperparameters) -> None:
        speculation, sampling = sequence.request.speculation, sequence.request.sampling
        self.sequence = sequence
        self.budget = budget
        self.probes = ProbeSchedule(hyper)
        self.drift = DriftFilter(hyper)
        self.saved = TimeSaved()
        self.p_min, self.min_draft, self.adapts = speculation.p_min, speculation.min_draft, speculation.adapt
        way = "sampled" if sequence.rule.needs_laws else "coupled"
        self.mode = (
            f"{way} {'cool' if sampling.temperature <= hyper.cool else 'warm'}" if sampling.temperature else "greedy"
        )
        """The way of choosing tokens, which decides how likely guesses are to stand."""
        self.may_hold = not sequence.law_bound
        """Whether drawn guesses may be kept from the target (docs/concepts/algorithms.md §1.6)."""
        self.lam = 1.0
        """λ: tokens per plain step's time over about the last ten rounds; at least 1, which plain decoding gives."""
        self.read = len(sequence.tokens) - 1
        """Tokens the draft model has read, as far as one can tell from here."""
        self.begun = False
        """Whether it has been asked for guesses."""
        self.probing = self.first_probe = False
        """Whether this round asks the draft only to find out; and whether it does so because the answer begins."""
        self._hyper = hyper
        self._tokens = self._steps = 0.0

    @property
    def token_value(self) -> float:
        """What one drafted token that the calibration is sure of is worth here, in plain steps."""
        return self.drift.level / self.lam

    def on_round(self, tokens: int, steps: float, *, guessed: bool) -> None:
        """A round wrote tokens in so many plain steps; where somebody `guessed` in it, credit is charged."""
        hyper = self._hyper
        self._tokens = hyper.lam_memory * self._tokens + tokens
        self._steps = hyper.lam_memory * self._steps + steps
        self.lam = max(1.0, (self._tokens + hyper.lam_prior) / (self._steps + hyper.lam_prior))
        if guessed:
            self.budget.spend(tokens, steps)
            self.probes.on_gain(max(0.0, tokens - steps))
        else:
            self.budget.earn()

    def on_skip(self, tokens: int) -> None:
        """A round without the draft model."""
        self.probes.on_skip(tokens)
        self.drift.on_skip(tokens)

    def on_draft(self, read: int, *, right: bool) -> None:
        """A round with the draft model: what it has read of the text now, and whether its first guess was right."""
        self.read = read
        self.probes.rested = 0
        if self.probing:
            self.probes.ended(right=right)
