"""Guesses by looking up where the last few tokens occurred before (prompt lookup, Saxena 2023).

The plain one among the finders, kept beside `suffix` as its readable reference: the newest few places with the same
last two tokens are compared, and the one with the longest common past is continued.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence

from foredraft.speculative.drafters.finder import READ_A_ROUND, Finder, likelihood

_PLACES = 16
"""Earlier places that are compared."""

_PAST = 24
"""Tokens back that are compared at each."""


class NgramDrafter(Finder):
    """Prompt lookup in prompt and answer."""

    name = "ngram"

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__(lambda sequence: _Ngrams(), clock)


class _Ngrams:
    """The text, and for each place the one before with the same last two tokens."""

    def __init__(self) -> None:
        self._text = array("i")
        self._before = array("i")
        self._newest: dict[int, int] = {}  # pair of tokens -> newest place of its second

    def follow(self, tokens: Sequence[int]) -> bool:
        text, newest = self._text, self._newest
        for token in tokens[len(text) : len(text) + READ_A_ROUND]:
            pair = text[-1] << 32 | token if text else -1
            self._before.append(newest.get(pair, -1))
            newest[pair] = len(text)
            text.append(token)
        return len(text) == len(tokens)

    def find(self, limit: int) -> tuple[list[int], list[float]]:
        text = self._text
        end = len(text) - 1
        best, place = 0, -1
        followers: list[int] = []
        at = self._before[end] if end > 0 else -1
        while at >= 0 and len(followers) < _PLACES:
            followers.append(text[at + 1])
            length = self._common_past(at, end)
            if length > best:
                best, place = length, at
            at = self._before[at]
        if place < 0:
            return [], []
        found = text[place + 1 : place + 1 + limit].tolist()
        agreed = followers.count(found[0]) / len(followers)
        return found, [likelihood(best + i) * (agreed if i == 0 else 1.0) for i in range(len(found))]

    def _common_past(self, at: int, end: int) -> int:
        text = self._text
        length = 2
        while length < _PAST and length <= at and text[at - length] == text[end - length]:
            length += 1
        return length
