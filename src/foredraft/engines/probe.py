"""The numerics probe: does this machine compute a batch of n tokens exactly as n single steps?

Speculation is lossless in arithmetic, but a batch may use another kernel than a single token and round differently
(engine.md §4 has figures). So may the same batch behind a long text (llama.cpp attends from 257 tokens on in another
way), or in a pass with other answers. Nothing about that can be assumed, so every load measures it.
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
BORDER = 256
"""llama.cpp attends to a multiple of so many cells, and to 512 and more in another way. Batches are compared where they
cross such a border."""
CROWD = 64
"""Tokens of the pass that is shared with others: from here on llama.cpp attends in tiles."""
_ALWAYS = 4
"""Batches up to this size are measured on the slowest model, too."""
_HEAD = 9
"""Tokens that are really read of a long text."""
_HEAD_STEPS, _CROWD_STEPS = 4, 20
"""What reading that head, and comparing a pass shared with others, cost in single steps, about."""

Swell = Callable[[int, int], int]
"""(slot, tokens): let what the slot holds weigh as much as a text of so many tokens; returns how many it became."""


def probe(
    engine: Engine,
    *,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
    swell: Swell | None = None,
    known: Numerics | None = None,
) -> Numerics:
    """Read a few prompts one by one, then again in batches, and compare the logits: behind a long text
    (where the engine can `swell` a short one, for reading one costs too much), at the beginning, and beside others.

    Takes at most about `budget_s` seconds: a slow model reads fewer prompts, compares only the beginning of a batch
    and, if that is still too much, leaves out the large batches and the others, but never batches up to 4. `by_batch`,
    `context` and `beside` name what was really measured. `known` is what an earlier probe of the same found: something
    that it lacks is measured, and added. Uses slots that are empty, and leaves them so.

    Raises `EngineError` when no slot is empty and `NonFiniteLogitsError` when the model computes NaN.
    """
    if known is not None and complete(known, sizes):
        return known
    empty = [slot for slot in range(engine.info.n_slots) if engine.length(slot) == 0]
    if not empty:
        raise EngineError("The numerics probe needs an empty slot.")
    started = clock()
    measure = _Probe(engine, empty[0], empty[1] if len(empty) > 1 else None, swell, known)
    try:
        return measure.run(sizes, started + budget_s, clock)
    finally:
        for slot in empty[:2]:
            engine.rewind(slot, 0)


def complete(numerics: Numerics, sizes: Sequence[int] = SIZES) -> bool:
    """Nothing is left to be measured."""
    return numerics.beside is not None and set(sizes) <= set(numerics.by_batch)


class _Probe:
    """One run: the slot that is measured, the one that stands for another answer, and what was found so far."""

    def __init__(
        self, engine: Engine, slot: int, other: int | None, swell: Swell | None, known: Numerics | None
    ) -> None:
        self._engine = engine
        self._slot = slot
        self._other = other
        fits = engine.info.n_ctx >= 2 * BORDER and engine.rewind_limit is None
        self._swell = swell if fits else None
        self._spacious = engine.info.n_ctx >= 4 * BORDER
        self._known = known
        self._by_batch: dict[int, float] = {} if known is None else dict(known.by_batch)
        self._flips = 0 if known is None else known.argmax_flips
        self._positions = 0 if known is None else known.positions
        self._context = 0 if known is None else known.context
        self._beside = None if known is None else known.beside

    def run(self, sizes: Sequence[int], until: float, clock: Callable[[], float]) -> Numerics:
        room = min(self._engine.info.n_ctx, self._engine.info.n_batch)
        sizes = sorted(size for size in sizes if size <= room)
        deep, first = self._swell is not None, self._known is None
        step_s = self._step_seconds(clock)
        todo = [size for size in sizes if size not in self._by_batch]
        length = max(todo, default=0)
        if clock() + self._steps(todo, length) * step_s > until:
            length = min(length, _ALWAYS)  # the first tokens of every batch will do
        while todo and todo[-1] > _ALWAYS and clock() + self._steps(todo, length) * step_s > until:
            if not first and len(todo) == 1:
                break  # every load adds something
            todo.pop()
        # what matters most comes first
        if todo:
            self._compare(0, todo, length, deep=deep)
        if deep and first:
            self._compare(0, [size for size in todo if size <= _ALWAYS][-1:], _ALWAYS, deep=False)
        if sizes and self._beside is None and (clock() + _CROWD_STEPS * step_s <= until or not (first or todo)):
            self._crowd(deep=deep)
        for number in range(1, PROMPTS if first else 1):
            for place in (False, True) if deep else (False,):
                if todo and clock() + self._steps(todo, length) * step_s <= until:
                    self._compare(number, todo, length, deep=place)
        worst = max(self._by_batch.values(), default=0.0)
        return Numerics(worst, self._by_batch, self._flips, self._positions, self._context, self._beside)

    def _steps(self, sizes: Sequence[int], length: int) -> float:
        """Single steps that a prompt costs: `length` of them, and batches, of which two tokens count as one."""
        if self._swell is None:
            return length + sum(0.5 + 0.5 * size for size in sizes)
        return length + sum(0.5 + 0.5 * size for size in sizes) + _HEAD_STEPS + (2 * _ALWAYS if not self._known else 0)

    def _step_seconds(self, clock: Callable[[], float]) -> float:
        """Seconds of one single step, warmed up by another; the quickest of three, where three take but a moment."""
        self._one_by_one(_prompt(self._engine, 0, 1))
        times: list[float] = []
        while len(times) < 3 and sum(times) < 0.1:
            self._engine.rewind(self._slot, 0)
            started = clock()
            self._one_by_one(_prompt(self._engine, 0, 1))
            times.append(clock() - started)
        return min(times)

    def _compare(self, number: int, sizes: Sequence[int], length: int, *, deep: bool) -> None:
        """The first `length` tokens of a prompt read singly, then the prompt in batches: the same logits?"""
        engine, slot = self._engine, self._slot
        prompt = _prompt(engine, number, max(sizes, default=0))
        base = self._begin(slot, deep=deep)
        singles = self._one_by_one(prompt[:length])
        for size in sizes:
            engine.rewind(slot, base)
            rows = engine.forward([Chunk(slot, base, prompt[:size], want=size)])[0][:length]
            expected = singles[:size]
            self._by_batch[size] = max(self._by_batch.get(size, 0.0), self._difference(rows, expected, base))
            self._flips += int((rows.argmax(axis=1) != expected.argmax(axis=1)).sum())
            self._positions += len(rows)
        if not deep:
            self._context = max(self._context, len(prompt))

    def _crowd(self, *, deep: bool) -> None:
        """A few steps behind a text, and again with all of it above the cells of another answer and in one large pass
        with it, or, where there is one slot only, as the first tokens of a large piece."""
        engine, slot, other = self._engine, self._slot, self._other
        rows = min(CROWD, engine.info.n_batch, engine.info.n_ctx // 2, engine.info.max_rows or CROWD)
        if rows <= _ALWAYS:
            return
        prompt, crowd = _prompt(engine, 0, _ALWAYS), _prompt(engine, PROMPTS, rows - _ALWAYS)
        base = self._begin(slot, deep=deep)
        singles = self._one_by_one(prompt)
        engine.rewind(slot, base)
        if other is None:
            chunks = [Chunk(slot, base, [*prompt, *crowd], want=rows)]
        else:
            engine.rewind(slot, 0)
            start = self._begin(other, deep=deep and self._spacious, tokens=BORDER + 1)
            self._begin(slot, deep=deep)
            chunks = [Chunk(other, start, crowd), Chunk(slot, base, prompt, want=len(prompt))]
        found = self._difference(engine.forward(chunks)[-1][: len(prompt)], singles, base)
        engine.rewind(slot, base)
        step = engine.forward([Chunk(slot, base, prompt[:1], want=1)])[0]
        self._beside = max(found, self._difference(step, singles[:1], base))
        if other is not None:
            engine.rewind(other, 0)

    def _begin(self, slot: int, *, deep: bool, tokens: int | None = None) -> int:
        """Empty a slot, and let it hold a long text if `deep`. Returns its length."""
        engine = self._engine
        engine.rewind(slot, 0)
        if not deep or self._swell is None:
            return 0
        head = _prompt(engine, PROMPTS + 1, _HEAD)
        engine.forward([Chunk(slot, 0, head)])
        weight = self._swell(slot, tokens or (2 * BORDER if self._spacious else BORDER) - 2)
        if slot == self._slot:
            self._context = max(self._context, weight)
        return len(head)

    def _one_by_one(self, prompt: list[int]) -> Logits:
        """A copy of the logits after every token, read behind what the slot holds."""
        engine, slot = self._engine, self._slot
        rows = np.empty((len(prompt), engine.info.n_vocab), dtype=np.float32)
        for row, token in zip(rows, prompt, strict=True):
            row[:] = engine.forward([Chunk(slot, engine.length(slot), [token], want=1)])[0][0]
        return rows

    def _difference(self, rows: Logits, expected: Logits, first: int) -> float:
        """Largest |difference|; two logits of -inf (a forbidden token) are the same. NaN on either side is an error."""
        with np.errstate(invalid="ignore"):  # -inf - -inf
            differences = np.where(rows == expected, 0.0, np.abs(rows - expected))
        bad = np.isnan(differences).any(axis=1)
        if bad.any():
            raise NonFiniteLogitsError(first + int(bad.argmax()), model=self._engine.info.name)
        return float(differences.max())


def _prompt(engine: Engine, number: int, length: int) -> list[int]:
    """Fixed tokens, spread over the vocabulary, behind the token that begins a text where there is one."""
    ids = np.random.default_rng(number).integers(engine.info.n_vocab, size=length).tolist()
    bos = engine.tokenizer.bos
    return ids if bos is None or not ids else [bos, *ids[1:]]
