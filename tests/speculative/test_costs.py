"""Costs: measured, corrected, kept, and not fooled by disturbances.

Mistakes that these tests must notice are made on purpose in `test_controller_mutants.py`; and by hand:
- a foreign file is believed: test_a_file_of_another_pair_is_not_used
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core import json_cache
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk
from foredraft.engines.toy import ToyClock, ToyEngine, ToyTokenizer
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.curve import ROWS
from foredraft.speculative.controllers.adaptive.measure import measure
from foredraft.speculative.controllers.hyperparameters import DEFAULT

T = 0.01
POINTS = {1: T, 2: 1.2 * T, 4: 1.4 * T, 8: 2.0 * T}
KEY: json_cache.Key = {"main": "m.gguf 12", "threads": 2}


def learned(n: int, times: Sequence[float], costs: CostModel | None = None) -> CostModel:
    costs = costs or CostModel(POINTS, 0.1 * T)
    for seconds in times:
        costs.observe_pass(n, 10, seconds)
    return costs


def test_nothing_is_interpolated_across_a_border() -> None:
    costs = CostModel(POINTS)
    assert costs.pass_s(3) == pytest.approx(1.3 * T)  # within 1…4
    for n in (5, 6, 7):  # a new block of four: what its far end costs
        assert costs.pass_s(n) == pytest.approx(2.0 * T)
    assert costs.pass_s(9) == costs.pass_s(12) > costs.pass_s(8)
    assert costs.pass_s(40) > costs.pass_s(ROWS)


def test_the_bound_is_the_best_ratio() -> None:
    assert CostModel(POINTS).bound == pytest.approx(4.0)


def test_a_first_use_replaces_the_prior() -> None:
    costs = learned(6, [1.5 * T, 1.5 * T, 1.5 * T])
    assert costs.pass_s(6) == pytest.approx(1.5 * T, rel=0.05)
    assert costs.pass_s(8) == pytest.approx(2.0 * T)


def test_one_disturbance_teaches_nothing() -> None:
    costs = learned(1, [T] * 20)
    for n, usual in ((1, T), (4, 1.4 * T)):
        learned(n, [usual] * 8 + [40 * T] + [usual] * 3 + [0.01 * T], costs)
    assert costs.pass_s(1) == pytest.approx(T, rel=0.01)
    assert costs.pass_s(4) == pytest.approx(1.4 * T, rel=0.01)


def test_a_lasting_change_is_learned() -> None:
    costs = learned(1, [T] * 20)
    learned(4, [1.4 * T] * 10 + [4 * T] * 40, costs)
    learned(1, [T] * 40, costs)
    assert costs.pass_s(4) / costs.pass_s(1) == pytest.approx(4.0, rel=0.1)


def test_a_slower_machine_keeps_its_ratios() -> None:
    costs = learned(1, [T] * 20 + [3 * T] * 20)
    assert costs.pass_s(1) == pytest.approx(3 * T, rel=0.05)
    assert costs.pass_s(8) == pytest.approx(6 * T, rel=0.05)
    assert costs.draft_s() == pytest.approx(0.3 * T, rel=0.05)


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(allow_nan=True, allow_infinity=True)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_clock_can_break_the_figures(times: list[tuple[int, float]]) -> None:
    """Whatever a clock says (backwards, jumps, nonsense), figures stay positive and charges limited."""
    costs = CostModel(POINTS, 0.1 * T)
    for n, seconds in times:
        expected = costs.pass_s(n, 10)
        charged = costs.observe_pass(n, 10, seconds)
        assert 0.0 < charged <= max(DEFAULT.spike * expected, max(0.0, seconds)) * (1 + 1e-9)
        costs.observe_draft(1, n, n, seconds, (n - 1) * seconds)
    for n in range(1, 40):
        assert 0.0 < costs.pass_s(n, 10) < math.inf
    assert 0.0 < costs.draft_s() < math.inf
    assert 16 <= costs.window <= 512


def test_what_is_laid_to_a_guess_is_limited() -> None:
    costs = CostModel(POINTS, 0.1 * T)
    assert costs.observe_pass(3, 10, 0.5) == 0.5  # not known yet: no disturbance, but ignorance
    learned(4, [1.4 * T] * 5, costs)
    assert costs.observe_pass(4, 10, 1.0) == pytest.approx(DEFAULT.spike * 1.4 * T)
    assert costs.observe_pass(4, 10, -1.0) == pytest.approx(1.4 * T)
    for _ in range(5):
        costs.observe_draft(1, 3, 1, 0.1 * T, 0.2 * T)
    assert costs.observe_draft(1, 3, 1, 0.02, 0.04) == pytest.approx(DEFAULT.spike * 0.3 * T)


def test_long_contexts_have_figures_of_their_own() -> None:
    costs = learned(1, [T] * 10)
    for _ in range(40):
        costs.observe_pass(1, 3000, 1.5 * T)
    assert costs.pass_s(1, 3000) == pytest.approx(1.5 * T, rel=0.02)
    assert costs.pass_s(1, 100) == pytest.approx(T, rel=0.02)
    assert costs.pass_s(8, 3000) == pytest.approx(3.0 * T, rel=0.02)


def test_a_long_catch_up_teaches_what_reading_costs() -> None:
    costs = CostModel({1: T}, 0.1 * T)
    for _ in range(30):
        behind = 100
        costs.observe_draft(1, 1, behind, 0.1 * T * (1 + 0.05 * min(behind - 2, costs.window)), 0.0)
    assert costs.catch_up_share == pytest.approx(0.05, rel=0.1)
    assert costs.catch_up_s(1) == costs.catch_up_s(2) == 0.0
    assert costs.catch_up_s(10_000) == costs.catch_up_s(costs.window + 2)


def test_the_first_step_of_a_round_has_a_cost_of_its_own() -> None:
    """It reads what was written since; where it is dear, one guess costs more than each of many."""
    costs = CostModel(POINTS, 0.1 * T)
    for _ in range(40):
        costs.observe_draft(1, 4, 2, 0.3 * T, 0.3 * T)
    assert costs.first_s() == pytest.approx(0.3 * T, rel=0.05)
    assert costs.draft_s() == pytest.approx(0.1 * T, rel=0.02)


def test_a_plain_pass_behind_another_one_teaches_what_the_change_costs() -> None:
    """The library builds its graph anew for another number of rows: that is not the machine's pace."""
    costs = learned(1, [T] * 10)
    for _ in range(60):
        costs.observe_pass(4, 10, 1.4 * T)
        costs.observe_pass(1, 10, 1.25 * T)
    assert costs.switch_s == pytest.approx(0.25 * T, rel=0.05)
    assert costs.pass_s(1, 10) == pytest.approx(T, rel=0.03)


