"""`foredraft bench overhead` (or `stack`, `round`, `memory`): what Foredraft itself costs, against its bars."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from foredraft.cli import terminal
from foredraft.cli.bench import print_table, progress_bar, stdout
from foredraft.core.errors import ForedraftError

if TYPE_CHECKING:
    from foredraft.bench.tables import TextTable
    from foredraft.pair.llm import LLM

T = TypeVar("T")
_GROWTH_BAR = 8 << 20
"""Bytes that 10,000 tokens may leave behind: allocators round up, models do not."""


def run(what: str, load: Callable[[], LLM], model: Path | None, json_file: Path | None, clock: str) -> int:
    """Do the measurements, print them, and return the exit code: 0, or 1 where a bar is missed."""
    rows: list[tuple[str, str, str, str]] = []
    figures: dict[str, object] = {}
    passed = True
    parts: dict[str, Callable[[], Part]] = {
        "round": lambda: _rounds(clock),
        "stack": lambda: _stack(model, clock),
        "memory": lambda: _memory(load),
    }
    for name, part in parts.items():
        if what in (name, "overhead"):
            new, figures[name], good = part()
            rows += new
            passed = passed and good
    _print(rows)
    if json_file is not None:
        try:
            json_file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise ForedraftError(f"{json_file} cannot be written: {error.strerror}.") from error
    return 0 if passed else 1


Part = tuple[list[tuple[str, str, str, str]], object, bool]


def _rounds(clock: str) -> Part:
    from foredraft.bench.modes import CLOCKS
    from foredraft.bench.overhead import rounds

    rows, figures, passed = [], [], True
    for cost in rounds(clock=CLOCKS[clock]):
        good = cost.ms <= cost.bar
        passed = passed and good
        rows.append(
            (cost.name, f"{cost.ms:.3f} ms ({cost.low:.3f}–{cost.high:.3f})", f"≤ {cost.bar:.2f} ms", _word(good))
        )
        figures.append({"name": cost.name, "ms": round(cost.ms, 4), "bar": cost.bar})
    return rows, figures, passed


def _stack(model: Path | None, clock: str) -> Part:
    from foredraft.bench.modes import CLOCKS
    from foredraft.bench.overhead import STACK_BAR, stack

    path = model or _random_model()
    steps = stack(path, threads=1 if clock == "cpu" else None, clock=CLOCKS[clock])
    found = _watched(steps, "Plain decoding against the bare loop")
    good = found.share.value >= STACK_BAR and found.same_text
    value = f"{found.share.value:.3f} [{found.share.low:.3f}, {found.share.high:.3f}]"
    name = f"plain decoding against the bare loop, {found.bare_s * 1e3:.1f} ms a token"
    rows = [(name, value if found.same_text else f"{value}, but another text", f"≥ {STACK_BAR}", _word(good))]
    figures = {"share": found.share.value, "low": found.share.low, "high": found.share.high, "bare_s": found.bare_s}
    return rows, figures, good


def _memory(load: Callable[[], LLM]) -> Part:
    from foredraft.bench.categories import prompts
    from foredraft.bench.overhead import memory

    texts = [prompt.text for group in prompts(count=3).values() for prompt in group]
    with load() as llm:
        found = _watched(memory(llm, texts), "Memory over repeated requests")
    good = found.growth <= _GROWTH_BAR
    name = f"memory after {found.tokens:,} tokens in {found.requests} requests"
    value = f"{found.growth / 2**20:+.1f} MiB, from {found.before / 2**20:.0f} MiB"
    rows = [(name, value, f"≤ {_GROWTH_BAR / 2**20:.0f} MiB", _word(good))]
    return rows, {"before": found.before, "after": found.after, "tokens": found.tokens}, good


def _random_model() -> Path:
    """A model of 0.5 billion random parameters, in the cache: large enough for 20 ms a token on most machines."""
    from foredraft.bench.random_model import SHAPES, write_random_model
    from foredraft.config.folders import cache_folder

    path = cache_folder() / "random-0.5b-q8_0.gguf"
    if not path.is_file():
        terminal.errors().print(f"Making {path}, once …", style="dim", markup=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ForedraftError(f"{path.parent} cannot be made: {error.strerror}.") from error
        unfinished = path.with_suffix(".part")
        write_random_model(unfinished, SHAPES["0.5b"], kind="q8_0")
        unfinished.replace(path)
    return path


def _watched(steps: Iterator[tuple[float, T | None]], words: str) -> T:
    """Run to the end with a progress bar; the result."""
    found: T | None = None
    with progress_bar() as show:
        for share, result in steps:
            show(share, words)
            found = result
    if found is None:
        raise ForedraftError("Nothing was measured.")
    return found


def _print(rows: list[tuple[str, str, str, str]]) -> None:
    from foredraft.bench.tables import TextTable

    table: TextTable = TextTable("What Foredraft itself costs", ("", "measured", "bar", ""), rows)
    print_table(stdout(), table)


def _word(good: bool) -> str:
    return "met" if good else "missed"
