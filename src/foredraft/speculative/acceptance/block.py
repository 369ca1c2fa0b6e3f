"""Judge the guesses of a round together: the target's law, and the most guesses kept of any rule.

Sun et al. 2025, "Block Verification Accelerates Speculative Decoding" (arXiv:2403.10444), Algorithm 2. With drafted
x1…xL, drawn from q1…qL:

    P_0 = 1,   P_i = min(1, P_{i−1} · p_i(x_i) / q_i(x_i))
    Z_i = Σ max(P_i · p_{i+1} − q_{i+1}, 0)
    h_i = Z_i / (Z_i + 1 − P_i)  for i < L  (0/0 is 1),   h_L = P_L
    τ = the largest i with η_i ≤ h_i, for independent uniform η_i;  0 if there is none

x1…xτ stand, and the target's token comes from p_{L+1} if τ = L, else from max(P_τ · p_{τ+1} − q_{τ+1}, 0), normalised.
At every node P(τ ≥ i | x1…xi) = P_i: by induction from the end, P(τ > i | x1…xi) = Σ q·min(1, P_i·p/q) = P_i − Z_i, and
1 − (1 − h_i)(1 − P_i + Z_i) = P_i. Nothing in this needs blocks of equal length: a draft may stop at a node for any
reason that lies in x1…xi.

A likely later guess rescues an unlikely earlier one, so τ is at least that of token-by-token rejection on average.
It also means that verdicts look at η and x of positions that are not emitted. The next round comes back to these
positions, and must not find the same numbers there: their noise is keyed by the round's start as well (`Laws`).
"""

from __future__ import annotations

from foredraft.sampling.sampler import Laws
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.proposal import Proposal, Verification


class Block:
    """All guesses of a round at once. Guesses without laws are point masses, where nothing beats matching: P_i is then
    Π p(x_j), the chance that matching keeps i of them."""

    name = "block"
    needs_laws = True

    def accept(self, laws: Laws, proposal: Proposal) -> Verification:
        x, q, n = proposal.tokens, proposal.dists, len(proposal)
        if not q:
            return Match().accept(laws, proposal)
        p, weights = [], [1.0]  # p1…, and P_0, P_1, …
        for i in range(n):
            p.append(laws.law(i))
            weight = weights[-1] * p[i].prob(x[i]) / q[i].prob(x[i])
            if weight == 0.0:  # impossible for the target, and so is everything behind it
                break
            weights.append(min(1.0, weight))

        reach = len(weights) - 1
        if reach == n:
            if laws.accept_uniform(n - 1) <= weights[n]:
                return Verification(n, laws.law(n).sample(laws.residual_place(n)), "bonus", n, p[0])
            reach -= 1
        kept = 0
        for i in range(reach, 0, -1):
            rest = p[i].excess(q[i], weights[i])
            if laws.accept_uniform(i - 1) * (rest + 1.0 - weights[i]) <= rest:
                kept = i
                break
        law = p[kept].minus(q[kept], weights[kept]) or p[kept]  # nothing but rounding left: had probability zero
        return Verification(kept, law.sample(laws.residual_place(kept)), "corrected", kept + 1, p[0])
