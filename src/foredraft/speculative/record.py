"""The record of a round: what was proposed, what came of it, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.sequence import RunningSequence


@dataclass(slots=True)
class Round:
    """The record of one round: parallel lists, one entry a sequence; times in seconds for the whole batch."""

    sequences: Sequence[RunningSequence]
    proposals: list[Proposal]
    verdicts: list[Verification]
    emitted: list[int]
    """Tokens each sequence grew by: accepted + 1, or fewer where the answer ended."""
    draft_s: float = 0.0
    verify_s: float = 0.0
    total_s: float = 0.0
    rows: int = 0
    """Tokens of running sequences in the verify pass: sum of γ + 1."""
    prefill_tokens: int = 0
    """Prompt tokens read in the same pass."""
    own_prompt: Sequence[int] = ()
    """Those of them that are each sequence's own: the last piece of its prompt, in its first round."""
    replayed: int = 0
    """Tokens read again in the same pass, because of guesses of earlier rounds that were rejected (`Engine.owed`)."""

    @property
    def rows_share(self) -> float:
        """The part of the pass that went to rows of running sequences, the rest being for prompts."""
        return self.rows / (self.rows + self.prefill_tokens) if self.rows else 1.0
