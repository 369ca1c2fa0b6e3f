"""Deciding not to guess may cost a hundredth of the time, and no more."""

from __future__ import annotations

import pytest

from foredraft.speculative.controllers.rest import LONGEST, SHARE, Rest


def share(thinking: float, rounds: int = 2000) -> float:
    """Share of the time that goes into thinking, in a text where nothing is ever guessed."""
    rest, spent = Rest(), 0.0
    for _ in range(rounds):
        if not rest.sleeps():
            spent += thinking
            rest.quiet(thinking)
    return spent / rounds


def test_thinking_costs_a_hundredth_whatever_a_step_costs() -> None:
    for thinking in (0.02, 0.05, 0.1, 0.25, 0.3):
        assert share(thinking) <= 1.3 * SHARE
    assert share(5.0) <= 5.0 / LONGEST * 1.1


def test_where_a_step_is_long_every_round_is_looked_at() -> None:
    assert share(0.005) == pytest.approx(0.005)


def test_rests_begin_short_after_a_guess() -> None:
    rest = Rest()
    for _ in range(200):
        if not rest.sleeps():
            rest.quiet(0.5)
    while rest.sleeps():
        pass
    rest.guessed()
    slept = []
    for _ in range(4):
        rest.quiet(0.5)
        slept.append(0)
        while rest.sleeps():
            slept[-1] += 1
    assert slept == [1, 4, 9, 16]


def test_what_is_due_is_not_slept_through() -> None:
    rest = Rest()
    for _ in range(20):
        rest.quiet(0.5)
    rest.quiet(0.5, due=3)
    assert [rest.sleeps() for _ in range(4)] == [True, True, False, False]
    rest.quiet(0.5, due=1)
    assert not rest.sleeps()


def test_a_new_answer_ends_the_rest() -> None:
    rest = Rest()
    for _ in range(20):
        rest.quiet(0.5)
    assert rest.sleeps()
    rest.wake()
    assert not rest.sleeps()
