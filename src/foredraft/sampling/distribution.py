"""A law over tokens, sparse: the ids that can happen and their probabilities in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foredraft.sampling import noise

_UNDERFLOW = 1e-12
"""A residual with less mass than this is rounding: the rejection it would follow has probability zero."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Ids (int64, shape (n,), distinct, any order) and probabilities (float64, shape (n,), sum 1)."""

    ids: NDArray[np.int64]
    probs: NDArray[np.float64]

    @classmethod
    def one_hot(cls, token: int) -> Distribution:
        """The law that is certain of one token: that of a deterministic guess."""
        return cls(np.array([token], dtype=np.int64), np.ones(1))

    @classmethod
    def from_logits(cls, ids: NDArray[np.int64], logits: NDArray[np.float64]) -> Distribution:
        """Softmax over a candidate set."""
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        return cls(ids, weights)

    def prob(self, token: int) -> float:
        """P(token); 0 for a token outside the support."""
        at = np.flatnonzero(self.ids == token)
        return float(self.probs[at[0]]) if at.size else 0.0

    def probs_of(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """P of each of these tokens; 0 outside the support."""
        order = self.ids.argsort()
        known = self.ids[order]
        at = np.minimum(known.searchsorted(ids), len(known) - 1)
        probs: NDArray[np.float64] = np.where(known[at] == ids, self.probs[order[at]], 0.0)
        return probs

    def argmax(self) -> int:
        """The most likely token, ties to the lowest id."""
        best = self.ids[self.probs == self.probs.max()]
        return int(best.min())

    def minus(self, other: Distribution, weight: float = 1.0) -> Distribution | None:
        """normalise(max(weight · self − other, 0)): what is left for the token after a rejection (Leviathan et al.
        2023, Algorithm 1; with a weight Sun et al. 2025, block verification). None when nothing but rounding is left.
        """
        rest = np.maximum(weight * self.probs - other.probs_of(self.ids), 0.0)
        mass = rest.sum()
        if mass < _UNDERFLOW:
            return None
        kept = rest > 0.0
        return Distribution(self.ids[kept], rest[kept] / mass)

    def excess(self, other: Distribution, weight: float = 1.0) -> float:
        """Σ max(weight · self − other, 0), the mass `minus` normalises by."""
        return float(np.maximum(weight * self.probs - other.probs_of(self.ids), 0.0).sum())

    def overlap(self, other: Distribution) -> float:
        """Σ min(self, other) = 1 − total variation: the chance that rejection sampling keeps a token of `other`."""
        return 1.0 - self.excess(other)

    def sample(self, place: int) -> int:
        """Draw a token by the Gumbel-max trick with the noise of a place (`noise.key`)."""
        with np.errstate(divide="ignore"):
            score = np.log(self.probs) + noise.gumbel(place, self.ids)
        return int(self.ids[score.argmax()])
