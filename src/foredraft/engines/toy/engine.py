"""An exact language model whose law of the next token is a table over the last few tokens.

It keeps the `Engine` contract more strictly than a real engine can: rows that are read too late are NaN, and every way
in which a real pass fails can be had on demand. Nothing here waits: time passes on a clock of its own.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foredraft.core.errors import CacheFullError, Cancelled, ClosedError, EngineError
from foredraft.engines.base import BLOCK, Chunk, Logits, ModelInfo, Numerics, Tokenizer
from foredraft.engines.probe import probe
from foredraft.engines.rewind import FREE, Rewind
from foredraft.engines.toy.tokenizer import ToyTokenizer

Law = Callable[[tuple[int, ...]], ArrayLike]
"""Probabilities of the next token, shape (n_vocab,), given the last `order` tokens (fewer at the start of a text)."""

FAILURES = ("cache_full", "cancelled", "error", "nan")


class ToyClock:
    """Seconds that pass only when someone says so. Call it to read it, like `time.perf_counter`."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        self._now += seconds


class ToyEngine:
    """A language model by table.

    A coin that likes to repeat itself, over the vocabulary {begin, end, " ", "a"}:

    >>> engine = ToyEngine.from_table({(): [0, 0, 0.5, 0.5], (3,): [0, 0.25, 0.25, 0.5]}, order=1)
    >>> rows = engine.forward([Chunk(slot=0, start=0, tokens=[2, 3], want=2)])[0]
    >>> np.exp(rows).round(2).tolist()
    [[0.0, 0.0, 0.5, 0.5], [0.0, 0.25, 0.25, 0.5]]
    >>> engine.read(0)
    (2, 3)

    A token of probability 0 has the logit -inf, as its logarithm is.
    """

    rewind_limit: Rewind = FREE

    def __init__(
        self,
        law: Law,
        tokenizer: Tokenizer,
        *,
        order: int = 1,
        n_slots: int = 1,
        n_ctx: int = 256,
        n_batch: int = 64,
        rounding: float = 0.0,
        exact_up_to: int | None = None,
        grain: int = BLOCK,
        measure: bool = True,
        cost: Callable[[int], float] | None = None,
        clock: ToyClock | None = None,
        name: str = "toy",
        chat_template: str | None = None,
    ) -> None:
        """`cost(n)` seconds pass on `clock` in a pass of n tokens.

        `rounding` imitates a machine that computes batches otherwise than single tokens: a pass of several tokens
        moves every logit by up to that much, always by the same amount for the same text. With `exact_up_to` only
        passes of more tokens than that do so, and what such a pass has read is another memory: every row behind it is
        moved by an amount that depends on which tokens were read so, and in what kind of pass: those of at least
        `BLOCK` tokens, in multiples of `grain` (`BLOCK`: of exactly so many), are of one kind, and any other size is
        its own.
        Without `measure` the numerics are not probed.
        """
        n_vocab = tokenizer.n_vocab
        self.tokenizer = tokenizer
        self.clock = clock or ToyClock()
        self.passes: deque[list[tuple[int, int, int]]] = deque(maxlen=10_000)
        """(slot, start, tokens) of every chunk, a list for each pass: what was really asked of the model."""
        self.during: Callable[[], None] | None = None
        """Called in the middle of each pass, as another thread would be running then (to `abort`, say)."""
        self.info = ModelInfo(
            name=name,
            path="",
            architecture="toy",
            description=f"toy of order {order}",
            n_params=0,
            size_bytes=0,
            quantisation="F64",
            n_vocab=n_vocab,
            n_ctx=n_ctx,
            n_ctx_train=n_ctx,
            n_slots=n_slots,
            n_batch=n_batch,
            chat_template=chat_template,
        )
        self._law = law
        self.order = order
        self._rounding = rounding
        self._exact_up_to = exact_up_to
        self._grain = grain
        self.exact_rows: int | None = None
        self.exact_grain = grain
        self._cost = cost or (lambda n: 0.0)
        self._slots: list[list[int]] = [[] for _ in range(n_slots)]
        self._cells: list[list[int]] = [[] for _ in range(n_slots)]  # who shares memory with whom, after `copy`
        self._new_cell = count()
        self._known: dict[tuple[int, ...], Logits] = {}
        self._last: Logits = np.empty((0, n_vocab), dtype=np.float32)
        self._failures: dict[int, str] = {}
        self._pass_number = 0
        self._abort_lock = threading.Lock()
        self._running = self._aborted = self._broken = False
        self._rough: list[list[int]] = [[] for _ in range(n_slots)]  # in what kind of pass each token was read
        self.numerics: Numerics | None = Numerics({}, 0, 0)
        if rounding and measure:
            self.probe()

    @classmethod
    def from_table(
        cls, table: Mapping[tuple[int, ...], ArrayLike], *, order: int | None = None, **settings: object
    ) -> ToyEngine:
        """A law given by hand: the longest entry that ends the text holds. `()` holds where nothing else does."""
        longest = max(map(len, table), default=0) if order is None else order
        laws = {context: np.asarray(law, dtype=np.float64) for context, law in table.items()}
        n_vocab = len(next(iter(laws.values())))

        def law(context: tuple[int, ...]) -> NDArray[np.float64]:
            return next(laws[context[start:]] for start in range(len(context) + 1) if context[start:] in laws)

        settings.setdefault("tokenizer", ToyTokenizer.of_size(n_vocab))
        return cls(law, order=longest, **settings)  # type: ignore[arg-type]

    @classmethod
    def random(
        cls, seed: int, *, n_vocab: int = 24, order: int = 2, sharpness: float = 2.0, **settings: object
    ) -> ToyEngine:
        """A law drawn anew for every context. `sharpness` 0 is uniform, 5 is nearly certain."""

        def law(context: tuple[int, ...]) -> NDArray[np.float64]:
            scores = sharpness * np.random.default_rng([seed, len(context), *context]).normal(size=n_vocab)
            return _softmax(scores)

        settings.setdefault("tokenizer", ToyTokenizer.of_size(n_vocab))
        return cls(law, order=order, **settings)  # type: ignore[arg-type]

    def blurred(
        self, amount: float, *, seed: int = 0, kind: type[ToyEngine] | None = None, **settings: object
    ) -> ToyEngine:
        """A draft for this model: its law, mixed with `amount` (0 to 1) of a random other one; a toy of that kind."""
        kind = kind or ToyEngine
        n_vocab, order = self.info.n_vocab, self.order

        def law(context: tuple[int, ...]) -> NDArray[np.float64]:
            other = _softmax(2.0 * np.random.default_rng([seed, 1, *context]).normal(size=n_vocab))
            return (1 - amount) * np.asarray(self._law(context), dtype=np.float64) + amount * other

        settings.setdefault("tokenizer", self.tokenizer)
        settings.setdefault("n_slots", self.info.n_slots)
        settings.setdefault("n_ctx", self.info.n_ctx)
        settings.setdefault("clock", self.clock)
        settings.setdefault("name", f"{self.info.name} draft")
        return kind(law, order=order, **settings)  # type: ignore[arg-type]

    # ---- what a test wants to know and to cause ----

    def law(self, tokens: Sequence[int]) -> NDArray[np.float64]:
        """The exact probabilities of the token behind `tokens`."""
        return np.asarray(self._law(self._context(tokens)), dtype=np.float64)

    def logits(self, tokens: Sequence[int]) -> Logits:
        """The row that `forward` gives behind `tokens`, when it reads one at a time."""
        context = self._context(tokens)
        if context not in self._known:
            with np.errstate(divide="ignore"):
                self._known[context] = np.log(self.law(tokens)).astype(np.float32)
        return self._known[context]

    def read(self, slot: int) -> tuple[int, ...]:
        """The tokens that a slot has read, and still holds."""
        return tuple(self._slots[self._checked(slot)])

    def fail(self, kind: str, *, after: int = 0) -> None:
        """Make one pass fail, `after` more have gone well: "cache_full", "cancelled", "error", or "nan" logits."""
        if kind not in FAILURES:
            raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(FAILURES)}")
        self._failures[self._pass_number + after] = kind

    def probe(self, known: Numerics | None = None) -> Numerics:
        self.numerics = probe(self, clock=self.clock, known=known)
        return self.numerics

    # ---- the engine ----

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        self._last.fill(np.nan)  # whoever still looks at the rows of the last pass shall notice
        self._check(chunks)
        self._begin(chunks)
        return self._compute(chunks, sum(len(chunk.tokens) for chunk in chunks))

    def _begin(self, chunks: Sequence[Chunk]) -> None:
        """A pass, up to where it has gone well or failed."""
        total = sum(len(chunk.tokens) for chunk in chunks)
        with self._abort_lock:
            self._running, self._aborted = True, False
        failure = self._failures.pop(self._pass_number, None)
        self._pass_number += 1
        self.passes.append([(chunk.slot, chunk.start, len(chunk.tokens)) for chunk in chunks])
        self.clock.advance(self._cost(total))
        if self.during is not None:
            self.during()
        with self._abort_lock:
            self._running = False
            if self._aborted or failure == "cancelled":
                raise Cancelled
        if failure == "cache_full":
            raise CacheFullError("No room in the toy's cache, as asked for.")
        if failure == "error":
            raise EngineError("The toy fails, as asked for.")
        self._broken = failure == "nan"

    def length(self, slot: int) -> int:
        return len(self._slots[self._checked(slot)])

    def rewind(self, slot: int, length: int) -> None:
        now = self.length(slot)
        if not 0 <= length <= now:
            raise EngineError(f"Slot {slot} has read {now} tokens and cannot be rewound to {length}.")
        del self._slots[slot][length:], self._cells[slot][length:], self._rough[slot][length:]

    def copy(self, src: int, dst: int, length: int) -> None:
        have = self.length(src)
        self._checked(dst)
        if not 0 <= length <= have:
            raise EngineError(f"Slot {src} has read {have} tokens; {length} cannot be copied.")
        self._slots[dst] = self._slots[src][:length]
        self._cells[dst] = self._cells[src][:length]
        self._rough[dst] = self._rough[src][:length]

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        return min(self.length(slot), length)

    def keep(self, slot: int) -> None:
        self._checked(slot)

    def owed(self, slot: int) -> int:
        return 0 * self._checked(slot)

    def abort(self) -> None:
        with self._abort_lock:
            self._aborted = self._running

    def close(self) -> None:
        self._slots, self._cells = [], []

    # ---- inside ----

    def _check(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            slot, start, size = chunk.slot, chunk.start, len(chunk.tokens)
            have = self.length(slot)
            if start != have:
                raise EngineError(f"A chunk for slot {slot} starts at {start}, but {have} tokens were read.")
            if not 0 <= chunk.want <= size or size == 0:
                raise EngineError(f"{chunk.want} rows of logits are wanted of a chunk of {size} tokens.")
            if any(not 0 <= token < self.info.n_vocab for token in chunk.tokens):
                raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.")
            if start + size > self.info.n_ctx:
                raise CacheFullError(
                    f"Slot {slot} would hold {start + size} tokens, but the context is {self.info.n_ctx}."
                )
        if len({chunk.slot for chunk in chunks}) < len(chunks):
            raise EngineError("Two chunks for one slot in one pass.")
        total = sum(len(chunk.tokens) for chunk in chunks)
        if total > self.info.n_batch:
            raise EngineError(f"A pass of {total} tokens is more than the {self.info.n_batch} allowed.")
        rows = sum(chunk.want for chunk in chunks)
        if self.info.max_rows is not None and rows > self.info.max_rows:
            raise EngineError(f"{rows} rows of logits are wanted, but at most {self.info.max_rows} are given.")
        used = len({cell for cells in self._cells for cell in cells})
        if used + total > self.info.n_ctx:
            raise CacheFullError(f"No room for {total} more tokens: {used} of {self.info.n_ctx} cells are taken.")

    def _compute(self, chunks: Sequence[Chunk], total: int) -> list[Logits]:
        rows = np.full((sum(chunk.want for chunk in chunks), self.info.n_vocab), np.nan, dtype=np.float32)
        result = []
        row = 0
        for chunk in chunks:
            first = row
            tokens = self._slots[chunk.slot]
            for number, token in enumerate(chunk.tokens):
                tokens.append(int(token))
                self._cells[chunk.slot].append(next(self._new_cell))
                self._rough[chunk.slot].append(self._kind(total))
                if number >= len(chunk.tokens) - chunk.want and not self._broken:
                    rows[row] = self.logits(self._state(chunk, tokens))
                    if self._rounding:
                        rows[row] += self._rounding_error(tokens, self._rough[chunk.slot], total)
                if number >= len(chunk.tokens) - chunk.want:
                    row += 1
            result.append(rows[first:row])
        for view in result:
            view.flags.writeable = False  # as those of the real engine are
        self._last = rows
        return result

    def _state(self, chunk: Chunk, tokens: Sequence[int]) -> Sequence[int]:
        """What a row rests on, when `tokens` have been read at the chunk's slot."""
        return tokens

    def _kind(self, total: int) -> int:
        """Of a pass: 0 where its rows equal single steps, 1 for a large one, else its size."""
        if self._exact_up_to is None or total <= self._exact_up_to:
            return 0
        large = total >= BLOCK and total % self._grain == 0 if self._grain < BLOCK else total == BLOCK
        return 1 if large else total

    def _rounding_error(self, tokens: Sequence[int], rough: Sequence[int], total: int) -> NDArray[np.float64]:
        if self._exact_up_to is None:
            key = [7, *self._context(tokens)] if total > 1 else []
        else:
            key = [8, zlib.crc32(np.asarray(rough, dtype=np.int32).tobytes())] if any(rough) else []
        if not key:
            return np.zeros(self.info.n_vocab)
        return np.random.default_rng(key).uniform(-self._rounding, self._rounding, self.info.n_vocab)

    def _context(self, tokens: Sequence[int]) -> tuple[int, ...]:
        return tuple(tokens[len(tokens) - min(self.order, len(tokens)) :])

    def _checked(self, slot: int) -> int:
        if not self._slots:
            raise ClosedError(self.info.name)
        if not 0 <= slot < len(self._slots):
            raise EngineError(f"There is no slot {slot}; the engine has {len(self._slots)}.")
        return slot


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max())
    law: NDArray[np.float64] = weights / weights.sum()
    return law
