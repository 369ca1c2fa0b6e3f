"""Ratios on data whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from foredraft.bench.statistics import Interval, mean, ratio


def test_times_without_noise_have_an_interval_of_no_width() -> None:
    found = ratio([[2.0, 2.0], [4.0]], [[1.0, 1.0], [2.0]])
    assert found == Interval(2.0, 2.0, 2.0)
    assert str(found) == "2.00 [2.00, 2.00]"


def test_a_ratio_is_one_of_sums_so_long_answers_weigh_more() -> None:
    found = ratio([[9.0], [1.0]], [[3.0], [1.0]])
    assert found.value == pytest.approx(10 / 4)
    assert found.low <= found.value <= found.high


def test_one_disturbed_repeat_in_three_changes_nothing() -> None:
    assert ratio([[3.0, 3.0, 90.0]], [[2.0, 2.0, 2.0]]).value == 1.5


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    held = 0
    for _ in range(100):
        below = draw.lognormal(0.0, 0.1, size=(12, 3))
        above = 1.5 * below * draw.lognormal(0.0, 0.1, size=(12, 3))
        found = ratio(above.tolist(), below.tolist(), draws=400)
        held += found.low <= 1.5 <= found.high
    assert 85 <= held <= 100


def test_more_prompts_make_it_narrower() -> None:
    draw = np.random.default_rng(12)

    def width(n: int) -> float:
        found = ratio(draw.lognormal(0, 0.2, (n, 3)).tolist(), draw.lognormal(0, 0.2, (n, 3)).tolist())
        return found.high - found.low

    assert width(40) < width(4)


def test_the_errors_of_a_mean_add_as_squares() -> None:
    found = mean([Interval(1.0, 0.7, 1.3), Interval(2.0, 1.6, 2.4)])
    assert found.value == 1.5
    assert found.low == pytest.approx(1.5 - 0.25)
    assert found.high == pytest.approx(1.5 + 0.25)


@pytest.mark.parametrize(("above", "below"), [([], []), ([[1.0]], []), ([[]], [[1.0]])])
def test_nothing_measured_is_an_error(above: list[list[float]], below: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        ratio(above, below)
