"""Optimal stopping of a draft: when one more guess pays. Solved once in a while, looked up at each token.

A guess is worth u = s / λ plain steps: s, the chance that it stands (the product of the chances along the draft), times
1 / λ, the time one token costs here (λ, tokens per plain step's time). Drafting it costs c, and reading k of them in
the target's pass costs `price[k]`. What the next guess's confidence will be is not known before it is drafted, only its
distribution given the last one's: so the value of going on is

    W_k(b, u) = max( stop_k(u),  −c + Σ_b' P(b'|b) · [ u·a(b') + W_{k+1}(b', u·a(b')) ] )

with a(b) the acceptance of bucket b. `stop_k` is what reading the k guesses costs, or fewer of them where guesses may
be held back. It looks over all jumps of the cost curve at once: the marginal rule of docs/concepts/algorithms.md §3.2
with the longest look-ahead there is. Everything scales with λ, so one table serves every λ.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from foredraft.speculative.controllers.adaptive.acceptance import BUCKETS, AcceptanceTable
from foredraft.speculative.controllers.adaptive.prices import Prices
from foredraft.speculative.controllers.hyperparameters import DEFAULT

_LOWEST, _HIGHEST, _POINTS = DEFAULT.values
_STEP = math.log(_HIGHEST / _LOWEST) / (_POINTS - 1)
_U = _LOWEST * np.exp(_STEP * np.arange(_POINTS))


def grid(u: float) -> int:
    """The grid point of a value u of a guess."""
    return 0 if u <= _LOWEST else min(_POINTS - 1, round(math.log(u / _LOWEST) / _STEP))


class StoppingPolicy:
    """The table of one kind of guess at given prices; values are in plain steps."""

    __slots__ = ("_on", "_rows", "start")

    def __init__(self, table: AcceptanceTable, prices: Prices, lam: float = 1.0, *, held: int = 0) -> None:
        """`lam`: λ, which matters where guesses that fall cost more than those that stand (`Prices.again`); `held`: how
        many drafted guesses may be kept from the target (any under `match`)."""
        rates = np.array(table.rates)
        most = float(_POINTS)  # of a price: without a draft it is infinite
        price, first, draft = np.array(prices.price), min(prices.first, most), min(prices.draft, most)
        depth = len(price) - 1
        # multiplying u by a(b') moves it so far along the grid
        at = np.arange(_POINTS) + np.log(np.maximum(rates, np.finfo(np.float32).eps))[:, None] / _STEP
        low = np.clip(np.floor(at).astype(np.int64), 0, _POINTS - 1)
        share = np.clip(at - low, 0.0, 1.0)
        rows = np.arange(BUCKETS)[:, None] * _POINTS
        low, high = low + rows, np.minimum(low + 1, _POINTS - 1) + rows
        gain = rates[:, None] * _U
        again, fails = [lam * x for x in prices.again], _U - gain
        *next_rows, firsts = table.next.distributions()
        chain = np.array(next_rows)
        stop = _stop(price, rates, held)

        self._on = np.empty((depth, BUCKETS, _POINTS))
        self._rows: list[list[list[float]] | None] = [None] * depth
        value = stop[depth]
        for k in range(depth - 1, -1, -1):
            flat = value.ravel()
            ahead = (1.0 - share) * flat.take(low) + share * flat.take(high)
            ahead += gain - again[k] * fails if again else gain
            if k:
                self._on[k] = chain @ ahead - draft
                value = np.maximum(self._on[k], stop[k])
        self.start: list[float] = (np.array(firsts) @ ahead - first).tolist()
        """By grid point of 1 / λ: the value of drafting at all."""

    def go_on(self, drafted: int) -> list[list[float]]:
        """By bucket of the last of 1 or more guesses drafted, and grid point of u: the value of drafting on."""
        rows = self._rows[drafted]
        if rows is None:
            rows = self._rows[drafted] = self._on[drafted].tolist()
        return rows


def _stop(price: NDArray[np.float64], rates: NDArray[np.float64], held: int) -> NDArray[np.float64]:
    """stop_k(b, u), shape (depth + 1, buckets, points): reading all k guesses, or all but the last d ≤ `held`.

    Holding back the last gives up u, the one before it u / a(b); further back the same rate is assumed.
    """
    shape = (len(price), len(rates), _POINTS)
    stop = np.broadcast_to(-price[:, None, None], shape).copy()
    back = 1.0 / np.maximum(rates, _LOWEST)[:, None]
    lost, worth = np.zeros(shape[1:]), np.broadcast_to(_U, shape[1:])
    for d in range(1, min(len(price), held + 1)):
        lost, worth = lost + worth, np.minimum(worth * back, _HIGHEST)
        stop[d:] = np.maximum(stop[d:], -price[: len(price) - d, None, None] - lost)
    return stop
