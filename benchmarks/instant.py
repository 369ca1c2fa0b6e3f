"""An engine whose passes take no real time: what is left is the cost of our own work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foredraft.core.params import MAX_DRAFT
from foredraft.engines.base import BLOCK, Chunk, Logits, ModelInfo, Numerics, Tokenizer
from foredraft.engines.rewind import FREE, Rewind
from foredraft.engines.toy.tokenizer import ToyTokenizer

_SPREAD = 3.0
"""Standard deviation of the logits, about that of real models: some tens of tokens matter."""


class InstantEngine:
    """One slot; every row of logits is the same one, so a draft with the same `seed` guesses right every time."""

    rewind_limit: Rewind = FREE
    numerics: Numerics | None = None
    exact_rows: int | None = None
    exact_grain: int = BLOCK

    def __init__(
        self, n_vocab: int, *, n_ctx: int = 1024, seed: int = 5, spend: Callable[[int], None] = lambda n: None
    ) -> None:
        """`spend` is told of every pass of n tokens: it may move a clock that the controller looks at."""
        self.tokenizer: Tokenizer = ToyTokenizer.of_size(32)
        self.info = ModelInfo("instant", "", "instant", "no model", 0, 0, "none", n_vocab, n_ctx, n_ctx, 1, n_ctx)
        row = np.random.default_rng(seed).normal(scale=_SPREAD, size=n_vocab).astype(np.float32)
        self._rows: Logits = np.tile(row, (MAX_DRAFT + 1, 1))
        self._rows.flags.writeable = False
        self._length = 0
        self._spend = spend

    def read(self, slot: int, count: int) -> None:
        """Have read so many tokens more."""
        del slot
        self._length += count

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        n = sum(len(chunk.tokens) for chunk in chunks)
        self._length += n
        self._spend(n)
        return [self._rows[: chunk.want] for chunk in chunks]

    def length(self, slot: int) -> int:
        del slot
        return self._length

    def rewind(self, slot: int, length: int) -> None:
        del slot
        self._length = length

    def copy(self, src: int, dst: int, length: int) -> None:
        del src, dst
        self._length = length

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        del slot, copy
        return length

    def keep(self, slot: int) -> None: ...

    def owed(self, slot: int) -> int:
        del slot
        return 0

    def abort(self) -> None: ...

    def close(self) -> None: ...
