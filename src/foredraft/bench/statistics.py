"""Ratios of times with their uncertainty.

Times on a machine that does other things too have long tails, so each prompt counts with the median of its repeats.
A ratio is one of sums over prompts: what a user who asks all of them gains. Its interval comes from the bootstrap in
two stages (Davison & Hinkley 1997, §3.8): prompts are drawn anew, and the repeats of each; both modes of a repeat stay
together, because they were measured side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
LEVEL = 0.95

Times = Sequence[Sequence[float]]
"""Seconds by prompt and repeat."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval that holds the truth in 95 of 100 such measurements."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def ratio(above: Times, below: Times, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Σ median(above) / Σ median(below) over prompts, with its interval. Entry by entry both hold the same prompt, and
    repeat by repeat the same moment; prompts may have different numbers of repeats. Raises `ValueError` if empty."""
    if not above or len(above) != len(below) or not all(above):
        raise ValueError("times of at least one prompt are needed, the same prompts on both sides")
    value = sum(float(np.median(a)) for a in above) / sum(float(np.median(b)) for b in below)
    draw = np.random.default_rng(seed)
    tops, bottoms = zip(*(_resampled(a, b, draws, draw) for a, b in zip(above, below, strict=True)), strict=True)
    chosen = draw.integers(len(above), size=(draws, len(above)))
    rows = np.arange(draws)[:, None]
    ratios = np.stack(tops, axis=1)[rows, chosen].sum(axis=1) / np.stack(bottoms, axis=1)[rows, chosen].sum(axis=1)
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, min(float(low), value), max(float(high), value))


def mean(intervals: Sequence[Interval]) -> Interval:
    """The mean of independent estimates; their errors add as squares."""
    n = len(intervals)
    value = sum(i.value for i in intervals) / n
    down = sum((i.value - i.low) ** 2 for i in intervals) ** 0.5 / n
    up = sum((i.high - i.value) ** 2 for i in intervals) ** 0.5 / n
    return Interval(value, value - down, value + up)


def _resampled(
    above: Sequence[float], below: Sequence[float], draws: int, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Medians of the repeats of one prompt, drawn anew `draws` times, the two sides together."""
    n = min(len(above), len(below))
    chosen = draw.integers(n, size=(draws, n))
    return np.median(np.asarray(above[:n])[chosen], axis=1), np.median(np.asarray(below[:n])[chosen], axis=1)
