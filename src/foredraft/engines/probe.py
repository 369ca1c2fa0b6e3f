"""The numerics probe: does this machine compute a pass of n tokens exactly as n single steps?

Speculation is lossless in arithmetic, but a pass of several tokens may use another kernel than a single token and round
differently (docs/concepts/numerics.md has figures). So may the same pass behind a long text (llama.cpp attends from 512
cells on in another way), or beside other answers. Nothing about that can be assumed, so every load measures it, on
natural text: random ids, which no model was trained on, make differences look three times as large.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from foredraft.core.errors import EngineError, NonFiniteLogitsError, ParameterError
from foredraft.core.params import MAX_DRAFT
from foredraft.engines.base import BLOCK, GRAIN, LARGEST, Chunk, Engine, Logits, Numerics

SIZES = (2, 3, 4, 8, MAX_DRAFT + 1)
"""Pass sizes that are compared with single steps; the last is the longest that a drafted round verifies."""
ALL_SIZES = tuple(range(2, MAX_DRAFT + 2))
"""Every size of a drafted round: what exact numerics have to know."""
LARGE = 80
"""Tokens of a pass as a prompt's is: from 64 rows on llama.cpp attends in tiles and multiplies in other kernels."""
BORDER = 512
"""llama.cpp attends in another way from so many cells on: passes are compared across that border, where there is room
for it, else across the next smaller step of its caches."""
BEHIND = 600
"""A long text well past the border."""
_ALWAYS = 4
"""Passes up to this size are measured on the slowest model, too."""
_HEAD = 9
"""Tokens that are really read of a long text; the rest is copies of them (`Swell`)."""
_PLACES = ("short of", "start", "behind")
"""Where passes are compared: just short of the border, at the beginning of a text, and behind 600 tokens."""

TEXTS = (
    "The old lighthouse keeper climbed the stairs every evening, lit the lamp, and wrote the weather into his book.",
    "def mean(values):\n    if not values:\n        raise ValueError('none')\n    return sum(values) / len(values)\n",
    "昨日は朝から雨が降っていたので、駅まで傘をさして歩きました。電車は十分遅れていましたが、会議には間に合いました。",
    "Die Züge nach München fahren heute wegen Bauarbeiten nur jede halbe Stunde; bitte beachten Sie die Ansage.",
    "今天下午三点,我们在图书馆门口见面,然后一起去看那部新电影。",
    "Поезд прибыл вовремя, и на платформе уже ждали друзья с цветами. انتظرنا الحافلة طويلا تحت المطر.",
    '{"name": "Ada", "born": 1815, "known_for": ["notes", "engine"], "ratio": 0.618}',
)
"""What the probe reads: sentences in several scripts, code and data, written for this purpose."""

Swell = Callable[[int, int], int]
"""(slot, tokens): let what the slot holds weigh as much as a text of so many tokens; returns how many it became."""
SetThreads = Callable[[int], None]
"""Let the next passes run on so many threads."""


def probe(
    engine: Engine,
    *,
    sizes: Sequence[int] = SIZES,
    budget_s: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
    swell: Swell | None = None,
    threads: tuple[int, SetThreads] | None = None,
    known: Numerics | None = None,
    whole: bool = False,
    exact: bool = False,
) -> Numerics:
    """Read a few texts one token at a time, then again in passes of several, and compare the logits: behind a long text
    (where the engine can `swell` a short one, for reading one costs too much), at the beginning, beside others, and on
    one thread (`threads`: how many the engine has, and how to change that).

    Takes at most about `budget_s` seconds: a slow model reads fewer texts, compares only the beginning of a pass and,
    if that is still too much, leaves out the large passes and the others, but never passes up to 4. `by_batch`,
    `context`, `large`, `beside` and `threads` name what was really measured. `known` is what an earlier probe of the
    same found: something that it lacks is measured, and added. `whole` leaves nothing out, whatever it takes: then the
    budget decides only how many texts are read. `exact` keeps passes with others to sizes that were found exact, as
    exact numerics do, and compares large passes with each other (`grain`). Uses slots that are empty, and leaves them
    so.

    Raises `EngineError` when no slot is empty and `NonFiniteLogitsError` when the model computes NaN.
    """
    empty = [slot for slot in range(engine.info.n_slots) if engine.length(slot) == 0]
    if not empty:
        raise EngineError("The numerics probe needs an empty slot.")
    started = clock()
    run = _Probe(engine, empty[0], empty[1] if len(empty) > 1 else None, swell, threads, known, exact=exact)
    if known is not None and run.complete(sizes):
        return known
    try:
        return run.run(sizes, started + budget_s, clock, whole=whole)
    finally:
        for slot in empty[:2]:
            engine.rewind(slot, 0)


