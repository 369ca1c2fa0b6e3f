"""Measured costs, on an engine whose passes take what they are told to take."""

from __future__ import annotations

import pytest

from foredraft.bench.costs import SIZES, Costs, measure_costs
from foredraft.engines.toy.engine import ToyClock
from foredraft.speculative.drafters import ModelDrafter
from tests.bench.toys import pair


def test_costs_are_what_the_engine_takes() -> None:
    clock = ToyClock()
    with pair(clock=clock, cost=lambda n: 0.02 * (1 + 0.25 * (n - 1))) as llm:
        drafter = llm.scheduler.drafter
        assert isinstance(drafter, ModelDrafter)
        found = measure_costs(llm, drafter, seconds=0.0, clock=clock)
        assert found.plain_s == pytest.approx(0.02)
        assert found.v == pytest.approx({n: 1 + 0.25 * (n - 1) for n in SIZES})
        assert found.bound == pytest.approx(16 / 4.75)
        assert found.draft == pytest.approx(0.0, abs=1e-6)
        again = llm.generate("ab", max_tokens=40, ignore_eos=True, temperature=0.0)
        assert again.stats.accepted
        assert drafter.failure is None


def test_measuring_between_answers_changes_none() -> None:
    with pair() as llm:
        drafter = llm.scheduler.drafter
        assert isinstance(drafter, ModelDrafter)
        ask = {"max_tokens": 40, "ignore_eos": True, "seed": 3}
        before = llm.generate("ab cat", **ask)
        measure_costs(llm, drafter, seconds=0.0)
        after = llm.generate("ab cat", **ask)
        assert after.tokens == before.tokens
        assert after.stats.accepted == before.stats.accepted


def test_a_small_context_measures_what_fits() -> None:
    with pair(n_ctx=8, draft=None) as llm:
        assert set(measure_costs(llm, seconds=0.0).v) == {1, 2, 3, 4}


def test_the_formula_of_the_literature() -> None:
    costs = Costs(0.01, {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: 1.0}, 0.1)
    gamma, speed = costs.best(0.8)
    assert gamma == 4  # docs/concepts/algorithms.md §1.2: flat v, c = 0.1, α = 0.8 has its maximum near 6
    assert speed == pytest.approx((1 - 0.8**5) / 0.2 / 1.4)
    assert costs.best(0.0) == (0, 1.0)
    assert costs.as_dict() == {"v": {"1": 1.0, "2": 1.0, "3": 1.0, "4": 1.0, "5": 1.0}, "draft": 0.1, "bound": 5.0}
