"""Finding the few tokens that can matter in a row of logits, without sorting or copying the row.

A vocabulary has up to 250,000 tokens and a position needs some forty of them. One pass takes the maxima of a few
hundred interleaved blocks; the k-th largest of those maxima has at least k tokens at or above it, so one comparison
with it finds every token of the top k and few others. Exact whatever the row; only the time depends on it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.sampling.steps import Ids, Values

Row = NDArray[np.float32]

_BLOCKS = 512
"""Blocks of a row for a small k: the more, the fewer tokens share a block, the longer the sort of their maxima."""


class Scores:
    """The logits of one position: a row of the engine, in which the few `named` tokens have other `values` (bias and
    penalties). `named` rises; `values` are float64 of the same shape."""

    __slots__ = ("named", "row", "values")

    def __init__(self, row: Row, named: Ids | None = None, values: Values | None = None) -> None:
        self.row = row
        self.named = named
        self.values = values

    def logit(self, token: int) -> float:
        """The logit of one token."""
        if self.named is not None and self.values is not None:
            at = int(self.named.searchsorted(token))
            if at < len(self.named) and self.named[at] == token:
                return float(self.values[at])
        return float(self.row[token])

    def above(self, floor: float) -> tuple[Ids, Values]:
        """Every possible token with a logit of at least `floor`: ids rising, logits in float64."""
        row = self.row
        ids: Ids = (row >= floor if floor > -math.inf else row > floor).nonzero()[0]
        logits = row[ids].astype(np.float64)
        if self.named is None or self.values is None:
            return ids, logits
        others = _lacks(self.named, ids)
        named = self.values >= floor if floor > -math.inf else self.values > floor
        ids = np.concatenate([ids[others], self.named[named]])
        logits = np.concatenate([logits[others], self.values[named]])
        order = ids.argsort()
        return ids[order], logits[order]

    def best(self, k: int, position: int) -> tuple[Ids, Values]:
        """At least the k best tokens, and all that tie with the last of them; fewer only if fewer are possible.

        Raises `NonFiniteLogitsError` (with `position`) for a row with NaN or +inf, or without any possible token.
        """
        # Named tokens may have sunk, so a few more are looked for at once, and more again if that was not enough.
        want = k if self.named is None else k + min(len(self.named), k + 8)
        while True:
            peaks = _peaks(self.row, want)
            if not -math.inf < peaks[-1] < math.inf:
                raise NonFiniteLogitsError(position)
            floor = float(peaks[-want]) if want <= len(peaks) else -math.inf
            ids, logits = self.above(floor)
            if len(ids) >= k or floor == -math.inf:
                break
            want *= 8
        if not len(ids):
            raise NonFiniteLogitsError(position)
        return ids, logits


def _peaks(row: Row, want: int) -> Row:
    """The maxima of interleaved blocks of a row, rising (NaN last); at least `want` of them if the row has room."""
    n = len(row)
    blocks = min(n, max(_BLOCKS, 8 * want))
    whole = n - n % blocks
    peaks: Row = np.maximum.reduce(row[:whole].reshape(-1, blocks), axis=0)
    if whole < n:
        rest = peaks[: n - whole]
        np.maximum(rest, row[whole:], out=rest)
    peaks.sort()
    return peaks


def _lacks(named: Ids, ids: Ids) -> NDArray[np.bool_]:
    """Which of `ids` are not among `named`; both rise."""
    if not len(named):
        return np.ones(len(ids), dtype=bool)
    at = named.searchsorted(ids)
    at[at == len(named)] = 0
    lacks: NDArray[np.bool_] = named[at] != ids
    return lacks
