"""The measurements of Foredraft's own cost: that they measure what they say. No times are asserted."""

from __future__ import annotations

from pathlib import Path

from foredraft.bench.overhead import memory, rounds, stack
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
