"""What the penalties know of the past: how often each token occurred in the window."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np

from foredraft.sampling.steps import Ids, Values


class Occurrences:
    """Counts of the tokens in the last `window` tokens (-1: all of them).

    `ahead` looks from a drafted prefix without touching this state; `commit` moves it on by emitted tokens only.
    The counts lie in two parallel arrays by rising id, so that a look ahead costs one copy of them and no sort.
    """

    def __init__(self, history: Sequence[int], window: int) -> None:
        self._window = window
        self._recent: list[int] = []  # the tokens of the window; not kept when everything counts
        self._ids, self._counts = array("q"), array("d")
        self.commit(history if window < 0 else history[max(0, len(history) - window) :])

    def commit(self, tokens: Sequence[int]) -> None:
        _add(self._ids, self._counts, tokens)
        if self._window >= 0:
            self._recent.extend(tokens)
            surplus = max(0, len(self._recent) - self._window)
            _drop(self._ids, self._counts, self._recent[:surplus])
            del self._recent[:surplus]

    def ahead(self, prefix: Sequence[int]) -> tuple[Ids, Values]:
        """(ids, counts) of the window after the tokens of a drafted prefix, ids rising, counts as float64."""
        ids, counts = self._ids[:], self._counts[:]
        _add(ids, counts, prefix)
        if self._window >= 0:
            surplus = max(0, len(self._recent) + len(prefix) - self._window)
            if surplus:
                _drop(ids, counts, [*self._recent[:surplus], *prefix][:surplus])
        return np.frombuffer(ids, dtype=np.int64), np.frombuffer(counts, dtype=np.float64)


def _add(ids: array[int], counts: array[float], tokens: Iterable[int]) -> None:
    for token in tokens:
        at = bisect_left(ids, token)
        if at < len(ids) and ids[at] == token:
            counts[at] += 1.0
        else:
            ids.insert(at, token)
            counts.insert(at, 1.0)


def _drop(ids: array[int], counts: array[float], tokens: Iterable[int]) -> None:
    for token in tokens:
        at = bisect_left(ids, token)
        if counts[at] > 1.0:
            counts[at] -= 1.0
        else:
            del ids[at], counts[at]
