"""What the penalties know of the past: how often each token occurred in the window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foredraft.sampling.steps import Ids, Values


class Occurrences:
    """Counts of the tokens in the last `window` tokens (-1: all of them).

    `ahead` looks from a drafted prefix without touching this state; `commit` moves it on by emitted tokens only.
    """

    def __init__(self, history: Sequence[int], window: int) -> None:
        self._window = window
        self._recent: list[int] = list(history if window < 0 else history[max(0, len(history) - window) :])
        self._counts: dict[int, int] = {}
        for token in self._recent:
            self._counts[token] = self._counts.get(token, 0) + 1

    def commit(self, tokens: Sequence[int]) -> None:
        self._recent.extend(tokens)
        self._slide(self._counts, tokens, dropped=len(self._recent) - self._window if self._window >= 0 else 0)
        if self._window >= 0 and len(self._recent) > self._window:
            del self._recent[: len(self._recent) - self._window]

    def ahead(self, prefix: Sequence[int]) -> tuple[Ids, Values]:
        """(ids, counts) of the window after the tokens of a drafted prefix, ids rising, counts as float64."""
        counts = self._counts
        if prefix:
            counts = dict(counts)
            dropped = len(self._recent) + len(prefix) - self._window if self._window >= 0 else 0
            self._slide(counts, prefix, dropped, [*self._recent[:dropped], *prefix] if dropped > 0 else None)
        ids = sorted(counts)
        return np.array(ids, dtype=np.int64), np.array([counts[t] for t in ids], dtype=np.float64)

    def _slide(
        self, counts: dict[int, int], entering: Sequence[int], dropped: int, leaving: Sequence[int] | None = None
    ) -> None:
        for token in entering:
            counts[token] = counts.get(token, 0) + 1
        for token in (self._recent if leaving is None else leaving)[: max(dropped, 0)]:
            if counts[token] == 1:
                del counts[token]
            else:
                counts[token] -= 1