# ---- measuring ----


class Timed(ToyEngine):
    """A toy whose passes take 0.8 + 0.2·n units on a virtual clock, the first ten times as long; more threads slow it
    down."""

    def __init__(self, unit: float, clock: ToyClock, n_ctx: int = 64) -> None:
        super().__init__(
            lambda _: np.full(3, 1 / 3), ToyTokenizer.of_size(3), n_ctx=n_ctx, clock=clock, cost=self._takes
        )
        self.unit, self.n_threads, self.warm = unit, 1, False

    def set_threads(self, n_threads: int) -> None:
        self.n_threads = n_threads

    def _takes(self, n: int) -> float:
        cold, self.warm = not self.warm, True
        return self.unit * (0.8 + 0.2 * n) * (10.0 if cold else 1.0) * self.n_threads**0.5


def test_measuring_finds_the_curve_and_takes_everything_back() -> None:
    clock = ToyClock()
    target, draft = Timed(1.0, clock), Timed(0.1, clock)
    costs = measure(target, draft, clock=clock)
    assert costs.ratios() == pytest.approx({1: 1.0, 2: 1.2, 4: 1.6, 8: 2.4}, rel=0.01)
    assert costs.draft_s() == pytest.approx(0.1)
    assert costs.catch_up_share == pytest.approx(0.2, rel=0.05)
    assert target.length(0) == draft.length(0) == 0
    assert clock() <= 10.0 + 25.0 + 6.0  # the warm-ups, the passes, the draft


