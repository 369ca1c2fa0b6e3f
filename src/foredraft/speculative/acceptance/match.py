"""Keep guesses while they are what plain decoding would have written.

At each position the target chooses its token exactly as plain decoding does: greedily at temperature 0, else by
Gumbel-max with the noise of that position. A guess stands when it is that token. The emitted tokens *are* the target's
own choices, so the text is the same with any draft, any look-ahead and any timing, and every policy of guessing is
lossless. With a draft that reads the same noise this is drafter-invariant (coupled) sampling: Daliri, Musco & Suresh
2024, arXiv:2408.07978; acceptance at least (1 − TV)/(1 + TV).
"""

from __future__ import annotations

from foredraft.sampling.sampler import Laws
from foredraft.speculative.proposal import Proposal, Verification


class Match:
    """Greedy and coupled verification in one rule."""

    name = "match"
    needs_laws = False

    def accept(self, laws: Laws, proposal: Proposal) -> Verification:
        for i, x in enumerate(proposal.tokens):
            y = laws.choose(i)
            if y != x:
                return Verification(i, y, "corrected", tested=i + 1)
        n = len(proposal)
        return Verification(n, laws.choose(n), "bonus" if n else "plain", tested=n)
