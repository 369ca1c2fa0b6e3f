"""Counting occurrences in the window, against counting them again."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from foredraft.sampling.penalties import Occurrences

texts = st.lists(st.integers(0, 5), max_size=12)


def counted(tokens: list[int], window: int) -> list[tuple[int, float]]:
    recent = tokens if window < 0 else tokens[max(0, len(tokens) - window) :]
    return sorted((token, float(count)) for token, count in Counter(recent).items())


def seen(occurrences: Occurrences, prefix: list[int]) -> list[tuple[int, float]]:
    ids, counts = occurrences.ahead(prefix)
    return list(zip(ids.tolist(), counts.tolist(), strict=True))


@given(texts, st.lists(st.tuples(texts, texts), max_size=4), st.integers(-1, 9))
def test_occurrences_are_those_of_the_window(
    history: list[int], rounds: list[tuple[list[int], list[int]]], window: int
) -> None:
    """Look ahead along a draft, then commit something else, again and again."""
    occurrences = Occurrences(history, window)
    text = list(history)
    for drafted, emitted in rounds:
        for end in range(len(drafted) + 1):
            assert seen(occurrences, drafted[:end]) == counted([*text, *drafted[:end]], window)
        occurrences.commit(emitted)
        text += emitted
        assert seen(occurrences, []) == counted(text, window)


def test_a_look_ahead_stays_as_it_was_when_the_state_moves_on() -> None:
    occurrences = Occurrences([1, 2], -1)
    ids, counts = occurrences.ahead([2])
    occurrences.commit([7, 7])
    assert (ids.tolist(), counts.tolist()) == ([1, 2], [1.0, 2.0])
