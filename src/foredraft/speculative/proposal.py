"""What passes between the parts of a round: a guess, a verdict, and the record of what happened.

Letters as in the papers: p is the target (main model), q the draft, γ the look-ahead, x the drafted tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foredraft.sampling.distribution import Distribution
    from foredraft.speculative.sequence import RunningSequence


@dataclass(slots=True)
class Proposal:
    """A guess x1…xγ for one sequence; an empty one is plain decoding."""

    tokens: list[int] = field(default_factory=list)
    dists: list[Distribution] | None = None
    """q1…qγ: the laws the tokens were really drawn from, after every mask and temperature. None: a deterministic
    guess (greedy, n-gram, coupled), whose law is a point mass and which `match` needs no law for."""
    source: str = "none"
    """Who guessed: model, ngram, suffix, prediction, none …"""
    confidence: list[float] = field(default_factory=list)
    """One feature in [0, 1] a token, for calibration: the higher the likelier to be accepted. May be empty."""
    draft_s: float = 0.0
    """Seconds this proposal cost; a batched drafter divides its time among its sequences."""
    first_s: float = 0.0
    """The part of `draft_s` until the first token was there, what the draft had to read before it included."""
    behind: int = 1
    """Tokens the draft had to read for it."""
    whole: list[int] | None = None
    """All tokens of a guess of which only the first, `tokens`, were put before the target; `confidence` covers all."""
    rivals: list[Proposal] = field(default_factory=list)
    """Guesses of other sources for the same place that were not used: what came of them can be learned for free."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(slots=True)
class Verification:
    """The verdict on one proposal: the first `accepted` tokens stand, then one `token` of the target's own."""

    accepted: int
    token: int
    kind: str
    """"corrected" when a guess was turned down, "bonus" when all stood (also with γ = 0, where `kind` is "plain")."""
    tested: int
    """Guesses that the rule looked at: accepted + 1 if one failed. Later ones were never tested."""
    law: Distribution | None = None
    """p1, where the rule computed it: what the first guess was up against (for learning)."""

    @staticmethod
    def failed() -> Verification:
        """No verdict: the target's logits were NaN."""
        return Verification(0, -1, "error", tested=0)


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
