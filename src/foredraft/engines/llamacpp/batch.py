"""The one batch that every pass fills again: columns of tokens as arrays, shared with the library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foredraft.engines.base import Chunk


class Batch:
    """Room for `size` tokens. `struct` is what `llama_decode` takes; its columns are the arrays below."""

    def __init__(self, api: Any, size: int, n_ctx: int) -> None:
        self.token = np.zeros(size, dtype=np.int32)
        self._pos = np.zeros(size, dtype=np.int32)
        self._slot = np.zeros(size, dtype=np.int32)
        self._out = np.zeros(size, dtype=np.int8)
        self._positions = np.arange(n_ctx + size, dtype=np.int32)
        # every token belongs to one sequence: its list of sequences is one number in `_slot`
        self._slot_counts = np.ones(size, dtype=np.int32)
        self._slot_lists = (self._slot.ctypes.data + 4 * np.arange(size)).astype(np.uintp)
        self.struct: Any = api.llama_batch()
        columns: dict[str, NDArray[Any]] = {
            "token": self.token,
            "pos": self._pos,
            "n_seq_id": self._slot_counts,
            "seq_id": self._slot_lists,
            "logits": self._out,
        }
        self._kinds = dict(api.llama_batch._fields_)
        for name, column in columns.items():
            setattr(self.struct, name, column.ctypes.data_as(self._kinds[name]))

    def set_rows(self, rows: NDArray[np.float32]) -> None:
        """Every token comes with a row of numbers from now on: those of `rows`, by its place in the batch."""
        self.struct.embd = rows.ctypes.data_as(self._kinds["embd"])

    def rows_alone(self, n: int, start: int) -> None:
        """No tokens: the first `n` rows, each wanted, of the first slot, at positions from `start` on."""
        self._pos[:n] = np.arange(start, start + n)
        self._slot[:n], self._out[:n] = 0, 1
        self.struct.token, self.struct.n_tokens = None, n

    def put(self, first: int, chunk: Chunk, pad: int = 0, *, still: bool = False) -> int:
        """Write a chunk at row `first`, and `pad` tokens of no meaning behind it; returns the row behind all that.
        Raises OverflowError for ids beyond 32 bits. With `still` all its tokens stand at the position where it starts.
        """
        tokens, want = chunk.tokens, chunk.want
        size = len(tokens)
        last = first + size
        if pad:
            end, start = last + pad, chunk.start + size
            self.token[last:end], self._out[last:end], self._slot[last:end] = 0, 0, chunk.slot
            self._pos[last:end] = self._positions[start : start + pad]
        if size == 1:  # a draft step: plain stores are faster than slices
            self.token[first] = tokens[0]
            self._pos[first] = chunk.start
            self._slot[first] = chunk.slot
            self._out[first] = want
            return last + pad
        self.token[first:last] = tokens
        self._pos[first:last] = chunk.start if still else self._positions[chunk.start : chunk.start + size]
        self._slot[first:last] = chunk.slot
        self._out[first : last - want] = 0
        self._out[last - want : last] = 1
        return last + pad

    def range(self, n: int) -> tuple[int, int]:
        """The lowest and the highest id of the first `n` tokens."""
        if n == 1:
            return int(self.token[0]), int(self.token[0])
        tokens = self.token[:n]
        return int(tokens.min()), int(tokens.max())
