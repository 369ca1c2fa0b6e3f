"""A head that lies in its main model's process: it needs that one's memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from foredraft.core.errors import EngineError
from foredraft.engines.base import BLOCK, Chunk, Hidden, Logits, ModelInfo, Numerics, Tokenizer
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.wire import Kind
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.rewind import FREE


class MainProcess(Protocol):
    """The main model in its process, as a head knows it: `IsolatedEngine`."""

    options: LoadOptions | None

    @property
    def info(self) -> ModelInfo: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def pid(self) -> int: ...
    def length(self, slot: int) -> int: ...
    def hidden_of(self, width: int) -> list[Hidden]: ...
    def offer_hidden_of(self, number: int, on: bool) -> None: ...
    def head(self, kind: Kind, body: bytes, lengths: list[int]) -> list[int]: ...
    def head_rows(self, chunks: Sequence[Chunk], n_vocab: int, width: int) -> tuple[list[Hidden], list[Logits]]: ...
    def close_head(self, number: int) -> None: ...


class IsolatedSource:
    """What a head reads of its main model's passes, in their process."""

    def __init__(self, main: MainProcess, number: int, width: int) -> None:
        self._main, self._number, self._width = main, number, width
        self._on = False

    @property
    def hidden(self) -> list[Hidden]:
        """See `OffersHidden`."""
        return self._main.hidden_of(self._width) if self._on else []

    def offer_hidden(self, on: bool) -> None:
        """See `OffersHidden`."""
        if on != self._on:
            self._main.offer_hidden_of(self._number, on)
            self._on = on


class IsolatedHead:
    """`LlamaCppHead` in another process. Its rows come where the main model's do: they are read before its next pass,
    and its own are not needed any more by then."""

    def __init__(self, main: MainProcess, number: int, facts: dict[str, Any]) -> None:
        """`number` and `facts` are what the process says of the head that it has opened."""
        self._main = main
        self._number = number
        self.info: ModelInfo = wire.info_from_json(facts["info"])
        self.shared: bool = facts["shared"]
        self.width: int = facts["width"]
        self.memory_bytes: int = facts["memory_bytes"]
        self.options: LoadOptions | None = main.options
        self.tokenizer = main.tokenizer
        self.numerics: Numerics | None = None
        self.exact_rows: int | None = None
        self.exact_grain = BLOCK
        self.rewind_limit = FREE
        self.hidden: list[Hidden] = []
        self.source = IsolatedSource(main, number, self.width)
        """The main model's rows that it reads beside the tokens."""
        self._lengths = [0] * main.info.n_slots
        self._rewinds: list[int] = []

    @property
    def pid(self) -> int:
        """Of the process that it shares with its main model."""
        return self._main.pid

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """See `LlamaCppHead.forward`."""
        if not chunks:
            return []
        numbers = (self._number, len(self._rewinds) // 2, *self._rewinds)
        pairs = [_rows_of(chunk, self.width) for chunk in chunks]
        self._rewinds.clear()
        self._lengths = self._main.head(Kind.HEAD_FORWARD, wire.pairs_to_bytes(numbers, chunks, pairs), self._lengths)
        self.hidden, rows = self._main.head_rows(chunks, self.info.n_vocab, self.width)
        return rows

    def length(self, slot: int) -> int:
        if self.shared:
            return self._main.length(slot)
        if not 0 <= slot < len(self._lengths):
            raise EngineError(f"There is no slot {slot}; the head has {len(self._lengths)}.")
        return self._lengths[slot]

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        """It goes back to any length: its attention is all the memory it has."""
        return min(self.length(slot), length)

    def keep(self, slot: int) -> None:
        """Nothing need be kept to go back."""

    def owed(self, slot: int) -> int:
        """Nothing is ever owed."""
        return 0

    def rewind(self, slot: int, length: int) -> None:
        have = self.length(slot)
        if self.shared or length == have:
            return
        if not 0 <= length < have:
            raise EngineError(f"Slot {slot} has read {have} tokens and cannot be rewound to {length}.")
        self._rewinds += (slot, length)
        self._lengths[slot] = length

    def copy(self, src: int, dst: int, length: int) -> None:
        raise EngineError("A head in another process copies nothing: what it lacks it reads.")

    def abort(self) -> None:
        """A pass of a head is a small part of one of the main model's: it comes to its end."""

    def close(self) -> None:
        if self._lengths:
            self._main.close_head(self._number)
        self._lengths, self.hidden = [], []


def _rows_of(chunk: Chunk, width: int) -> Hidden:
    if chunk.hidden is None:
        return np.zeros((len(chunk.tokens), width), dtype=np.float32)
    return np.ascontiguousarray(chunk.hidden, dtype=np.float32)
