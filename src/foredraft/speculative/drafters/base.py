"""Who guesses. The seam between a round and a source of guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foredraft.engines.base import Chunk
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


class Drafter(Protocol):
    """A source of guesses. Contract (run on every entry of `DRAFTERS`):

    - at most `limit` tokens, each an id of the target's vocabulary, each in the support of its q;
    - survives skipped rounds, rewinds, sequences that come and go;
    - changes nothing but speed.
    """

    @property
    def name(self) -> str: ...

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        """A proposal for each sequence, possibly empty."""

    def target_read(self, chunks: Sequence[Chunk]) -> None:
        """The target has just read these, guesses included, and what its pass left can still be had: a drafter that
        lives on it takes it now."""

    def prefill(self, chunks: Sequence[Chunk]) -> None:
        """What the target has read of these prompts by now; a drafter with a cache of its own reads what it lacks."""

    def observe(self, record: Round) -> None:
        """A round has ended; the sequences have grown."""

    def forget(self, slot: int) -> None:
        """The slot's sequence has ended or moved; what is remembered of it may go."""

    def close(self) -> None: ...
