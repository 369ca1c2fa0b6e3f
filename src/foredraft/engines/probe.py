"""The numerics probe: does this machine compute a batch of n tokens exactly as n single steps?

Speculation is lossless in arithmetic, but a batch may use another kernel than a single token and round differently
(engine.md §4 has figures). Nothing about that can be assumed, so every load measures it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from foredraft.core.errors import EngineError, NonFiniteLogitsError
from foredraft.core.params import MAX_DRAFT
from foredraft.engines.base import Chunk, Engine, Logits, Numerics

SIZES = (2, 3, 4, 8, MAX_DRAFT + 1)
"""Batch sizes that are compared with single steps; the last is the longest that a drafted round verifies."""
PROMPTS = 4


def probe(
    engine: Engine,
    *,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Numerics:
    """Read a few prompts one by one, then their ends again in batches, and compare the logits.

    Takes at most about `budget_s` seconds: a slow model reads fewer prompts and, if one is still too much, leaves the
    large batches out, but never those up to 4. `by_batch` names the sizes that were really measured. Uses a slot that
    is empty, and leaves it so.

    Raises `EngineError` when no slot is empty and `NonFiniteLogitsError` when the model computes NaN.
    """
    slot = next((slot for slot in range(engine.info.n_slots) if engine.length(slot) == 0), None)
    if slot is None:
        raise EngineError("The numerics probe needs an empty slot.")
    room = min(engine.info.n_ctx, engine.info.n_batch)
    sizes = sorted(size for size in sizes if size <= room)  # upwards: what lies before a batch was then read singly
    by_batch: dict[int, float] = {}
    flips = positions = 0
    try:
        step_s = _step_seconds(engine, slot, clock)
        while sizes and sizes[-1] > 4 and 2 * sizes[-1] * step_s > budget_s:
            sizes.pop()
        length = max(sizes, default=0)
        cost_s = 2 * length * step_s  # the batches of a prompt cost about as much as its single steps
        for number in range(PROMPTS if cost_s == 0 else min(PROMPTS, max(1, int(budget_s / cost_s)))):
            prompt = _prompt(engine, number, length)
            singles = _one_by_one(engine, slot, prompt)
            for size in sizes:
                first = length - size if engine.rewind_limit is None else 0
                engine.rewind(slot, first)
                rows = engine.forward([Chunk(slot, first, prompt[first : first + size], want=size)])[0]
                expected = singles[first : first + size]
                by_batch[size] = max(by_batch.get(size, 0.0), _difference(engine, rows, expected, first))
                flips += int((rows.argmax(axis=1) != expected.argmax(axis=1)).sum())
                positions += size
    finally:
        engine.rewind(slot, 0)
    return Numerics(max(by_batch.values(), default=0.0), by_batch, flips, positions)


def _step_seconds(engine: Engine, slot: int, clock: Callable[[], float]) -> float:
    """Seconds of one single step, warmed up by another."""
    _one_by_one(engine, slot, _prompt(engine, 0, 1))
    started = clock()
    _one_by_one(engine, slot, _prompt(engine, 0, 1))
    return clock() - started


def _one_by_one(engine: Engine, slot: int, prompt: list[int]) -> Logits:
    """A copy of the logits after every token."""
    engine.rewind(slot, 0)
    rows = np.empty((len(prompt), engine.info.n_vocab), dtype=np.float32)
    for position, token in enumerate(prompt):
        rows[position] = engine.forward([Chunk(slot, position, [token], want=1)])[0][0]
    return rows


def _difference(engine: Engine, rows: Logits, expected: Logits, first: int) -> float:
    """Largest |difference|; two logits of -inf (a forbidden token) are the same. NaN on either side is an error."""
    with np.errstate(invalid="ignore"):  # -inf - -inf
        differences = np.where(rows == expected, 0.0, np.abs(rows - expected))
    bad = np.isnan(differences).any(axis=1)
    if bad.any():
        raise NonFiniteLogitsError(first + int(bad.argmax()), model=engine.info.name)
    return float(differences.max())


def _prompt(engine: Engine, number: int, length: int) -> list[int]:
    """Fixed tokens, spread over the vocabulary, behind the token that begins a text where there is one."""
    ids = np.random.default_rng(number).integers(engine.info.n_vocab, size=length).tolist()
    bos = engine.tokenizer.bos
    return ids if bos is None else [bos, *ids[1:]]
