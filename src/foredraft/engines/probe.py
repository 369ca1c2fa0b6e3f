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
CONTEXT = 512
"""Tokens of the long text, half of it where the context is small: beyond the borders that llama.cpp's kernels have
(256 used cells, which it rounds up to 512)."""
CROWD = 64
"""Tokens of the pass that is shared with others: from here on llama.cpp attends in tiles."""
_ALWAYS = 4
"""Batches up to this size are measured on the slowest model, too."""

Swell = Callable[[int, int], int]
"""(slot, tokens): let what the slot holds weigh as much as a text of so many tokens; returns how many it became."""


def probe(
    engine: Engine,
    *,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
    swell: Swell | None = None,
) -> Numerics:
    """Read a few prompts one by one, then their ends again in batches, and compare the logits: behind a long text
    (where the engine can `swell` a short one, for reading one costs too much), at the beginning, and beside others.

    Takes at most about `budget_s` seconds: a slow model reads fewer prompts and, if one is still too much, leaves the
    large batches out, but never those up to 4. `by_batch`, `context` and `beside` name what was really measured. Uses
    slots that are empty, and leaves them so.

    Raises `EngineError` when no slot is empty and `NonFiniteLogitsError` when the model computes NaN.
    """
    empty = [slot for slot in range(engine.info.n_slots) if engine.length(slot) == 0]
    if not empty:
        raise EngineError("The numerics probe needs an empty slot.")
    started = clock()
    try:
        return _Probe(engine, empty[0], empty[1] if len(empty) > 1 else None, swell).run(sizes, started + budget_s, clock)
    finally:
        for slot in empty[:2]:
            engine.rewind(slot, 0)


class _Probe:
    """One run: the slot that is measured, the one that stands for another answer, and what was found so far."""

    def __init__(self, engine: Engine, slot: int, other: int | None, swell: Swell | None) -> None:
        self._engine = engine
        self._slot = slot
        self._other = other
        fits = engine.info.n_ctx >= CONTEXT and engine.rewind_limit is None
        self._swell = swell if fits else None
        self._spacious = engine.info.n_ctx >= 2 * CONTEXT
        self._by_batch: dict[int, float] = {}
        self._flips = self._positions = self._context = 0
        self._beside: float | None = None

    def run(self, sizes: Sequence[int], until: float, clock: Callable[[], float]) -> Numerics:
        room = min(self._engine.info.n_ctx, self._engine.info.n_batch)
        sizes = sorted(size for size in sizes if size <= room)  # upwards: what lies before a batch was read singly
        step_s = self._step_seconds(clock)
        left = until - clock()
        while sizes and sizes[-1] > _ALWAYS and self._first_costs(sizes[-1]) * step_s > left:
            sizes.pop()
        length = max(sizes, default=0)
        # what matters most comes first; the batches of a prompt cost about as much as its single steps
        if self._swell is not None:
            singles = self._compare(0, sizes, deep=True)
            self._compare(0, [size for size in sizes if size <= _ALWAYS], deep=False)
            if length and clock() + 12 * step_s <= until:
                self._crowd(0, singles, deep=True)
        else:
            singles = self._compare(0, sizes, deep=False)
            if length and clock() + 12 * step_s <= until:
                self._crowd(0, singles, deep=False)
        for number in range(1, PROMPTS):
            for deep in (False, True) if self._swell is not None else (False,):
                if clock() + 2 * length * step_s > until:
                    break
                self._compare(number, sizes, deep=deep)
        worst = max(self._by_batch.values(), default=0.0)
        return Numerics(worst, self._by_batch, self._flips, self._positions, self._context, self._beside)

    def _first_costs(self, length: int) -> float:
        """Single steps that the first prompt costs, with batches up to `length`."""
        return 2 * length + (12 + 2 * _ALWAYS + 12 if self._swell is not None else 0)

    def _step_seconds(self, clock: Callable[[], float]) -> float:
        """Seconds of one single step, warmed up by another."""
        self._one_by_one(_prompt(self._engine, 0, 1))
        self._engine.rewind(self._slot, 0)
        started = clock()
        self._one_by_one(_prompt(self._engine, 0, 1))
        return clock() - started

    def _compare(self, number: int, sizes: Sequence[int], *, deep: bool) -> Logits:
        """One prompt read singly, then its end again in batches. Returns the single steps' logits."""
        engine, slot = self._engine, self._slot
        prompt = _prompt(engine, number, max(sizes, default=0))
        base = self._begin(slot, number, deep=deep)
        singles = self._one_by_one(prompt)
        for size in sizes:
            first = len(prompt) - size if engine.rewind_limit is None else 0
            engine.rewind(slot, base + first)
            rows = engine.forward([Chunk(slot, base + first, prompt[first : first + size], want=size)])[0]
            expected = singles[first : first + size]
            self._by_batch[size] = max(self._by_batch.get(size, 0.0), self._difference(rows, expected, base + first))
            self._flips += int((rows.argmax(axis=1) != expected.argmax(axis=1)).sum())
            self._positions += size
        if not deep:
            self._context = max(self._context, len(prompt))
        return singles

    def _crowd(self, number: int, singles: Logits, *, deep: bool) -> None:
        """The same prompt again: behind the cells of another answer and in one large pass with it, or, where there is
        one slot only, as the first tokens of a large piece; then a single step."""
        engine, slot, other = self._engine, self._slot, self._other
        prompt = _prompt(engine, number, len(singles))
        rows_at_once = min(CROWD, engine.info.n_batch, engine.info.n_ctx // 2, engine.info.max_rows or CROWD)
        if rows_at_once <= len(prompt):
            return
        crowd = _prompt(engine, PROMPTS + 1, rows_at_once - len(prompt))
        found = 0.0
        engine.rewind(slot, 0)
        if other is None:
            base = self._begin(slot, number, deep=deep)
            rows = engine.forward([Chunk(slot, base, [*prompt, *crowd], want=rows_at_once)])[0][: len(prompt)]
            found = self._difference(rows, singles, base)
        else:
            first = self._begin(other, PROMPTS, deep=deep and self._spacious, half=True)
            base = self._begin(slot, number, deep=deep)
            chunks = [Chunk(other, first, crowd), Chunk(slot, base, prompt, want=len(prompt))]
            found = self._difference(engine.forward(chunks)[1], singles, base)
        if engine.rewind_limit is None or base == 0:
            engine.rewind(slot, base)
            rows = engine.forward([Chunk(slot, base, prompt[:1], want=1)])[0]
            found = max(found, self._difference(rows, singles[:1], base))
        if other is not None:
            engine.rewind(other, 0)
        self._beside = found

    def _begin(self, slot: int, number: int, *, deep: bool, half: bool = False) -> int:
        """Empty a slot, and let it hold a long text if `deep`. Returns its length."""
        engine = self._engine
        engine.rewind(slot, 0)
        if not deep or self._swell is None:
            return 0
        head = _prompt(engine, number + 100, MAX_DRAFT + 1)
        engine.forward([Chunk(slot, 0, head)])
        tokens = self._swell(slot, CONTEXT if self._spacious and not half else CONTEXT // 2 + 1)
        if not half:
            self._context = max(self._context, tokens)
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
