"""The hidden rows of a main model's last pass, where somebody reads them: a head (`head.py`)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from foredraft.core.errors import IncompatibleDraftError
from foredraft.core.reasons import Reason
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
        self._asked: Sequence[Chunk] = ()
        self._parts: dict[int, list[Hidden]] = {}
        """By slot, what the passes of one `forward` left."""

    def offer(self, on: bool) -> None:
        """See `OffersHidden.offer_hidden`. Raises `IncompatibleDraftError` where the library cannot."""
        if on and self._more.reason:
            raise IncompatibleDraftError(Reason("head_unusable", {"why": self._more.reason}))
        before = self._readers
        self._readers = max(0, before + (1 if on else -1))
        if bool(before) != bool(self._readers):
            self.switch(on)
            self._asked, self._parts = (), {}

    def switch(self, on: bool) -> None:
        """Let the library keep them from now on, or not."""
        self._more.set_hidden(self._context, on, False)

    def view(self, total: int) -> Hidden:
        """Those of the last pass, of so many tokens."""
        return as_rows(self._more.get_hidden(self._context), total, self.width)

    def begin(self, chunks: Sequence[Chunk]) -> None:
        """These are to be read now, in one pass or in several."""
        self._asked, self._parts = chunks, {}

    def passed(self, chunks: Sequence[Chunk], pads: Sequence[int] = ()) -> None:
        """A pass of these chunks has ended; `pads`: tokens of no meaning behind each. Its rows are copied: the next
        pass overwrites them."""
        if not self._readers:
            return
        sizes = [len(chunk.tokens) for chunk in chunks]
        ends = np.cumsum([size + pad for size, pad in zip(sizes, pads or [0] * len(sizes), strict=True)])
        view = self.view(int(ends[-1]))
        for chunk, size, first in zip(chunks, sizes, [0, *ends[:-1]], strict=True):
            self._parts.setdefault(chunk.slot, []).append(np.array(view[first : first + size]))

    def rows(self) -> list[Hidden]:
        """Of what was asked for last, one array a chunk, shape (tokens, width)."""
        if not self._parts:
            return []
        return [np.concatenate(self._parts[chunk.slot])[-len(chunk.tokens) :] for chunk in self._asked]


def as_rows(pointer: Any, rows: int, columns: int) -> Hidden:
    """The library's own memory, read-only, as rows."""
    address = ctypes.addressof(pointer.contents)
    buffer = memoryview((ctypes.c_float * (rows * columns)).from_address(address))
    view: Hidden = np.frombuffer(buffer, dtype=np.float32).reshape(rows, columns)
    view.flags.writeable = False
    return view
