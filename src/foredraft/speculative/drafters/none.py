"""No guesses at all: plain decoding as a drafter, the reference for every other one."""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.engines.base import Chunk
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


class NoDrafter:
    """Proposes nothing."""

    name = "none"

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        return [Proposal() for _ in sequences]

    def target_read(self, chunks: Sequence[Chunk]) -> None: ...

    def prefill(self, chunks: Sequence[Chunk]) -> None: ...

    def observe(self, record: Round) -> None: ...

    def forget(self, slot: int) -> None: ...

    def close(self) -> None: ...
