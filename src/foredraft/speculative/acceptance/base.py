"""Who judges. The seam between a round and the rule that keeps the target's law."""

from __future__ import annotations

from typing import Protocol

from foredraft.sampling.sampler import Laws
from foredraft.speculative.proposal import Proposal, Verification


class AcceptanceRule(Protocol):
    """Decides how many guesses stand. Knows nothing of end tokens, stop strings, limits or text.

    Contract (run on every entry of `RULES` by exact enumeration): the law of the emitted tokens is the target's, to
    1e-12, whatever the draft.
    """

    @property
    def name(self) -> str: ...

    @property
    def needs_laws(self) -> bool:
        """True when a sampled proposal must carry q1…qγ (`Proposal.dists`)."""

    def accept(self, laws: Laws, proposal: Proposal) -> Verification:
        """The verdict. `laws` gives p1…p(γ+1) and the noise of their positions, lazily: rows behind the first
        rejection are never turned into distributions."""
