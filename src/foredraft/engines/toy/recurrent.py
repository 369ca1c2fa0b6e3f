"""A toy with a recurrent state, kept as llama.cpp keeps its own: with every trap that the library has.

Where llama.cpp goes on from a wrong state without a word, so does this: its rows then rest on tokens that nobody read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.core.errors import CacheFullError, Cancelled, EngineError, RewindError
from foredraft.engines.base import Chunk, Logits
from foredraft.engines.rewind import FORK, Rewind
from foredraft.engines.states import States, Step
from foredraft.engines.toy.engine import ToyEngine

_WRONG = 0
"""The token that a stale state seems to have read."""


class RecurrentToy(ToyEngine):
    """`ToyEngine`, but for how far it goes back."""

    def __init__(self, *args: Any, rewind_limit: Rewind = FORK, checkpoints: int = 4, **settings: Any) -> None:
        """`checkpoints` states are kept a slot."""
        self.rewind_limit = rewind_limit
        n_slots, name = settings.get("n_slots", 1), settings.get("name", "toy")
        self._memory = ToyMemory(n_slots, rewind_limit)
        step = settings.get("n_batch", 64)
        self._states = States(self._memory, rewind_limit, n_slots, step=step, checkpoints=checkpoints, name=name)
        super().__init__(*args, **settings)

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        self._last.fill(float("nan"))
        self._check(chunks)
        for chunk in chunks:
            if self.rewind_limit.limit is not None and chunk.guesses > self.rewind_limit.limit:
                raise RewindError(f"{self.info.name} cannot take back {chunk.guesses} tokens of a pass.")
        for piece in self._states.overdue(chunks, self.info.n_batch):
            self._read(Step([piece], [0]))
        total = 0
        for step in self._states.begin(chunks):
            self._read(step)
            total += sum(len(chunk.tokens) for chunk in step.chunks)
        return self._compute(chunks, total)

    def rewind(self, slot: int, length: int) -> None:
        if 0 <= length < self.length(slot):
            self._states.rewind(slot, length)
        super().rewind(slot, length)

    def copy(self, src: int, dst: int, length: int) -> None:
        if src == dst:
            self.rewind(src, length)
            return
        if 0 <= length <= self.length(src) and 0 <= dst < self.info.n_slots:
            self._states.copy(src, dst, length)
        super().copy(src, dst, length)

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        return self._states.reachable(self._checked(slot), length, copy=copy)

    def keep(self, slot: int) -> None:
        self._states.keep(self._checked(slot))

    def owed(self, slot: int) -> int:
        return self._states.owed(self._checked(slot))

    def _read(self, step: Step) -> None:
        try:
            self._begin(step.chunks)
        except (Cancelled, EngineError) as error:
            lengths = [len(text) for text in self._slots]
            self._states.failed(lengths, begun=not isinstance(error, CacheFullError))
            raise
        texts = {c.slot: [*c.tokens, *[_WRONG] * pad] for c, pad in zip(step.chunks, step.pads, strict=True)}
        self._memory.read_on(texts)
        self._states.done(step)

    def _state(self, chunk: Chunk, tokens: Sequence[int]) -> Sequence[int]:
        return self._memory.read[chunk.slot][: len(tokens)]


class ToyMemory:
    """`states.Memory` over lists of tokens: what each sequence has read. A slot's spare comes `n_slots` behind it."""

    def __init__(self, n_slots: int, way: Rewind) -> None:
        self.read: list[list[int]] = [[] for _ in range(2 * n_slots)]
        self._last = [0] * (2 * n_slots)  # tokens of the pass before
        self._cut: list[list[int] | None] = [None] * (2 * n_slots)  # until the next pass: the text without its end
        self._n_slots = n_slots
        self._way = way

    def read_on(self, texts: Mapping[int, Sequence[int]]) -> None:
        """A pass reads tokens, by slot; what was taken back before is gone now. Shorter texts are read before longer
        ones, which then move their states about."""
        self._last = [0] * len(self._last)
        longest = max(map(len, texts.values()))
        for slot, tokens in texts.items():
            self.read[slot] = [*self.save(slot), *tokens]
            self._cut[slot], self._last[slot] = None, len(tokens) if len(tokens) == longest else 0

    def clear(self, slot: int) -> None:
        for sequence in (slot, slot + self._n_slots):
            self.read[sequence], self._cut[sequence], self._last[sequence] = [], None, 0

    def cut(self, slot: int, length: int) -> bool:
        back = len(self.read[slot]) - length
        if self._cut[slot] is not None or back > (self._way.limit or 0):
            return False
        stale = back >= self._last[slot]  # no state was kept there: the library takes an old one
        self._cut[slot] = [_WRONG] * length if stale else self.read[slot][:length]
        return True

    def fork(self, slot: int) -> None:
        self._copy(slot, slot + self._n_slots)

    def back(self, slot: int) -> None:
        self._copy(slot + self._n_slots, slot)

    def share(self, src: int, dst: int, length: int, *, spare: bool = False) -> None:
        self._copy(src + self._n_slots if spare else src, dst)

    def save(self, slot: int) -> tuple[int, ...]:
        cut = self._cut[slot]
        return tuple(self.read[slot] if cut is None else cut)

    def load(self, slot: int, saved: tuple[int, ...], length: int) -> bool:
        self.read[slot + self._n_slots] = []
        self.read[slot], self._cut[slot], self._last[slot] = list(saved), None, 0
        return len(saved) == length

    def _copy(self, src: int, dst: int) -> None:
        self.read[dst] = list(self.read[src])  # what was taken back of it comes along
        self._cut[dst], self._last[dst] = None, 0
