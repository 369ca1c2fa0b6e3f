"""Recurrent states in llama.cpp: its calls that move them, and a look at whether they do what they should.

What the library does, and does not check (`llama-memory-recurrent.cpp` of the sdist): `seq_rm` of the end of the last
pass takes a state back whose snapshot that pass wrote, and says yes to one that it did not write; `seq_cp` shares a
state and forgets what was taken back; a sequence that shares its state gets one of its own with its next token. The
books that keep within all that are `engines/states.py`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foredraft.core.errors import EngineError
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.rewind import FORK, NONE, Rewind, rollback

ALIKE = 0.1
"""Largest difference of two rows of logits, as a share of their spread, that rounding may make. A state that is not the
right one makes one of 1 and more."""


def has_states(api: Any, model: Any) -> bool:
    """Whether a model keeps a recurrent state beside or instead of a KV cache."""
    return bool(api.llama_model_is_recurrent(model) or api.llama_model_is_hybrid(model))


def way_back(api: Any, context: Any, spares: int) -> Rewind:
    """What a context of such a model was opened for: `spares` sequences beside the slots are for forks."""
    kept = int(api.llama_n_rs_seq(context))
    return rollback(kept) if kept else FORK if spares else NONE


class Sequences:
    """`states.Memory` is its contract. A slot's spare sequence comes `n_slots` behind it."""

    def __init__(self, api: Any, context: Any, n_slots: int, *, spares: bool) -> None:
        self._api = api
        self._context = context
        self._memory = api.llama_get_memory(context)
        self._spare = n_slots if spares else 0
        self._part = int(api.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def clear(self, slot: int) -> None:
        self._remove(slot, -1)
        if self._spare:
            self._remove(slot + self._spare, -1)

    def cut(self, slot: int, length: int) -> bool:
        return self._remove(slot, length)

    def fork(self, slot: int) -> None:
        self._remove(slot + self._spare, -1)
        self._api.llama_memory_seq_cp(self._memory, slot, slot + self._spare, -1, -1)

    def back(self, slot: int) -> None:
        self._remove(slot, -1)
        self._api.llama_memory_seq_cp(self._memory, slot + self._spare, slot, -1, -1)

    def share(self, src: int, dst: int, length: int, *, spare: bool = False) -> None:
        self._api.llama_memory_seq_cp(self._memory, src + self._spare if spare else src, dst, 0, length)

    def save(self, slot: int) -> NDArray[np.uint8]:
        size = self._api.llama_state_seq_get_size_ext(self._context, slot, self._part)
        saved = np.empty(size, dtype=np.uint8)
        size = self._api.llama_state_seq_get_data_ext(self._context, _pointer(saved), size, slot, self._part)
        return saved[:size]

    def load(self, slot: int, saved: NDArray[np.uint8], length: int) -> bool:
        if self._spare:
            self._remove(slot + self._spare, -1)
        read = self._api.llama_state_seq_set_data_ext(self._context, _pointer(saved), len(saved), slot, self._part)
        if read != len(saved) or not self._remove(slot, length):
            return False
        return bool(self._api.llama_memory_seq_pos_max(self._memory, slot) == length - 1)

    def _remove(self, sequence: int, first: int) -> bool:
        return bool(self._api.llama_memory_seq_rm(self._memory, sequence, first, -1))


def goes_back(engine: Engine) -> bool:
    """Try it: a guess taken back, in a pass with another text where there is room for one, and a token behind it, as if
    the guess had never been read? Uses slots that are empty, and leaves them so."""
    slots = range(min(2, engine.info.n_slots))
    size, n_vocab = min(2, (engine.rewind_limit.limit or 2)), engine.info.n_vocab
    texts = [[(7 + 31 * number + 5 * slot) % n_vocab for number in range(6)] for slot in slots]
    wrong = [(t + n_vocab // 2) % n_vocab for t in texts[0]]

    def begin() -> None:
        for slot in slots:
            engine.rewind(slot, 0)
        engine.forward([Chunk(slot, 0, texts[slot][: 2 + slot]) for slot in slots])

    def rows(start: int) -> NDArray[np.float32]:
        chunks = [Chunk(slot, start + slot, texts[slot][start + slot : start + slot + 1], want=1) for slot in slots]
        return np.concatenate(engine.forward(chunks)).copy()

    try:
        begin()
        engine.forward([Chunk(slot, 2 + slot, texts[slot][2 + slot : 3 + slot]) for slot in slots])
        expected = rows(3)
        begin()
        guesses = [[texts[slot][2 + slot], *wrong[: size - slot]] for slot in slots]
        engine.forward([Chunk(slot, 2 + slot, guesses[slot], guesses=len(guesses[slot]) - 1) for slot in slots])
        for slot in slots:
            engine.rewind(slot, 3 + slot)
        found = rows(3)
    except EngineError:
        return False
    finally:
        for slot in slots:
            engine.rewind(slot, 0)
    if not np.isfinite(expected).all():
        return True  # nothing can be told; the first answer says so
    return bool(np.abs(found - expected).max() <= ALIKE * max(float(expected.std()), 1e-6))


def _pointer(array: NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
