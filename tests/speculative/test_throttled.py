"""Deciding not to guess may cost a hundredth of the time, and no more; with any controller inside."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from foredraft.core.params import SpeculationParams
from foredraft.speculative.controllers import Fixed, LookAhead, Throttled
from foredraft.speculative.controllers.hyperparameters import DEFAULT
from foredraft.speculative.controllers.throttled import PlanThrottle
from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.simulator import new_sequence

SHARE, LONGEST = DEFAULT.throttle_share, DEFAULT.throttle_rounds


def passes(throttle: PlanThrottle) -> bool:
    """Whether this round goes by unplanned, as `Throttled` does it."""
    skips = throttle.left > 0
    throttle.left -= skips
    return skips


def share(cost: float, rounds: int = 2000) -> float:
    """Share of the time that goes into planning, in a text where nothing is ever guessed."""
    throttle, spent = PlanThrottle(), 0.0
    for _ in range(rounds):
        if not passes(throttle):
            spent += cost
            throttle.on_skip(cost)
    return spent / rounds


def test_planning_costs_a_hundredth_whatever_a_step_costs() -> None:
    for cost in (0.02, 0.05, 0.1, 0.25, 0.3):
        assert share(cost) <= 1.3 * SHARE
    assert share(5.0) <= 5.0 / LONGEST * 1.1


def test_where_a_step_is_long_every_round_is_planned() -> None:
    assert share(0.005) == pytest.approx(0.005)


def test_rests_begin_short_after_a_guess() -> None:
    throttle = PlanThrottle()
    for _ in range(200):
        if not passes(throttle):
            throttle.on_skip(0.5)
    while passes(throttle):
        pass
    throttle.restart()
    rested = []
    for _ in range(4):
        throttle.on_skip(0.5)
        rested.append(0)
        while passes(throttle):
            rested[-1] += 1
    assert rested == [1, 4, 9, 16]


def test_what_is_due_is_planned() -> None:
    throttle = PlanThrottle()
    for _ in range(20):
        throttle.on_skip(0.5)
    throttle.on_skip(0.5, due=3)
    assert [passes(throttle) for _ in range(4)] == [True, True, False, False]
    throttle.on_skip(0.5, due=1)
    assert not passes(throttle)


class Counting(Fixed):
    """A controller that never guesses, and counts how often it was asked and told."""

    planned = observed = 0

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        self.planned += 1
        return super().plan(sequences)

    def observe(self, record: Round) -> None:
        self.observed += 1


def plain_round(sequence: RunningSequence) -> Round:
    """One in which planning took a tenth of the pass."""
    return Round([sequence], [Proposal()], [Verification(0, 0, "plain", 0)], [1], 1e-4, 1e-3, 1.1e-3, 1)


def test_any_controller_is_asked_less_often_and_told_everything() -> None:
    controller, sequence = Throttled(inner := Counting(0)), new_sequence()
    for _ in range(200):
        assert controller.plan([sequence])[0].limit == 0
        controller.observe(plain_round(sequence))
    assert inner.observed == 200
    assert inner.planned < 30
    asked = inner.planned
    controller.plan([new_sequence()])
    assert inner.planned == asked + 1, "a new sequence is planned at once"


def test_nothing_is_skipped_where_guesses_are_wanted_in_every_round() -> None:
    sequence = new_sequence(speculation=SpeculationParams(adapt=False))
    controller = Throttled(inner := Counting(0))
    for _ in range(50):
        controller.plan([sequence])
        controller.observe(plain_round(sequence))
    assert inner.planned == 50