class _Probe:
    """One run: the slot that is measured, the one that stands for another answer, and what was found so far."""

    def __init__(
        self,
        engine: Engine,
        slot: int,
        other: int | None,
        swell: Swell | None,
        threads: tuple[int, SetThreads] | None,
        known: Numerics | None,
        *,
        exact: bool,
    ) -> None:
        self._exact = exact
        self._engine = engine
        self._slot = slot
        self._other = other
        n_ctx = engine.info.n_ctx
        self._swell = swell if n_ctx >= BORDER and engine.rewind_limit.free else None
        self._spacious = n_ctx >= 2 * BORDER
        self._short_of = (BORDER if self._spacious else BORDER // 2) - 2
        self._threads = threads if threads is not None and threads[0] > 1 else None
        self._room = min(engine.info.n_ctx, engine.info.n_batch, engine.info.max_rows or LARGE)
        self._by_batch: dict[int, float] = {} if known is None else dict(known.by_batch)
        self._flips = 0 if known is None else known.argmax_flips
        self._positions = 0 if known is None else known.positions
        self._context = 0 if known is None else known.context
        self._large = None if known is None else known.large
        self._beside = None if known is None else known.beside
        self._one_thread = None if known is None else known.threads
        self._grain = BLOCK if known is None else known.grain
        self._first = known is None

    def complete(self, sizes: Sequence[int]) -> bool:
        """Nothing is left to be measured."""
        fits = {size for size in sizes if size <= self._room}
        extras = (self._large is not None or self._room <= max(SIZES)) and self._beside is not None
        return extras and fits <= set(self._by_batch) and (self._threads is None or self._one_thread is not None)

    def run(self, sizes: Sequence[int], until: float, clock: Callable[[], float], *, whole: bool) -> Numerics:
        step_s = self._step_seconds(clock)
        must = whole

        def affordable(steps: float) -> bool:
            return must or clock() + steps * step_s <= until

        todo = sorted(size for size in sizes if size <= self._room and size not in self._by_batch)
        length = max(todo, default=0)
        if not affordable(self._steps(todo, length)):
            length = min(length, _ALWAYS)  # the first tokens of every pass will do
        while todo and todo[-1] > _ALWAYS and not affordable(self._steps(todo, length)):
            if not self._first and len(todo) == 1:
                break  # every load adds something
            todo.pop()
        # what matters most comes first
        if todo:
            self._compare(0, todo, length, "short of")
        added = bool(todo) or self._first
        for missing, steps, measure in (
            (self._large is None and self._room > max(SIZES), 0.5 * LARGE + length, self._measure_large),
            (self._beside is None, 0.3 * LARGE + 8, self._measure_beside),
            (self._threads is not None and self._one_thread is None, 24.0, self._measure_threads),
        ):
            if missing and (affordable(steps) or not added):
                measure()
                added = True
        if self._exact and self._first and self._limit() is not None:
            self._measure_grain()
        must = False
        if self._first:
            for number in range(1, len(TEXTS)):
                if todo and affordable(self._steps(todo, length)):
                    self._compare(number, todo, length, _PLACES[number % len(_PLACES)])
        return Numerics(
            self._by_batch,
            self._flips,
            self._positions,
            self._context,
            large=self._large,
            beside=self._beside,
            threads=self._one_thread,
            grain=self._grain,
        )

    def _limit(self) -> int | None:
        """The most tokens of a pass that were found exact so far; None is any number."""
        return Numerics(self._by_batch, 0, 0, large=self._large).exact_rows

    def _steps(self, sizes: Sequence[int], length: int) -> float:
        """Single steps that a text costs: `length` of them, and passes, of which two tokens count as one."""
        head = _HEAD / 2 if self._swell is not None else 0.0
        return head + length + sum(1.5 + 0.5 * size for size in sizes)

    def _step_seconds(self, clock: Callable[[], float]) -> float:
        """Seconds of one single step, warmed up by another; the quickest of three, where three take but a moment."""
        self._one_by_one(self._text(0, 1))
        times: list[float] = []
        while len(times) < 3 and sum(times) < 0.1:
            self._engine.rewind(self._slot, 0)
            started = clock()
            self._one_by_one(self._text(0, 1))
            times.append(clock() - started)
        return min(times)

    def _compare(self, number: int, sizes: Sequence[int], length: int, place: str) -> None:
        """The first `length` tokens of a text read singly, then the text in passes: the same logits? And the same from
        a single step behind each pass, as when what it has read is in the cache?"""
        engine, slot = self._engine, self._slot
        text = self._text(number, max(sizes))
        base = self._begin(slot, place)
        singles = self._one_by_one(text[:length])
        for size in sizes:
            engine.rewind(slot, base)
            rows = engine.forward([Chunk(slot, base, text[:size], want=size)])[0][:length]
            expected = singles[:size]
            found = self._difference(rows, expected, base)
            self._flips += int((rows.argmax(axis=1) != expected.argmax(axis=1)).sum())
            self._positions += len(rows)
            if size < length:
                found = max(found, self._step_behind(base + size, text[size], singles[size]))
            self._by_batch[size] = max(self._by_batch.get(size, 0.0), found)
        if not base:
            self._context = max(self._context, len(text))

    def _measure_large(self) -> None:
        """A pass as large as a prompt's, and a step behind its beginning, against single steps."""
        engine, slot = self._engine, self._slot
        text = self._text(1, min(LARGE, self._room, engine.info.n_ctx // 2))
        base = self._begin(slot, "short of")
        singles = self._one_by_one(text[: _ALWAYS + 1])
        engine.rewind(slot, base)
        rows = engine.forward([Chunk(slot, base, text, want=len(text))])[0][: _ALWAYS + 1]
        found = self._difference(rows, singles, base)
        self._large = max(found, self._step_behind(base + _ALWAYS, text[_ALWAYS], singles[_ALWAYS]))

    def _measure_grain(self) -> None:
        """A text read in a pass of the greatest size, and in three of other sizes: the same steps behind it?"""
        engine, slot = self._engine, self._slot
        sizes = (BLOCK, BLOCK + GRAIN, LARGEST - 2 * BLOCK - GRAIN)
        if min(engine.info.n_batch, engine.info.n_ctx // 2) < LARGEST:
            return
        text = self._text(3, LARGEST + 2)

        def steps_behind(cut: Sequence[int]) -> Logits:
            at = base = self._begin(slot, "short of")
            for size in cut:
                engine.forward([Chunk(slot, at, text[at - base : at - base + size])])
                at += size
            return self._one_by_one(text[LARGEST:])

        if self._difference(steps_behind(sizes), steps_behind([LARGEST]), LARGEST) == 0.0:
            self._grain = GRAIN

    def _measure_beside(self) -> None:
        """A few steps behind a text, and again above the cells of another answer, in one pass with a piece of it, and
        alone behind that. With one slot there are no others."""
        engine, slot, other = self._engine, self._slot, self._other
        if other is None:
            self._beside = 0.0
            return
        exact = self._limit() if self._exact else None
        rows = min(LARGE, self._room, engine.info.n_ctx // 2, exact or LARGE)
        own = min(_ALWAYS, rows - 1)
        text, crowd = self._text(0, _ALWAYS), self._text(2, rows - own)
        base = self._begin(slot, "short of")
        singles = self._one_by_one(text)
        engine.rewind(slot, 0)
        start = self._begin(other, "short of" if self._spacious else "start", weight=BORDER // 2 - 1)
        base = self._begin(slot, "short of")
        found = 0.0
        if own:
            chunks = [Chunk(other, start, crowd), Chunk(slot, base, text[:own], want=own)]
            found = self._difference(engine.forward(chunks)[-1], singles[:own], base)
            engine.rewind(slot, base)
        self._beside = max(found, self._step_behind(base, text[0], singles[0]))
        engine.rewind(other, 0)

    def _measure_threads(self) -> None:
        """A few steps and a pass of as many, on one thread, against the steps on all of them."""
        assert self._threads is not None, "asked for where there are several"
        engine, slot, (all_threads, set_threads) = self._engine, self._slot, self._threads
        text = self._text(0, _ALWAYS)
        base = self._begin(slot, "short of")
        expected = self._one_by_one(text)
        engine.rewind(slot, base)
        set_threads(1)
        try:
            found = self._difference(self._one_by_one(text), expected, base)
            engine.rewind(slot, base)
            rows = engine.forward([Chunk(slot, base, text, want=len(text))])[0]
            self._one_thread = max(found, self._difference(rows, expected, base))
        finally:
            set_threads(all_threads)

    def _begin(self, slot: int, place: str, weight: int | None = None) -> int:
        """Empty a slot, and let it hold a long text unless it is the "start". Returns its length."""
        engine = self._engine
        engine.rewind(slot, 0)
        if place == "start" or self._swell is None:
            return 0
        head = self._text(len(TEXTS) - 1, _HEAD)
        for at, token in enumerate(head):  # as single steps, so that only what is compared is read in another way
            engine.forward([Chunk(slot, at, [token])])
        weighs = self._swell(slot, weight or (BEHIND if place == "behind" and self._spacious else self._short_of))
        if slot == self._slot:
            self._context = max(self._context, weighs)
        return len(head)

    def _one_by_one(self, text: Sequence[int]) -> Logits:
        """A copy of the logits after every token, read behind what the slot holds."""
        engine, slot = self._engine, self._slot
        rows = np.empty((len(text), engine.info.n_vocab), dtype=np.float32)
        for row, token in zip(rows, text, strict=True):
            row[:] = engine.forward([Chunk(slot, engine.length(slot), [token], want=1)])[0][0]
        return rows

    def _step_behind(self, length: int, token: int, expected: Logits) -> float:
        """A single step behind the first `length` tokens of the slot, which were read in another way."""
        engine, slot = self._engine, self._slot
        if engine.reachable(slot, length) != length:
            return 0.0
        engine.rewind(slot, length)
        return self._difference(engine.forward([Chunk(slot, length, [token], want=1)])[0], expected[None], length)

    def _difference(self, rows: Logits, expected: Logits, first: int) -> float:
        """Largest |difference|; two logits of -inf (a forbidden token) are the same. NaN on either side is an error."""
        with np.errstate(invalid="ignore"):  # -inf - -inf
            differences = np.where(rows == expected, 0.0, np.abs(rows - expected))
        bad = np.isnan(differences).any(axis=1)
        if bad.any():
            raise NonFiniteLogitsError(first + int(bad.argmax()), model=self._engine.info.name)
        return float(differences.max())

    def _text(self, number: int, length: int) -> list[int]:
        """`length` tokens of natural text, beginning with one of the built-in ones; arbitrary ids where the vocabulary
        has no words for it."""
        tokenizer, n_vocab = self._engine.tokenizer, self._engine.info.n_vocab
        tokens: list[int] = []
        for turn in range(len(TEXTS)):
            if len(tokens) >= length:
                break
            try:
                tokens += tokenizer.encode(TEXTS[(number + turn) % len(TEXTS)], add_special=not tokens)
            except ParameterError:
                break  # a toy's few letters cannot spell it
        if len(tokens) < length:
            tokens += np.random.default_rng(number).integers(n_vocab, size=length - len(tokens)).tolist()
        return tokens[:length]
