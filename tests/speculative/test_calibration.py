"""Calibration: acceptance by confidence, rising, forgetting, and kept a pair.

Mistakes that these tests must notice are made on purpose in `test_controller_mutants.py`.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core import json_cache
from foredraft.core.reasons import Reason
from foredraft.speculative.controllers.adaptive.acceptance import (
    BUCKETS,
    FIRST,
    AcceptanceTable,
    Calibration,
    bucket,
    isotonic,
)
from foredraft.speculative.controllers.adaptive.drift import DriftFilter

KEY: json_cache.Key = {"main": "m", "draft": "d"}


def test_buckets_cover_every_confidence() -> None:
    assert [bucket(c) for c in (0.0, 0.05, 0.1, 0.5, 0.97, 0.98, 1.0)] == [0, 0, 1, 5, 10, 11, 11]
    assert bucket(float("nan")) == BUCKETS // 2


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=7))
@settings(max_examples=100, deadline=None)
def test_pooling_is_the_nearest_rising_sequence(points: list[tuple[float, float]]) -> None:
    """Against the max-min formula of isotonic regression: g(i) = max over a ≤ i of min over b ≥ i of mean(a … b)."""
    values, weights = np.array(points).T

    def mean(a: int, b: int) -> float:
        return float(np.average(values[a : b + 1], weights=weights[a : b + 1]))

    n = len(values)
    wanted = [max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
    assert isotonic(values.tolist(), weights.tolist()) == pytest.approx(wanted)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=200))
@settings(max_examples=50, deadline=None)
def test_rates_rise_with_confidence(verdicts: list[tuple[float, bool]]) -> None:
    table = AcceptanceTable()
    for confidence, stood in verdicts:
        table.learn([bucket(confidence)], int(stood))
    table.refresh()
    assert all(0.0 < a <= b < 1.0 for a, b in itertools.pairwise(table.rates))
    assert table.learned == len(verdicts)
    for law in table.next.distributions():
        assert sum(law) == pytest.approx(1.0)


def test_the_prior_yields_to_verdicts() -> None:
    table = AcceptanceTable()
    assert table.rates[bucket(0.99)] > 0.95
    for _ in range(10):
        table.learn([bucket(0.99)], 0)
    assert table.rates[bucket(0.99)] < 0.35
    for _ in range(3000):
        table.learn([bucket(0.99)], 1)
    assert table.rates[bucket(0.99)] > 0.95


def test_old_counts_fade() -> None:
    table = AcceptanceTable()
    for _ in range(3000):
        table.next.learn(FIRST, 2)
        table.next.learn(3, 2)
    for _ in range(3000):
        table.next.learn(FIRST, 9)
        table.next.learn(3, 9)
        table.learn([5], 1)
    assert table.next.distributions()[FIRST][9] > 0.9
    assert table.next.distributions()[3][9] > 0.85


def test_trust_falls_fast_and_comes_back() -> None:
    trust = DriftFilter()
    usual = trust.level
    for _ in range(5):
        trust.learn([0.9], 0)
    assert trust.level < 0.4
    low = trust.level
    trust.on_skip(200)
    assert low < trust.level < usual
    trust.learn([0.9] * 6, 6)
    assert trust.level > 0.85


def filled() -> Calibration:
    learned = Calibration()
    table = learned.table("model", "greedy")
    for i in range(500):
        table.learn([i % BUCKETS], int(i % 3 > 0))
        table.next.learn(FIRST, i % BUCKETS)
        table.next.learn(i % BUCKETS, (i + 1) % BUCKETS)
    return learned


def test_what_was_learned_is_found_again(tmp_path: Path) -> None:
    learned = filled()
    assert json_cache.write(tmp_path, "calibration", KEY, learned.to_dict(), [])
    notes: list[Reason] = []
    again = json_cache.load(tmp_path, "calibration", KEY, notes, Calibration.from_dict)
    assert again is not None
    before, after = learned.table("model", "greedy"), again.table("model", "greedy")
    before.refresh()
    assert after.rates == pytest.approx(before.rates)
    assert after.next.distributions()[FIRST] == pytest.approx(before.next.distributions()[FIRST])
    assert after.next.distributions()[4] == pytest.approx(before.next.distributions()[4])
    assert notes == []


def test_another_pair_starts_afresh(tmp_path: Path) -> None:
    json_cache.write(tmp_path, "calibration", KEY, filled().to_dict(), [])
    other = {**KEY, "draft": "e"}
    assert json_cache.load(tmp_path, "calibration", other, [], Calibration.from_dict) is None


@pytest.mark.parametrize(
    "tables", [None, [1], [["model", "greedy", {}]], [["model", "greedy", {"stood": [9.0], "tested": [1.0]}]]]
)
def test_a_damaged_file_is_learned_anew_and_said(tmp_path: Path, tables: object) -> None:
    json_cache.write(tmp_path, "calibration", KEY, filled().to_dict(), [])
    path = json_cache.place(tmp_path, "calibration", KEY)
    stored = json.loads(path.read_text())
    stored["content"]["tables"] = tables
    path.write_text(json.dumps(stored))
    notes: list[Reason] = []
    again = json_cache.load(tmp_path, "calibration", KEY, notes, Calibration.from_dict)
    assert again is None
    assert len(notes) == 1
