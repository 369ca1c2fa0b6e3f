"""The cells of the shared KV cache, kept in the order of every slot's text.

Attention adds up a text's cells in the order in which they lie, and sums in another order end in other digits.
llama.cpp puts new tokens into the lowest free cells. So if one slot gave back cells below those of another (rejected
guesses, an answer that ended), the next text to grow would fill that hole, and lie out of order. Hence the rule here:
*no hole below the fill mark*. Cells that are not on top when a slot lets them go are **held**, under a sequence number
of their own, until everything above them is gone too, or until so many are held that the cache is packed: saved and put
back by the library itself, without the held cells, in the same order, at the speed of memory.

One slot alone never holds anything: what it takes back is always on top.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foredraft.core.errors import CacheFullError, EngineError

PACK_FROM = 256
"""So few held cells are always let be: llama.cpp rounds the cells that it looks at up to a multiple of it."""

_SLOTS, _FIRST, _COUNT = 0, 1, 2


class Cells:
    """Books about which slot's tokens lie where, and the library calls that go with every change of them."""

    def __init__(self, api: Any, context: Any, memory: Any, size: int, spare: int | None) -> None:
        """`size` is how many cells there are. `spare` is the sequence that holds cells; None keeps no books: a slot's
        cells are given back at once, wherever they lie."""
        self._api = api
        self._let_be = max(PACK_FROM, size // 16)  # packing also wipes the whole cache, used or not
        self._context = context
        self._memory = memory
        self._spare = spare
        self._runs: list[list[int]] = []
        """From the bottom up: [slots that hold the cells, as bits; position of the first; how many]. The positions of
        one slot rise with its runs."""
        self.used = 0
        """Cells below the fill mark."""
        self.held = 0
        """Those of them that belong to no slot any more."""

    @property
    def crowded(self) -> bool:
        """So many are held that packing costs less than looking past them in every pass."""
        return self.held > self._let_be and 2 * self.held > self.used

    def put(self, slot: int, first: int, count: int) -> None:
        """A slot has read `count` tokens from position `first` on: they lie on top."""
        if self._spare is None:
            return
        self.used += count
        if self._runs:
            top = self._runs[-1]
            if top[_SLOTS] == 1 << slot and top[_FIRST] + top[_COUNT] == first:
                top[_COUNT] += count
                return
        self._runs.append([1 << slot, first, count])

    def cut(self, slot: int, length: int) -> bool:
        """A slot keeps its first `length` tokens. False where the library cannot take the others out."""
        spare = self._spare
        if spare is None:
            return self._remove(slot, length)
        runs, bit = self._runs, 1 << slot
        while runs and runs[-1][_SLOTS] == bit and runs[-1][_FIRST] + runs[-1][_COUNT] > length:
            top = runs[-1]  # what only this slot holds, on top, is given back below
            kept = max(0, length - top[_FIRST])
            self.used -= top[_COUNT] - kept
            top[_COUNT] = kept
            if not kept:
                runs.pop()
        for first, last in self._let_go(bit, length):
            self._api.llama_memory_seq_cp(self._memory, slot, spare, first, last)
        gone = self._remove(slot, length)
        self._release()
        return gone

    def share(self, src: int, dst: int, length: int) -> None:
        """Slot `dst`, which is empty, holds the first `length` tokens of `src` as well."""
        self._api.llama_memory_seq_cp(self._memory, src, dst, 0, length)
        if self._spare is None:
            return
        bit, runs = 1 << src, []
        for run in self._runs:
            slots, first, count = run
            inside = min(count, length - first) if slots & bit else 0
            if inside > 0:
                runs.append([slots | 1 << dst, first, inside])
                run = [slots, first + inside, count - inside]
            if run[_COUNT]:
                runs.append(run)
        self._runs = runs

    def pack(self) -> bool:
        """Free what is held, and close the holes. False when there is nothing to free, or no memory to do it in."""
        spare = self._spare
        if spare is None or not self.held:
            return False
        size = self._api.llama_state_get_size(self._context)
        try:
            room = np.empty(size, dtype=np.uint8)
        except MemoryError:
            return False
        self._remove(spare, 0)
        size = self._api.llama_state_get_data(self._context, _pointer(room), size)
        if not size or self._api.llama_state_set_data(self._context, _pointer(room), size) != size:
            self._api.llama_memory_clear(self._memory, False)
            self._runs, self.used, self.held = [], 0, 0
            raise EngineError("llama.cpp could not put its KV cache back after packing it: every slot is empty now.")
        held = 1 << spare
        runs: list[list[int]] = []
        for run in self._runs:
            slots, first, count = run
            if slots == held:
                continue
            if runs and runs[-1][_SLOTS] == slots and runs[-1][_FIRST] + runs[-1][_COUNT] == first:
                runs[-1][_COUNT] += count
            else:
                runs.append(run)
        self._runs = runs
        self.used = sum(run[_COUNT] for run in runs)
        self.held = 0
        return True

    def swell(self, slot: int, length: int, cells: int, spare: int) -> int:
        """Copy what a slot holds (`length` tokens) until it is `cells` cells: the same tokens at the same positions,
        several times. That is no text, but costs a pass what a long text does. For the numerics probe.

        `spare` is a sequence that holds nothing. Returns how many cells there are.
        """
        copies = []
        part = cells % length if 0 < length < cells else 0
        if part:  # the first of them only, to arrive at that number
            self._api.llama_memory_seq_cp(self._memory, slot, spare, 0, part)
            copies.append((part, self._save(spare)))
            self._remove(spare, 0)
        have = length
        while 0 < 2 * have <= cells - part:
            copies.append((have, self._save(slot)))
            have += self._again(slot, length, *copies[-1], spare)
        for size, saved in reversed(copies):
            while have + size <= cells and (size != part or have + size == cells):
                have += self._again(slot, length, size, saved, spare)
        return have

    def _save(self, sequence: int) -> NDArray[np.uint8]:
        size = self._api.llama_state_seq_get_size(self._context, sequence)
        saved = np.empty(size, dtype=np.uint8)
        size = self._api.llama_state_seq_get_data(self._context, _pointer(saved), size, sequence)
        return saved[:size]

    def _again(self, slot: int, length: int, size: int, saved: NDArray[np.uint8], spare: int) -> int:
        """Put `size` saved cells on top, as the slot's. Returns how many; raises `CacheFullError` without room."""
        if not self._api.llama_state_seq_set_data(self._context, _pointer(saved), len(saved), spare):
            raise CacheFullError(f"No room for {size} more cells.")
        self._api.llama_memory_seq_cp(self._memory, spare, slot, -1, -1)
        self._remove(spare, 0)
        if self._spare is not None:
            self._runs += [[1 << slot, 0, min(length, size - at)] for at in range(0, size, length)]
            self.used += size
        return size

    def _let_go(self, bit: int, length: int) -> list[tuple[int, int]]:
        """Take a slot out of the books from position `length` on. Returns the positions, as [first, last), of cells
        that it held alone: they stay, held."""
        spans: list[tuple[int, int]] = []
        runs = self._runs
        for index in range(len(runs) - 1, -1, -1):
            slots, first, count = runs[index]
            if not slots & bit:
                continue
            if first + count <= length:
                break
            if first < length:  # it keeps the lower part
                runs.insert(index + 1, [slots, length, first + count - length])
                runs[index][_COUNT] = length - first
                index, first, count = index + 1, length, first + count - length
            if slots != bit:
                runs[index][_SLOTS] = slots & ~bit
                continue
            runs[index][_SLOTS] = 1 << self._spare if self._spare is not None else 0
            self.held += count
            if spans and spans[-1][0] == first + count:
                spans[-1] = (first, spans[-1][1])
            else:
                spans.append((first, first + count))
        return spans

    def _release(self) -> None:
        """When all that is held lies on top, it is free. (A part of it could not be named: a sequence is cut by
        positions, and cells of several slots share them.)"""
        if not self.held or self._spare is None:
            return
        held, top = 1 << self._spare, 0
        for run in reversed(self._runs):
            if run[_SLOTS] != held:
                break
            top += run[_COUNT]
        if top < self.held:
            return
        self._remove(self._spare, 0)
        while self._runs and self._runs[-1][_SLOTS] == held:
            self._runs.pop()
        self.used -= self.held
        self.held = 0

    def undo(self, slot: int, first: int) -> bool:
        """After a pass that failed: take out what it left behind, of which the books know nothing."""
        return self._remove(slot, first)

    def _remove(self, sequence: int, first: int) -> bool:
        # the library calls "from the beginning" -1: a whole sequence can be removed in every kind of model
        return bool(self._api.llama_memory_seq_rm(self._memory, sequence, first or -1, -1))


def _pointer(array: NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
