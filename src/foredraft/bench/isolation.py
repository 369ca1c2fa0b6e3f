"""What a process of its own costs a model: the same passes here and there, in turns.

Rows: a plain step (one token, one row of logits) and a pass of five (five rows), wall time and processor time of all
processes together. And the crossing alone, with an engine that answers at once: what remains when the model costs
nothing, which does not depend on how busy its passes keep the machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from foredraft.bench.instant import InstantEngine
from foredraft.core.errors import ForedraftError
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.isolated import IsolatedEngine
from foredraft.engines.llamacpp import LoadOptions
from foredraft.opening import Isolation, open_draft

BAR = 2.0
"""Per cent of a token that a process of its own may cost a model of 1 B parameters and more."""
VOCABULARY = 151_936
SIZES = (1, 5)
"""Tokens of a pass: a plain step, and a round with four guesses."""
_ALONE = 400
_DEPTH = 64
Found = tuple[list[float], str, str]


def instant(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """In its process: an engine that answers at once."""
    return InstantEngine(int(given["n_vocab"]))


def measure(path: Path, repeats: int, *, threads: int | None = None, steps: int = 20) -> Iterator[Found]:
    """(what was found in each repeat, name, bar) of every row, for a GGUF file. A repeat is `steps` passes of each
    side."""
    options = LoadOptions(n_ctx=512, n_threads=threads, probe=False)
    here = open_draft(path, options, where=Isolation(False))
    try:
        there = open_draft(path, options, where=Isolation(True))
        try:
            for size in SIZES:
                yield from _compare(here, there, size, repeats, steps)
        finally:
            there.close()
    finally:
        here.close()


def crossing(repeats: int, n_vocab: int = VOCABULARY) -> Iterator[Found]:
    """Milliseconds of the crossing alone, as `measure` gives them."""
    engine = IsolatedEngine(f"{__name__}:instant", {"n_vocab": n_vocab})
    try:
        for size in SIZES:
            clocks = _Clocks(engine)
            wall, spent = [], []
            for _ in range(repeats + 1):
                began = clocks.now()
                for _ in range(_ALONE):
                    _pass(engine, size)
                ended = clocks.now()
                wall.append((ended[0] - began[0]) / _ALONE * 1e3)
                spent.append((ended[1] - began[1]) / _ALONE * 1e3)
            name = f"crossing alone, {size} row{'s' if size > 1 else ''} of {n_vocab:,}: ms"
            yield wall[1:], name, ""
            yield spent[1:], f"{name} of processor time", ""
    finally:
        engine.close()


class _Clocks:
    """Seconds of wall time, and of processor time of this process and of the engine's."""

    def __init__(self, engine: Engine) -> None:
        pid = getattr(engine, "pid", None)
        self._other = psutil.Process(pid) if pid is not None else None

    def now(self) -> tuple[float, float]:
        spent = time.process_time()
        if self._other is not None:
            times = self._other.cpu_times()
            spent += times.user + times.system
        return time.perf_counter(), spent


def _pass(engine: Engine, size: int) -> None:
    """One pass behind what the slot holds, looked at, and taken back as a round takes back guesses."""
    length = engine.length(0)
    rows = engine.forward([Chunk(0, length, [7] * size, size)])[0]
    if len(rows) != size:
        raise ForedraftError("A pass gave too few rows.")
    rows[-1].max()
    engine.rewind(0, length)


def _compare(here: Engine, there: Engine, size: int, repeats: int, steps: int) -> Iterator[Found]:
    """Passes of one size in turns, one here, one there. The ratio of their medians in each repeat, less one."""
    sides = (here, there)
    for engine in sides:
        engine.rewind(0, 0)
        engine.forward([Chunk(0, 0, [7] * _DEPTH)])
    clocks = [_Clocks(engine) for engine in sides]
    walls: list[float] = []
    spents: list[float] = []
    took = 0.0
    for repeat in range(repeats + 1):
        wall: tuple[list[float], list[float]] = ([], [])
        spent = [0.0, 0.0]
        for step in range(steps):
            for side in (0, 1) if (step + repeat) % 2 else (1, 0):
                began = clocks[side].now()
                _pass(sides[side], size)
                ended = clocks[side].now()
                wall[side].append(ended[0] - began[0])
                spent[side] += ended[1] - began[1]
        if repeat:  # the first warms up
            took = statistics.median(wall[0])
            walls.append((statistics.median(wall[1]) / took - 1.0) * 100.0)
            spents.append((spent[1] / spent[0] - 1.0) * 100.0)
    name = f"a process of its own, {size} row{'s' if size > 1 else ''} of {here.info.n_vocab:,}"
    bar = f"≤ {BAR:g}"
    yield walls, f"{name}: % of {took * 1e3:.0f} ms", bar
    yield spents, f"{name}: % of processor time", bar
