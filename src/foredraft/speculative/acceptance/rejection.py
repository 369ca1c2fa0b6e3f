"""Keep a guess with probability min(1, p/q): the law of the target, and more guesses kept than by matching.

Leviathan, Kalman & Matias 2023 (arXiv:2211.17192), Algorithm 1; Chen et al. 2023 (arXiv:2302.01318). A guess x drawn
from q stands with probability min(1, p(x)/q(x)); after a rejection the target's token comes from max(p − q, 0),
normalised. Together: q·min(1, p/q) + max(p − q, 0) = min(p, q) + max(p − q, 0) = p. One position is kept with
probability Σ min(p, q) = 1 − TV(p, q), the most that any rule can reach for a single guess.

The text is not a function of the seed alone: it also depends on how far each round looked ahead.
"""

from __future__ import annotations

from foredraft.sampling.sampler import Laws
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.proposal import Proposal, Verification


class Rejection:
    """Token by token. Guesses without laws are point masses, for which matching is the same rule (and safer: it keeps
    the law however they were made)."""

    name = "rejection"
    needs_laws = True

    def accept(self, laws: Laws, proposal: Proposal) -> Verification:
        if not proposal.dists:
            return Match().accept(laws, proposal)
        first = laws.law(0)
        for i, (x, q) in enumerate(zip(proposal.tokens, proposal.dists, strict=True)):
            p = laws.law(i) if i else first
            if laws.accept_uniform(i) * q.prob(x) <= p.prob(x):
                continue
            rest = p.minus(q) or p  # nothing but rounding left: this rejection had probability zero
            return Verification(i, rest.sample(laws.residual_place(i)), "corrected", i + 1, first)
        n = len(proposal)
        return Verification(n, laws.law(n).sample(laws.residual_place(n)), "bonus", n, first)
