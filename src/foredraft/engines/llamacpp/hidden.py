"""The hidden rows of a main model's last pass, where somebody reads them: a head (`head.py`)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from foredraft.core.errors import IncompatibleDraftError
from foredraft.engines.base import Chunk, Hidden
from foredraft.engines.llamacpp.extended import extended
from foredraft.engines.llamacpp.library import library


class HiddenRows:
    """Of one context. `width` is 0 where the library offers none."""

    def __init__(self, context: Any, model: Any) -> None:
        self._more = extended()
        self._context = context
        self.width = 0 if self._more.reason else int(library().api.llama_model_n_embd_out(model))
        self._readers = 0
        self._sizes: list[int] = []

    def offer(self, on: bool) -> None:
        """See `OffersHidden.offer_hidden`. Raises `IncompatibleDraftError` where the library cannot."""
        if on and self._more.reason:
            raise IncompatibleDraftError("head_unusable", self._more.reason)
        before = self._readers
        self._readers = max(0, before + (1 if on else -1))
        if bool(before) != bool(self._readers):
            self._more.set_hidden(self._context, on, False)
            self._sizes = []

    def passed(self, chunks: Sequence[Chunk]) -> None:
        """A pass of these chunks has ended."""
        if self._readers:
            self._sizes = [len(chunk.tokens) for chunk in chunks]

    def rows(self) -> list[Hidden]:
        """Of the last pass, one array a chunk, shape (tokens, width)."""
        total = sum(self._sizes)
        if not total:
            return []
        view = as_rows(self._more.get_hidden(self._context), total, self.width)
        ends = np.cumsum(self._sizes)
        return [view[end - size : end] for end, size in zip(ends, self._sizes, strict=True)]


def as_rows(pointer: Any, rows: int, columns: int) -> Hidden:
    """The library's own memory, read-only, as rows."""
    address = ctypes.addressof(pointer.contents)
    buffer = memoryview((ctypes.c_float * (rows * columns)).from_address(address))
    view: Hidden = np.frombuffer(buffer, dtype=np.float32).reshape(rows, columns)
    view.flags.writeable = False
    return view
