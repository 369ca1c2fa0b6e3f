"""What llama.cpp needs to compute a text in one way only, and what each way costs on this machine.

Two things make a pass of several tokens round otherwise than single steps. *Attention*: with keys and values of one
floating-point type a processor attends to one token in parts, to a few row by row and to 64 and more in tiles; with two
types it attends row by row always (ggml-cpu/ops.cpp, `ggml_compute_forward_flash_attn_ext`); f32 is cast to f16
before, and is no other type. *Matrix products*: weights that were laid out anew (`repack`), and some that were not,
have other kernels from two, four or eight rows on. Which of it costs what differs by processor: values in bf16 write
half as fast as in f16 on some, and twice as fast on others.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

from foredraft.engines.base import BLOCK, GRAIN, Chunk
from foredraft.engines.llamacpp.engine import LlamaCppEngine
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.probe import TEXTS

DEPTH = 1024
"""Tokens behind which costs are measured: the middle of a prompt of 2,048."""
_PIECE = 128
"""Tokens of a piece of a prompt whose reading is timed, where larger passes are allowed."""
_LEAST_S, _TIMES = 0.02, 3
"""Everything is timed once, and again up to so many times while that takes less than so many seconds."""
_SIZES = (4, 16)


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds (`clock_of`), the least of a few measurements."""

    step_s: float
    """A single step."""
    read_s: float
    """Reading one token of a prompt."""
    best_s: float
    """A token when every guess of the best look-ahead stands: the bound of all speculation."""

    def least(self, other: Costs) -> Costs:
        """The lesser of two measurements: disturbances only ever add."""
        return Costs(*(min(a, b) for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))


def fast(options: LoadOptions) -> LoadOptions:
    """As llama.cpp computes by default."""
    return dataclasses.replace(options, key_type=None, value_type=None, repack=True, ordered=False)


def attentions(options: LoadOptions) -> list[LoadOptions]:
    """Ways to attend that depend on the text alone, to be measured against each other."""
    ordered = dataclasses.replace(options, ordered=True)
    if options.flash_attention == "off" or options.kv_type not in ("f16", "f32"):
        return [ordered]  # quantised caches are attended to row by row anyway
    return [dataclasses.replace(ordered, value_type="bf16"), dataclasses.replace(ordered, key_type="bf16")]


def trial(options: LoadOptions, n_ctx: int) -> LoadOptions:
    """The same for measuring: two slots, and no more context than that needs."""
    return dataclasses.replace(options, n_slots=2, n_ctx=min(n_ctx, 2 * DEPTH), max_rows=None, probe=False)


def clock_of(engine: LlamaCppEngine) -> Callable[[], float]:
    """Processor time, which says what work costs on a busy machine, too; wall time where a GPU does the work."""
    return time.perf_counter if engine.on_gpu else time.process_time


def measure_costs(engine: LlamaCppEngine, exact_rows: int | None, grain: int = GRAIN) -> Costs:
    """What passes cost behind `DEPTH` tokens, or half the context if that is less. `exact_rows`: in exact numerics, the
    most tokens of a pass; `grain`: and of what multiples large ones are (`Numerics.grain`). Uses slot 0, which is left
    empty."""
    clock = clock_of(engine)
    tokens = engine.tokenizer.encode(TEXTS[0])[: min(9, engine.info.n_ctx // 2)]
    engine.rewind(0, 0)
    engine.forward([Chunk(0, 0, tokens)])
    base = len(tokens)
    depth = min(DEPTH, engine.info.n_ctx // 2)
    if engine.can_swell and depth > base:
        engine.swell(0, depth)
    words = (tokens * _PIECE)[:_PIECE]

    def timed(n: int, want: int) -> float:
        times: list[float] = []
        while not times or (len(times) < _TIMES and sum(times) < _LEAST_S):
            began = clock()
            engine.forward([Chunk(0, base, words[:n], want=want)])
            times.append(max(clock() - began, 1e-7))
            engine.rewind(0, base)
        return min(times)

    timed(1, 1)
    step_s = best_s = min(timed(1, 1), timed(1, 1))
    room = engine.info.n_ctx - max(depth, base)
    most = min(engine.info.n_batch, exact_rows or max(_SIZES), room)
    for n in sorted({*(size for size in _SIZES if size <= most), most} - {1}):
        best_s = min(best_s, timed(n, n) / n)
    piece = min(_PIECE if exact_rows is None or grain < BLOCK else BLOCK, engine.info.n_batch, room)
    read_s = timed(piece, 0) / piece
    engine.rewind(0, 0)
    return Costs(step_s, read_s, best_s)
