"""What a run is turned into: the JSON with exactly its fields, tables, plots."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from foredraft.bench.costs import Costs
from foredraft.bench.machine import busy, in_words, machine
from foredraft.bench.modes import parse, stage
from foredraft.bench.plots import plots, write_plots
from foredraft.bench.report import Report
from foredraft.bench.runner import Plan, Run
from foredraft.bench.statistics import Interval
from foredraft.bench.tables import headline, markdown, tables, verdict
from tests.bench.toys import PROMPTS, pair

COSTS = Costs(0.002, {1: 1.0, 2: 1.2, 4: 1.6}, 0.15)
RESULT = {
    *("category", "mode", "temperature", "prompts", "plain_tps", "tps", "speedup", "speedup_low", "speedup_high"),
    *("acceptance", "tokens_per_round", "saved_s"),
}


@pytest.fixture(scope="module")
def report() -> Report:
    with pair() as llm, stage(llm) as of:
        modes = tuple(parse(name) for name in ("fixed:1", "fixed:3", "auto"))
        run = Run(of, Plan(PROMPTS, modes, repeats=1, max_tokens=40), 0.002)
        list(run)
        return Report.of(llm, COSTS, run, ["a note"])


def test_the_json_has_exactly_its_fields(report: Report) -> None:
    found = json.loads(json.dumps(report.as_dict()))
    assert set(found) == {"machine", "model", "draft", "costs", "results"}
    assert set(found["costs"]) == {"v", "draft", "bound"}
    assert found["costs"]["v"] == {"1": 1.0, "2": 1.2, "4": 1.6}
    assert found["costs"]["bound"] == 2.5
    assert found["model"] == "toy"
    assert found["draft"] == "toy draft"
    assert len(found["results"]) == 2 * 3 * 2
    for row in found["results"]:
        assert set(row) == RESULT
        assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
        assert 0 <= row["acceptance"] <= 1


def test_the_bound_stands_beside_the_speed_ups(report: Report) -> None:
    lines = "\n".join(headline(report))
    assert "2.50 times plain" in lines
    assert "a draft step 0.15 of that" in lines
    assert "18 of 18 texts are identical" in lines
    assert "a note" in lines


def test_tables_hold_every_category_their_mean_and_the_best_fixed(report: Report) -> None:
    speeds, warm, greedy_best, _, _, costs = tables(report)
    assert [row[0] for row in speeds.rows] == ["maths", "code", "mean"] * 3
    assert len(warm.rows) == 9
    assert [row[0] for row in greedy_best.rows] == ["maths", "code", "mean"]
    for category, best, *figures in greedy_best.rows[:2]:
        fixed = {mode: report.trials.speedup(category, mode, 0.0) for mode in ("fixed:1", "fixed:3", "auto")}
        assert all(fixed.values())
        assert best == max(("fixed:1", "fixed:3"), key=lambda mode: fixed[mode].value)  # type: ignore[union-attr]
        wanted = (
            fixed[best],
            fixed["auto"],
            *(report.trials.speedup(category, "auto", 0.0, m) for m in (best, "fixed:3")),
        )
        assert figures == [str(found) for found in wanted]
    assert all("[" in cell for cell in greedy_best.rows[2][2:])
    assert costs.rows[2] == ("4", "1.60", "2.50")


def test_auto_is_held_to_its_bars(report: Report) -> None:
    bars = tables(report)[4]
    assert len(bars.rows) == 2 * 3
    words, found, bar, _ = bars.rows[0]
    least = min(report.by_category("auto", 0.0).items(), key=lambda item: item[1].value)
    assert f"({least[0]}), temperature 0" in words
    assert (found, bar) == (str(least[1]), "≥ 0.98")
    assert [row[2] for row in bars.rows[:3]] == ["≥ 0.98", "≥ 0.97", "≥ 1.10"]


@pytest.mark.parametrize(
    ("modes", "rows"),
    [(("fixed:3",), None), (("auto",), 1), (("fixed:3", "auto"), 2), (("fixed:2", "auto"), 1), (("off", "auto"), 1)],
)
def test_bars_are_shown_as_far_as_there_is_something_to_compare(modes: tuple[str, ...], rows: int | None) -> None:
    with pair() as llm, stage(llm) as of:
        run = Run(of, Plan(PROMPTS, tuple(map(parse, modes)), (0.0,), repeats=1, max_tokens=8), 0.002)
        list(run)
        titles = {table.title: table for table in tables(Report.of(llm, COSTS, run, []))}
    bars = titles.get("auto against its bars")
    assert (None if bars is None else len(bars.rows)) == rows


@pytest.mark.parametrize(
    ("low", "value", "high", "word"),
    [
        (0.99, 1.0, 1.1, "met"),
        (0.9, 1.0, 1.1, "met, not certain"),
        (0.9, 0.97, 1.1, "missed, not certain"),
        (0.9, 0.95, 0.97, "missed"),
        (1.2, 1.2, 1.2, "met, not certain"),
    ],
)
def test_a_bar_is_not_said_to_be_met_where_the_interval_cannot_tell(
    low: float, value: float, high: float, word: str
) -> None:
    assert verdict(Interval(value, low, high), 0.98) == word


def test_markdown_names_the_command_that_made_it(report: Report) -> None:
    text = markdown(report, "foredraft bench --quick")
    assert "    foredraft bench --quick\n" in text
    assert text.count("\n## ") == 6
    assert "| maths | fixed:1 | 2 |" in text


def test_plots_are_sound_svg(report: Report, tmp_path: Path) -> None:
    found = plots(report)
    assert {"costs.svg", "speedup-0.svg", "speedup-0_8.svg", "acceptance-auto-0.svg"} <= set(found)
    for svg in found.values():
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert root[0].tag.endswith("title")
        assert root[0].text
    paths = write_plots(report, tmp_path / "new" / "plots")
    assert {path.name for path in paths} == set(found)


def test_the_machine_is_named() -> None:
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["processor"]
    assert f"{facts['cores']} cores" in in_words(facts)


@pytest.mark.parametrize(("load", "said"), [(None, False), (0.2, False), (3.9, False), (4.1, True)])
def test_a_busy_machine_is_said(load: float | None, said: bool) -> None:
    words = busy({**machine(), "load": load, "threads": 8})
    assert bool(words) == said
    assert not said or "load 4.1 on 8 threads" in words
