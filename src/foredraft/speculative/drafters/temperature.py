"""The temperature at which a draft guesses best, learned from every verdict.

Under rejection and block a guess stands with probability Σ min(p, q). The draft may draw at any temperature: only q
changes, and with it the speed. Sampling truncates before it divides by the temperature, so q at another temperature has
the same support and is a power of q, normalised: what every temperature of a grid *would* have kept is known for each
verdict, without trying it out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foredraft.sampling.distribution import Distribution

GRID = np.array([0.6, 0.75, 0.9, 1.0, 1.15, 1.35, 1.6])
"""Draft temperatures, in shares of the request's."""

_START = 3  # 1.0
_DECAY = 0.99
_ENOUGH = 50.0
"""Weight of verdicts before the first change (with the decay above, never more than 100)."""

_LEAD = 0.01
"""How much more must be kept to move to another temperature: gains are small, and moving about costs calibration."""


class DraftTemperature:
    """One factor for each temperature that requests ask for."""

    def __init__(self) -> None:
        self._kept: dict[float, NDArray[np.float64]] = {}  # Σ min(p, q) for each of the grid, decaying; the weight last
        self._chosen: dict[float, int] = {}

    def factor(self, temperature: float) -> float:
        """What the draft's temperature is, in shares of the request's."""
        return float(GRID[self._chosen.get(round(temperature, 1), _START)])

    def learn(self, temperature: float, p: Distribution, q: Distribution) -> None:
        """A verdict: the target's law and the draft's at one position, q as drawn from (at the factor of now)."""
        name = round(temperature, 1)
        now = self._chosen.get(name, _START)
        powers = q.probs ** (GRID[now] / GRID)[:, None]
        powers /= powers.sum(axis=1, keepdims=True)
        kept = self._kept.setdefault(name, np.zeros(len(GRID) + 1))
        kept *= _DECAY
        kept[:-1] += np.minimum(powers, p.probs_of(q.ids)).sum(axis=1)
        kept[-1] += 1.0
        best = int(kept[:-1].argmax())
        if kept[-1] > _ENOUGH and kept[best] - kept[now] > _LEAD * kept[-1]:
            self._chosen[name] = best
