"""What a grammar leaves no choice about, as guesses that cost nothing.

An answer that must be JSON of a schema has long stretches that the schema prescribes: keys, quotes, constants. The text
of such a stretch is certain; only how the model would cut it into tokens is not, so it is a guess like any other, and
the target judges it.
"""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.engines.base import Chunk
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

CONFIDENCE = 0.95
"""The text is certain, its cut into tokens nearly."""


class GrammarDrafter:
    """Guesses what must come. Nothing for answers without a grammar."""

    name = "grammar"

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        return [self._guess(sequence, plan) for sequence, plan in zip(sequences, plans, strict=True)]

    def _guess(self, sequence: RunningSequence, plan: LookAhead) -> Proposal:
        forced = getattr(sequence.sampler.constraint, "forced", None)  # not every constraint can tell what must come
        if plan.limit <= 0 or forced is None:
            return Proposal()
        tokens: list[int] = forced()[: plan.limit]
        return Proposal(tokens, source=self.name, confidence=[CONFIDENCE] * len(tokens)) if tokens else Proposal()

    def target_read(self, chunks: Sequence[Chunk]) -> None: ...

    def prefill(self, chunks: Sequence[Chunk]) -> None: ...

    def observe(self, record: Round) -> None: ...

    def forget(self, slot: int) -> None: ...

    def close(self) -> None: ...
