"""What a run is turned into: the JSON with exactly its fields, tables, plots."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from foredraft.bench.costs import Costs
from foredraft.bench.machine import in_words, machine
from foredraft.bench.modes import parse, stage
from foredraft.bench.plots import plots, write_plots
from foredraft.bench.report import Report
from foredraft.bench.runner import Plan, Run
from foredraft.bench.tables import headline, markdown, tables
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
    speeds, warm, greedy_best, _, costs = tables(report)
    assert [row[0] for row in speeds.rows] == ["maths", "code", "mean"] * 3
    assert len(warm.rows) == 9
    assert [row[0] for row in greedy_best.rows] == ["maths", "code", "mean, auto over fixed:3"]
    assert all(row[1] in ("fixed:1", "fixed:3", "") for row in greedy_best.rows)
    assert costs.rows[2] == ("4", "1.60", "2.50")


def test_markdown_names_the_command_that_made_it(report: Report) -> None:
    text = markdown(report, "foredraft bench --quick")
    assert "    foredraft bench --quick\n" in text
    assert text.count("\n## ") == 5
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
