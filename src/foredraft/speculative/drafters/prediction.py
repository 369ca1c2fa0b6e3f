"""Guesses from a text that the caller expects: the file before an edit, a draft, a form.

While the answer follows the prediction, the guess is simply what comes next in it. After a difference the two are put
side by side again, the better of: the longest common run of tokens near the old place, at least four anywhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from foredraft.speculative.drafters.finder import Finder, likelihood
from foredraft.speculative.sequence import RunningSequence

_NEAR = 64
"""Tokens around the old place in which even a single common token is a hint."""

_SURE = 4
"""Common tokens that are believed anywhere in the prediction."""

_PAST = 24
"""Tokens back that are compared."""

_TRIED = 64
"""Places compared in one search, the nearest first."""

_FAR_EVERY = 16
"""Rounds between searches of the whole prediction while the answer follows none of it."""

_READ = 16_384
"""Tokens of a prediction taken in before one guess (under a millisecond): a long one is read over several rounds."""

Tokens = NDArray[np.int32]


class PredictionDrafter(Finder):
    """Follows `request.prediction`; without one it never guesses."""

    name = "prediction"

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(_Alignment, clock)


class _Alignment:
    """Where the answer is in the prediction."""

    def __init__(self, sequence: RunningSequence) -> None:
        self._prediction = sequence.request.prediction
        self._read: Tokens = np.empty(len(self._prediction), dtype=np.int32)
        self._known = 0  # tokens of the prediction taken in
        self._done = sequence.n_prompt  # tokens of the text looked at
        self._at = 0  # the next token of the prediction
        self._common = _SURE  # equal tokens before it; the beginning is trusted
        self._home = 0  # the last place that was sure
        self._lost = 0  # rounds since then

    def follow(self, tokens: Sequence[int]) -> bool:
        if not self._prediction:
            return False
        if self._known < len(self._read):
            piece = self._prediction[self._known : self._known + _READ]
            self._read[self._known : self._known + len(piece)] = piece
            self._known += len(piece)
        new = tokens[self._done :]
        self._done = len(tokens)
        for token in new:
            if not self._common or self._at >= self._known or self._read[self._at] != token:
                self._align(tokens[max(0, len(tokens) - _PAST) :])
                break
            self._at += 1
            self._common += 1
        if self._common >= _SURE:
            self._home, self._lost = self._at, 0
        return True

    def find(self, limit: int) -> tuple[list[int], list[float]]:
        if not self._common:
            return [], []
        found = self._read[self._at : min(self._at + limit, self._known)].tolist()
        return found, [likelihood(self._common + i) for i in range(len(found))]

    def _align(self, past: Sequence[int]) -> None:
        """Find the end of the text in the prediction: near the last sure place, and now and then everywhere."""
        low, high = max(0, self._home - _NEAR), min(self._known, self._home + _NEAR)
        self._at, self._common = self._longest(past, low, high)
        if self._common < _SURE:
            if self._lost % _FAR_EVERY == 0:
                place, common = self._longest(past, 0, self._known)
                if common >= _SURE:
                    self._at, self._common = place, common
            self._lost += 1

    def _longest(self, past: Sequence[int], low: int, high: int) -> tuple[int, int]:
        """(place behind it, tokens) of the longest run in [low, high) that ends the text; the nearest of equals."""
        ends = (self._read[low:high] == past[-1]).nonzero()[0] + low
        away = np.abs(ends - self._home)
        if len(ends) > _TRIED:
            nearest = away.argpartition(_TRIED)[:_TRIED]
            ends, away = ends[nearest], away[nearest]
        place, best = self._home, 0
        for end in ends[away.argsort(kind="stable")].tolist():
            length = 1
            while length < len(past) and length <= end and self._read[end - length] == past[-1 - length]:
                length += 1
            if length > best:
                place, best = end + 1, length
        return place, best
