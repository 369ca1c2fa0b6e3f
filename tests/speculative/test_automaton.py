"""The suffix automaton against searching the whole text again after every token."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.speculative.drafters import automaton
from foredraft.speculative.drafters.automaton import SuffixAutomaton


def texts(longest: int = 60) -> st.SearchStrategy[list[int]]:
    """Over alphabets of one to fifteen tokens; the larger ones fill the crowds of the automaton."""
    return st.integers(0, 14).flatmap(lambda most: st.lists(st.integers(0, most), max_size=longest))


def longest_match(text: Sequence[int], within: Sequence[int] | None = None) -> int:
    """The longest suffix of `text` that occurs in `within`, or, without it, in the text before its own end."""
    for length in range(len(text), 0, -1):
        suffix = list(text[len(text) - length :])
        whole = list(text) if within is None else list(within)
        ends = len(whole) - length + (0 if within is None else 1)
        if any(whole[start : start + length] == suffix for start in range(ends)):
            return length
    return 0


@given(texts())
@settings(deadline=None)
def test_match_is_the_longest_repetition(text: list[int]) -> None:
    grown = SuffixAutomaton()
    for n, token in enumerate(text, start=1):
        grown.append(token)
        length, place, share = grown.match()
        assert length == longest_match(text[:n])
        if length:
            assert place < n  # something follows
            assert text[place - length : place] == text[n - length : n]
            assert 0.0 < share <= 1.0
    assert list(grown.text) == text
    assert len(grown) == len(text)


@given(texts(), texts(30))
@settings(deadline=None)
def test_walk_finds_the_longest_suffix_of_another_text(text: list[int], other: list[int]) -> None:
    past = SuffixAutomaton()
    past.extend(text)
    state, length = 0, 0
    for n, token in enumerate(other, start=1):
        state, length, _ = past.walk(state, length, token)
        assert length == longest_match(other[:n], text)
        place = past.place(state)
        assert text[place - length : place] == other[n - length : n]


@given(texts(), st.integers(0, 40))
def test_what_follows_goes_round_behind_the_end(text: list[int], count: int) -> None:
    grown = SuffixAutomaton()
    grown.extend(text)
    length, place, _ = grown.match()
    if length:
        whole = list(text)
        for i in range(count):
            whole.append(whole[place + i])
        assert grown.following(place, count) == whole[len(text) :]


def test_the_newest_continuation_comes_first_and_the_share_tells_how_often_it_held() -> None:
    grown = SuffixAutomaton()
    grown.extend([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2])
    _, place, share = grown.match()
    assert grown.text[place] == 4
    assert share < 1.0
    steady = SuffixAutomaton()
    steady.extend([1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3, 7, 1, 2])
    assert steady.match()[2] == 1.0


def test_states_and_memory_stay_within_bounds() -> None:
    """At most 2n states and 3n transitions, and 200 bytes a token, on texts that are hard for it."""
    import random

    rng = random.Random(1)
    zipf = [int(20_000 ** rng.random()) for _ in range(20_000)]
    for text in (zipf, [rng.randrange(2) for _ in range(20_000)], [rng.randrange(50) for _ in range(20_000)]):
        grown = SuffixAutomaton()
        grown.extend(text)
        assert len(grown._length) <= 2 * len(text)
        assert len(grown._token) <= 3 * len(text)
        assert grown.nbytes <= 200 * len(text)


@given(texts())
@settings(deadline=None, max_examples=30)
def test_crowds_change_nothing(text: list[int]) -> None:
    import pytest

    usual = SuffixAutomaton()
    usual.extend(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(automaton, "_CROWD", 0)
        crowded = SuffixAutomaton()
        crowded.extend(text)
    assert crowded.match() == usual.match()
