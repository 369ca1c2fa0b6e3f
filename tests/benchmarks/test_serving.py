"""The server's bars are measured as they say. No times are asserted, counts are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import isolation, over_http
from benchmarks.serving import LONG, Load, Row, long_prompt, paired, second_turn, speculation, together
from foredraft.bench.modes import stage
from tests.bench.toys import PROMPTS, pair


def test_a_bar_is_met_or_missed() -> None:
    assert Row("a", 0.98, 0, 1, "≥ 0.98").met
    assert not Row("a", 0.97, 0, 1, "≥ 0.98").met
    assert Row("a", 2.0, 0, 9, "≤ 2").met
    assert Row("a", 2.0, 0, 9).met is None
    assert "MISSED" in str(Row("a", 3.0, 0, 9, "≤ 2"))


def test_both_sides_take_turns_in_beginning() -> None:
    asked: list[tuple[str, int]] = []

    def side(name: str, seconds: float):
        def run(number: int) -> float:
            asked.append((name, number))
            return seconds

        return run

    assert paired(side("ours", 3.0), side("theirs", 2.0), 2) == [1.5, 1.5]
    assert [name for name, _ in asked] == ["theirs", "ours", "ours", "theirs", "theirs", "ours"]
    assert [number for _, number in asked] == [0, 0, 1, 1, 2, 2]


def test_every_row_of_a_pair() -> None:
    with pair(n_slots=8, n_ctx=16_000, n_batch=512) as llm, stage(llm) as of:
        load = Load(of, [*PROMPTS["maths"], *PROMPTS["code"]], tokens=6)
        names = [row.name for row in (*speculation(load, 1), *together(load, 1))]
        assert [name.split()[0] for name in names] == ["1", "4", "8", "4", "4", "8"]
        assert llm.scheduler.slots.free == 8
        repeated, read = second_turn(load)
        # the toy's answers are not split as its tokenizer splits their text: those 40 tokens may be read again
        assert 0 <= repeated.value <= 40
        assert 0 < read.value < 150
        llm.engine.passes.clear()  # type: ignore[attr-defined]
        (gap,) = long_prompt(load, 1)
        assert gap.value > 0
        longest = max(sum(n for _, _, n in chunks) for chunks in llm.engine.passes)  # type: ignore[attr-defined]
        assert longest <= 512
        assert sum(n for chunks in llm.engine.passes for _, _, n in chunks) >= 4 * LONG  # type: ignore[attr-defined]
        assert not llm.scheduler.busy


def test_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "PASS_S", 0.001)
    monkeypatch.setattr(over_http, "FIRSTS", 2)
    rate, kept, new, after = over_http.measure(1)
    assert rate[0][0] > 0
    assert len(kept[0]) == len(new[0]) == 2
    assert after[0][0] >= 0


def test_every_row_of_isolation(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))  # it is changed, and then as it was
    rows = [*isolation.crossing(1, n_vocab=64), *isolation.measure(tiny_llama, 2, threads=1, steps=2)]
    assert [len(found) for found, _, _ in rows] == [1] * 4 + [2] * 6
    assert all(found[0] > 0 for found, name, _ in rows if name.startswith("crossing") and "processor" not in name)
    ways = [found for found, name, _ in rows if "there and back" in name]
    assert len(ways) == len(isolation.SIZES)
    assert all(share > 0 for found in ways for share in found), "a pass takes longer than what was done in it"
