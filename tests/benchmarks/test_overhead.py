"""The measurements of Foredraft's own cost: that they measure what they say. No times are asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.overhead import main, memory, rounds, stack
from tests.bench.toys import pair


def test_rounds_are_measured_greedy_and_sampled_and_with_the_controller() -> None:
    found = list(rounds(count=6, sizes=(512,)))
    assert [cost.name for cost in found] == [
        "one round, greedy, 512 tokens of vocabulary",
        "one round, sampled, 512 tokens of vocabulary",
        "controller and sources, in a round without guesses",
    ]
    for cost in found[:2]:
        assert 0 < cost.low <= cost.ms <= cost.high


def test_the_whole_stack_writes_what_the_bare_loop_writes(tiny_llama: Path) -> None:
    *steps, (share, result) = stack(tiny_llama, turns=2, tokens=4, threads=1)
    assert [done for done, _ in steps] == [0.5, 1.0]
    assert share == 1.0
    assert result is not None
    assert result.same_text
    assert result.tokens == 8
    assert result.bare_s > 0


def test_memory_is_looked_at_before_and_after() -> None:
    with pair() as llm:
        *_, (share, result) = memory(llm, ["ab", "the cat"], tokens=300)
    assert share == 1.0
    assert result is not None
    assert result.tokens >= 300
    assert result.requests >= 5
    assert result.before > 0
    assert result.growth == result.after - result.before


def test_the_command_prints_each_bar_and_keeps_the_figures(
    tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "cost.json"
    code = main(["stack", "--model", str(tiny_llama), "--json", str(json_file), "--clock", "cpu"])
    out = capsys.readouterr().out
    assert code == ("MISSED" in out)  # a tiny model's token takes no time: here the bar may be missed
    assert "plain decoding against the bare loop" in out
    assert set(json.loads(json_file.read_text(encoding="utf-8"))["stack"]) == {"share", "low", "high", "bare_s"}
