"""Throttling of any draft controller: planning has a price too.

Where a plain step takes a millisecond, deciding not to guess costs a tenth of it. So after rounds in which nothing was
guessed others go by unplanned, so many that deciding stays below a hundredth of the time. Where a plain step takes
20 ms that is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from foredraft.core.reasons import Reason
from foredraft.speculative.controllers.base import DraftController, LookAhead
from foredraft.speculative.controllers.fixed import NO_LOOKAHEAD
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


class PlanThrottle:
    """How many rounds go by unplanned. They begin few after a guess and with new sequences, 1, 4, 9 …, so that a pause
    between two good stretches is not passed over."""

    __slots__ = ("_cost", "_hyper", "_quiet", "left")

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self.left = 0
        """Rounds yet to go by."""
        self._cost = 0.0  # of deciding not to guess, in plain steps
        self._quiet = 0

    def restart(self) -> None:
        """A guess was read, or the sequences have changed: look again soon."""
        self.left = self._quiet = 0

    def on_skip(self, cost: float, due: float = math.inf) -> None:
        """A round that was planned and left plain; deciding so took `cost` plain steps. In `due` rounds something is to
        be decided, and will be planned."""
        hyper = self._hyper
        self._cost = hyper.throttle_memory * self._cost + (1.0 - hyper.throttle_memory) * min(cost, 1.0)
        self._quiet += 1
        rounds = min(hyper.throttle_rounds, self._quiet * self._quiet, self._cost / hyper.throttle_share, due - 1)
        self.left = int(rounds)


class Throttled:
    """A controller that asks another one, `inner`, but not in every round. New sequences are always planned at once;
    and so is what `inner` says is `due`, if it says so."""

    def __init__(self, inner: DraftController, hyper: Hyperparameters = DEFAULT) -> None:
        self.inner = inner
        self.throttle = PlanThrottle(hyper)
        self._planned: list[RunningSequence] = []
        self._skipped = False

    def plan(self, sequences: Sequence[RunningSequence]) -> Sequence[LookAhead]:
        same = len(sequences) == len(self._planned) and all(map(_is, sequences, self._planned))
        self._skipped = same and self.throttle.left > 0
        if self._skipped:
            self.throttle.left -= 1
            return [NO_LOOKAHEAD] * len(sequences)
        if not same:
            self._planned = list(sequences)
            self.throttle.restart()
        return self.inner.plan(sequences)

    def reads_along(self, sequence: RunningSequence) -> bool:
        return self.inner.reads_along(sequence)

    def observe(self, record: Round) -> None:
        self.inner.observe(record)
        if record.rows > len(record.sequences):
            self.throttle.restart()
        elif not self._skipped and all(not x.tokens and not x.rivals for x in record.proposals):
            steady = any(not sequence.request.speculation.adapt for sequence in record.sequences)
            if not steady and not record.prefill_tokens and record.verify_s > 0.0:
                # learning from a round takes about as long as planning it
                self.throttle.on_skip(2.0 * record.draft_s / record.verify_s, getattr(self.inner, "due", math.inf))

    def park(self, source: str, reason: Reason | str) -> None:
        """A source has stopped for good; told to controllers that want to know."""
        tell = getattr(self.inner, "park", None)
        if tell is not None:
            tell(source, reason)

    @property
    def status(self) -> tuple[str, Reason | str | None]:
        return self.inner.status


def _is(one: RunningSequence, other: RunningSequence) -> bool:
    return one is other
