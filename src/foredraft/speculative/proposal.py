"""What passes between the parts of a round: a guess and a verdict. (The record of a round: `record.py`.)

Letters as in the papers: p is the target (main model), q the draft, γ the look-ahead, x the drafted tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foredraft.sampling.distribution import Distribution


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
