"""What a process of its own costs a model: the same passes here and there, in turns.

Rows, for a plain step (one token, one row of logits) and a pass of five (five rows): the ratio of both sides, in wall
time and in processor time of all processes together; and, as a busy machine moves such ratios by more than there is to
see, the way there and back alone: what a pass takes here, less what the engine took there for the very same one. Last,
an engine that answers at once: the same without a model, whose passes empty the processor's caches.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.instant import InstantEngine
from foredraft.core.errors import ForedraftError
from foredraft.engines.base import Chunk, Engine, Logits
from foredraft.engines.isolated import IsolatedEngine
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.pair.opening import Isolation, open_draft

BAR = 2.0
"""Per cent of a token that a process of its own may cost a model of 1 B parameters and more."""
VOCABULARY = 151_936
SIZES = (1, 5)
"""Tokens of a pass: a plain step, and a round with four guesses."""
_ALONE = 400
"""Passes of a repeat of the crossing alone."""
_DEPTH = 64
"""Tokens behind which passes are made."""
Found = tuple[list[float], str, str]


def instant(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """In its process: an engine that answers at once."""
    return InstantEngine(int(given["n_vocab"]))


def timed(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """In its process: a file, whose passes are timed there."""
    engine = LlamaCppEngine(Path(given["path"]), LoadOptions(**given["options"]), progress=report)
    return _Timed(engine, Path(given["times"]))


class _Timed:
    """An engine that writes down the seconds of its passes."""

    def __init__(self, engine: LlamaCppEngine, times: Path) -> None:
        self._engine = engine
        self._times = times.open("w", encoding="ascii", buffering=1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        began = time.perf_counter()
        rows = self._engine.forward(chunks)
        self._times.write(f"{time.perf_counter() - began!r}\n")
        return rows


def measure(path: Path, repeats: int, *, threads: int | None = None, steps: int = 20) -> Iterator[Found]:
    """(what was found in each repeat, name, bar) of every row, for a GGUF file. A repeat is `steps` passes of each
    side."""
    options = LoadOptions(n_ctx=512, n_threads=threads, probe=False)
    here = open_draft(path, options, where=Isolation(False))
    try:
        with tempfile.TemporaryDirectory() as folder:
            times = Path(folder) / "times"
            given = {"path": str(path), "options": dataclasses.asdict(options), "times": str(times)}
            _let_children_import_this()
            there = IsolatedEngine(f"{__name__}:timed", given)
            try:
                for size in SIZES:
                    yield from _compare(here, there, times, size, repeats, steps)
            finally:
                there.close()
    finally:
        here.close()


def crossing(repeats: int, n_vocab: int = VOCABULARY) -> Iterator[Found]:
    """Milliseconds of the crossing alone, as `measure` gives them."""
    _let_children_import_this()
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


def _let_children_import_this() -> None:
    """A model's process does not look into the current folder for modules; this one is in no installed package."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    root = str(Path(__file__).parents[1])
    if root not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*filter(None, paths), root])


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


def _pass(engine: Engine, size: int) -> float:
    """One pass behind what the slot holds, looked at, and taken back as a round takes back guesses. Returns the seconds
    of the pass."""
    length = engine.length(0)
    engine.keep(0)  # to come back to, where the engine goes back to checkpoints only
    began = time.perf_counter()
    rows = engine.forward([Chunk(0, length, [7] * size, size)])[0]
    took = time.perf_counter() - began
    if len(rows) != size:
        raise ForedraftError("A pass gave too few rows.")
    rows[-1].max()
    engine.rewind(0, length)
    return took


def _compare(here: Engine, there: Engine, times: Path, size: int, repeats: int, steps: int) -> Iterator[Found]:
    """Passes of one size in turns, one here, one there. The ratio of their medians in each repeat, less one; and the
    median of what the passes there took more than in their own process."""
    sides = (here, there)
    for engine in sides:
        engine.rewind(0, 0)
        engine.forward([Chunk(0, 0, [7] * _DEPTH)])
    clocks = [_Clocks(engine) for engine in sides]
    walls: list[float] = []
    spents: list[float] = []
    ways: list[float] = []
    took = 0.0
    for repeat in range(repeats + 1):
        wall: tuple[list[float], list[float]] = ([], [])
        spent, outside = [0.0, 0.0], []
        for step in range(steps):
            for side in (0, 1) if (step + repeat) % 2 else (1, 0):
                began = clocks[side].now()
                seconds = _pass(sides[side], size)
                ended = clocks[side].now()
                if side:
                    outside.append(seconds)
                wall[side].append(ended[0] - began[0])
                spent[side] += ended[1] - began[1]
        if repeat:  # the first warms up
            took = statistics.median(wall[0])
            walls.append((statistics.median(wall[1]) / took - 1.0) * 100.0)
            spents.append((spent[1] / spent[0] - 1.0) * 100.0)
            inside = [float(line) for line in times.read_text(encoding="ascii").split()[-steps:]]
            more = statistics.median(a - b for a, b in zip(outside, inside, strict=True))
            ways.append(more / took * 100.0)
    name = f"a process of its own, {size} row{'s' if size > 1 else ''} of {here.info.n_vocab:,}"
    bar = f"≤ {BAR:g}"
    yield walls, f"{name}: % of {took * 1e3:.0f} ms", bar
    yield spents, f"{name}: % of processor time", bar
    yield ways, f"{name}: way there and back, %", bar
