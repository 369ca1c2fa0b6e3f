"""When one more guess pays: the optimal stopping problem of a round, solved once in a while, looked up at each token.

A guess is worth s / λ plain steps: s, the chance that it stands (the product of the chances along the draft), times
1 / λ, the time one token costs here (λ, tokens per plain step's time). Drafting it costs c, and reading k of them in
the target's pass costs `price[k]`. What the next guess's confidence will be is not known before it is drafted, only its
law given the last one's: so the value of going on is

    W_k(b, u) = max( stop_k(u),  −c + Σ_b' P(b'|b) · [ u·a(b') + W_{k+1}(b', u·a(b')) ] ),      u = s / λ

with a(b) the acceptance of bucket b. `stop_k` is what reading the k guesses costs, or fewer of them where guesses may
be held back. It looks over all jumps of the cost curve at once: the marginal rule of algorithms.md §3.2 with the
longest look-ahead there is. Everything scales with λ, so one table serves every λ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foredraft.speculative.controllers.calibration import BUCKETS, Table

_LOWEST, _HIGHEST, _POINTS = 0.02, 1.4, 44
_STEP = math.log(_HIGHEST / _LOWEST) / (_POINTS - 1)
_U = _LOWEST * np.exp(_STEP * np.arange(_POINTS))
"""The grid of u: finer than acceptance is ever known."""
_MOST_HELD = 4
"""A jump of the cost curve is crossed or not within a block of four rows: holding back more never pays."""


def grid(u: float) -> int:
    """The grid point of a value u of a guess."""
    if u <= _LOWEST:
        return 0
    return min(_POINTS - 1, int(math.log(u / _LOWEST) / _STEP + 0.5))


class Policy:
    """The table of one kind of guess at given costs; costs and values are in plain steps."""

    __slots__ = ("_on", "_rows", "start")

    def __init__(
        self,
        table: Table,
        first: float,
        draft: float,
        price: Sequence[float],
        again: Sequence[float] = (),
        *,
        may_hold: bool,
    ) -> None:
        """`first`, `draft`: cost of a round's first draft step, and of another one; `price[k]`: extra cost of reading k
        guesses; `again[k]`: λ times what it costs if k stand and the next does not (`Prices.again`); `may_hold`: what
        was drafted may be kept from the target (any guess under `match`)."""
        rates = np.array(table.rates)
        depth = len(price) - 1
        # multiplying u by a(b') moves it so far along the grid
        at = np.arange(_POINTS) + np.log(np.maximum(rates, 1e-6))[:, None] / _STEP
        whole = np.floor(at)
        low = np.clip(whole.astype(np.int64), 0, _POINTS - 1)
        high = np.minimum(low + 1, _POINTS - 1)
        share = np.clip(at - low, 0.0, 1.0)
        rows = np.arange(BUCKETS)[:, None] * _POINTS
        low, high = low + rows, high + rows
        gain = rates[:, None] * _U
        fails = _U - gain
        laws = np.array(table.next_laws())
        firsts = np.array(table.first_law())
        stop = _stop(np.array(price), rates, may_hold=may_hold)

        on = np.empty((depth, BUCKETS, _POINTS))
        value = stop[depth]
        for k in range(depth - 1, -1, -1):
            flat = value.ravel()
            below = flat.take(low)
            ahead = flat.take(high)
            ahead -= below
            ahead *= share
            ahead += below
            ahead += gain - again[k] * fails if again else gain
            if k:
                np.matmul(laws, ahead, out=on[k])
                on[k] -= draft
                value = np.maximum(on[k], stop[k])
        self._on = on
        self._rows: list[list[list[float]] | None] = [None] * depth
        self.start: list[float] = (firsts @ ahead - first).tolist()
        """By grid point of 1 / λ: the value of drafting at all."""

    def go_on(self, drafted: int) -> list[list[float]]:
        """By bucket of the last of 1 or more guesses drafted, and grid point of u: the value of drafting on."""
        rows = self._rows[drafted]
        if rows is None:
            rows = self._rows[drafted] = self._on[drafted].tolist()
        return rows


def _stop(price: NDArray[np.float64], rates: NDArray[np.float64], *, may_hold: bool) -> NDArray[np.float64]:
    """stop_k(b, u), shape (depth + 1, buckets, points): reading all k guesses, or all but the last d.

    Holding back the last gives up u, the one before it u / a(b); further back the same rate is assumed.
    """
    shape = (len(price), len(rates), _POINTS)
    stop = np.broadcast_to(-price[:, None, None], shape)
    if not may_hold:
        return stop
    stop = stop.copy()
    back = 1.0 / np.maximum(rates, 1e-3)[:, None]
    lost = np.zeros(shape[1:])
    worth = np.broadcast_to(_U, shape[1:])
    for d in range(1, min(len(price), _MOST_HELD + 1)):
        lost = lost + worth
        worth = np.minimum(worth * back, _HIGHEST)
        stop[d:] = np.maximum(stop[d:], -price[: len(price) - d, None, None] - lost)
    return stop