def test_measuring_leaves_what_a_slot_holds() -> None:
    clock = ToyClock()
    target = Timed(1.0, clock)
    target.forward([Chunk(0, 0, [1, 2, 0])])
    measure(target, clock=clock)
    assert target.length(0) == 3


def test_the_fastest_number_of_draft_threads_is_kept() -> None:
    clock = ToyClock()
    target, draft = Timed(1.0, clock), Timed(0.1, clock)
    draft.n_threads = 4
    measure(target, draft, clock=clock)
    assert draft.n_threads == 1


def test_a_full_context_is_measured_as_far_as_it_goes() -> None:
    clock = ToyClock()
    target = Timed(1.0, clock, n_ctx=6)
    target.forward([Chunk(0, 0, [1, 2, 0])])
    assert set(measure(target, clock=clock).ratios()) == {1, 2}


# ---- keeping ----


def load(folder: Path | None, notes: list[Reason], key: json_cache.Key = KEY) -> CostModel | None:
    return json_cache.load(folder, "costs", key, notes, CostModel.from_dict)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    costs = learned(3, [1.3 * T] * 9)
    assert json_cache.write(tmp_path, "costs", KEY, costs.to_dict(), [])
    return json_cache.place(tmp_path, "costs", KEY)


def test_what_was_measured_is_found_again(kept: Path) -> None:
    notes: list[Reason] = []
    costs = load(kept.parent, notes)
    assert costs is not None
    assert costs.pass_s(3) == pytest.approx(1.3 * T, rel=0.02)
    assert costs.draft_s() == pytest.approx(0.1 * T)
    assert notes == []
    assert list(kept.parent.iterdir()) == [kept]  # nothing half-written stays


def test_no_file_is_nothing_to_speak_of(tmp_path: Path) -> None:
    notes: list[Reason] = []
    assert load(tmp_path, notes) is None
    assert load(None, notes) is None
    assert notes == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\x00", b'{"format": 1}', b"[" * 100_000],
    ids=["empty", "cut", "list", "null", "binary", "bare", "deep"],
)
def test_a_damaged_file_is_measured_anew_and_said(kept: Path, content: bytes) -> None:
    kept.write_bytes(content)
    notes: list[Reason] = []
    assert load(kept.parent, notes) is None
    assert len(notes) == 1
    assert "measured again" in str(notes[0])


@pytest.mark.parametrize(
    "change",
    [
        {"bins": {}},
        {"bins": {"9": {"2": 1.0}}},
        {"bins": {"9": {"1": -1.0}}},
        {"bins": {"9": {"1": "fast"}}},
        {"bins": [1]},
        {"draft": {"1": 1e9}},
        {"catch_up_share": None},
    ],
)
def test_a_file_of_nonsense_is_measured_anew_and_said(kept: Path, change: dict[str, object]) -> None:
    stored = json.loads(kept.read_text())
    stored["content"].update(change)
    kept.write_text(json.dumps(stored))
    notes: list[Reason] = []
    assert load(kept.parent, notes) is None
    assert len(notes) == 1


def test_a_file_of_another_pair_is_not_used(kept: Path) -> None:
    other: json_cache.Key = {**KEY, "threads": 3}
    kept.rename(json_cache.place(kept.parent, "costs", other))
    notes: list[Reason] = []
    assert load(kept.parent, notes, other) is None
    assert "another pair" in str(notes[0])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes: list[Reason] = []
    assert not json_cache.write(tmp_path / "file" / "under", "costs", KEY, CostModel(POINTS).to_dict(), notes)
    assert "could not be stored" in str(notes[0])
