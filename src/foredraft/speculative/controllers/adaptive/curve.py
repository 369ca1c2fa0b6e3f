"""Cost curve: t(n), the seconds of a pass with n rows, as robust running means.

Nothing about t(n) is assumed: the curves jump at kernel borders and are not even monotone (docs/concepts/engine.md §1).
Each n has its own mean, measured at load or at its first use; between measured points nothing is interpolated across
4k|4k+1 (a new block is taken to cost what its far end costs).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from foredraft.core.params import MAX_DRAFT
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters

ROWS = MAX_DRAFT + 1
"""Largest n with a mean of its own: the last token and the guesses. Beyond it t(n) goes on in a line."""


class RobustMean:
    """A running mean of times, in seconds at slowdown 1, that single disturbances do not move."""

    __slots__ = ("_hyper", "_last", "count", "seconds")

    def __init__(self, seconds: float, count: int = 0, hyper: Hyperparameters = DEFAULT) -> None:
        self.seconds = seconds
        self.count = count
        """Times it stands on."""
        self._hyper = hyper
        self._last = (1.0,) * min(count, hyper.last)  # the last few times, as ratios to the mean

    def observe(self, seconds: float) -> float:
        """Take in one time; returns what of it may be charged to a guess. Of a well-known mean that is at most `spike`
        times the mean, of another one everything: what was not known is no disturbance."""
        hyper, ratio = self._hyper, seconds / self.seconds
        charged = min(seconds, hyper.spike * self.seconds) if self.count >= hyper.last else seconds
        self._last = (*self._last[1 - hyper.last :], ratio)
        self.count += 1
        if ordinary(ratio, hyper):
            self.seconds *= 1.0 + max(hyper.slowest_rate, 1.0 / self.count) * (ratio - 1.0)
        else:
            middle = _median(self._last, low=ratio > 1.0)
            if self.count > 1 and not ordinary(middle, hyper):  # most of the last times are off: that is the truth
                self.seconds *= min(middle, hyper.spike)
                self._last, self.count = (1.0,), hyper.last
        return charged


class CostCurve:
    """t(n) for one range of context lengths: means for the n that were measured, a prior for the others.

    The mean of n = 1 never moves: what plain steps take now is that mean times `slowdown`, and all others with it.
    """

    def __init__(
        self, means: Mapping[int, RobustMean], slowdown: float = 1.0, hyper: Hyperparameters = DEFAULT
    ) -> None:
        self.means = dict(means)
        self.slowdown = slowdown
        """How slow the machine is just now, as a factor on every mean."""
        self._hyper = hyper
        self._last: deque[float] = deque(maxlen=hyper.slowdown_last)  # the last passes, as ratios to their means

    def at(self, n: int) -> float:
        """Seconds of a pass with n rows at slowdown 1."""
        mean = self.means.get(n)
        if mean is not None:
            return mean.seconds
        if n > ROWS:
            return self.at(ROWS) + (n - ROWS) * max(0.0, self.at(ROWS) - self.at(1)) / (ROWS - 1)
        block, means = self._hyper.block, self.means
        below = max((k for k in means if k < n), default=0)
        above = min((k for k in means if k > n), default=0)
        if not below:
            return means[above].seconds
        low = means[below].seconds
        if above:
            high = means[above].seconds
            if (below - 1) // block != (n - 1) // block:
                return max(low, high)
            return low + (n - below) / (above - below) * (high - low)
        # beyond everything measured: the steeper of the whole curve's slope and its last stretch, in whole blocks
        more = (n - 1) // block * block + block - below
        first = min(means)
        if below == first:
            return low * (1.0 + self._hyper.block_slope * more)
        slopes = [(low - means[k].seconds) / (below - k) for k in (first, sorted(means)[-2])]
        return low + more * max(*slopes, 0.0)

    def copy(self) -> CostCurve:
        means = {n: RobustMean(mean.seconds, min(mean.count, 2), self._hyper) for n, mean in self.means.items()}
        return CostCurve(means, self.slowdown, self._hyper)

    def observe(self, n: int, seconds: float) -> float:
        """A pass with n ≥ 2 rows took so long; returns what of it may be charged to its guesses."""
        mean = self.means.get(n)
        if mean is None:
            mean = self.means[n] = RobustMean(self.at(n), 0, self._hyper)
        charged = mean.observe(seconds / self.slowdown) * self.slowdown
        if mean.count > self._hyper.last:
            self.follow(seconds / mean.seconds, self._hyper.other_rate)
        return charged

    def follow(self, ratio: float, rate: float) -> None:
        """A pass took `ratio` times its mean: the slowdown follows; disturbed ones move it once they are most."""
        self._last.append(ratio)
        if ordinary(ratio / self.slowdown, self._hyper):
            self.slowdown += rate * (ratio - self.slowdown)
        elif len(self._last) > self._hyper.slowdown_last // 2:
            middle = _median(self._last)
            if not ordinary(middle / self.slowdown, self._hyper):
                self.slowdown = middle


def ordinary(ratio: float, hyper: Hyperparameters) -> bool:
    """Whether a time is near enough its mean to teach something."""
    return 1.0 / hyper.spike <= ratio <= hyper.spike


def _median(values: Sequence[float], *, low: bool = True) -> float:
    """The middle value; of an even number the lower or the higher middle."""
    return sorted(values)[(len(values) - 1) // 2 if low else len(values) // 2]
