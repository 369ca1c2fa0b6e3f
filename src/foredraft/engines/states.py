"""Books about recurrent states: what of every slot's text a state is kept for, and how to get back there.

A recurrent state cannot be cut like a KV cache. The library does go back in three ways, each with conditions that it
does not check: it returns success over a stale state (two passes taken back, a copy of what was taken back, texts of
several lengths in one pass). So every move of a slot goes through these books, which know what is true and refuse the
rest with a `RewindError`. The text that a caller sees and the state may differ: what lies between them is *owed*, and
read with the next pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from foredraft.core.errors import RewindError
from foredraft.engines.base import Chunk, Logits
from foredraft.engines.rewind import Rewind

REPLAY = 32
"""Most tokens from a state that was kept to where a slot is taken back: what lies between is read again. Where guesses
could lead further, what is owed is read in a pass of its own first, and the state behind it is kept."""


class Memory(Protocol):
    """What a library does with the states of its sequences, unchecked. Every slot has a spare sequence where the way
    back is a fork."""

    def clear(self, slot: int) -> None:
        """Empty a slot and its spare."""

    def cut(self, slot: int, length: int) -> bool:
        """Take back the end of the last pass."""

    def fork(self, slot: int) -> None:
        """Let the spare be what the slot is now."""

    def back(self, slot: int) -> None:
        """Let the slot be what its spare is."""

    def share(self, src: int, dst: int, length: int, *, spare: bool = False) -> None:
        """Let an empty slot be what another is (or its spare), of which it has the first `length` tokens."""

    def save(self, slot: int) -> Any:
        """A copy of a slot's state, apart from what its attention keeps."""

    def load(self, slot: int, saved: Any, length: int) -> bool:
        """Put a saved state, of `length` tokens, into a slot whose attention still has those."""


@dataclass(slots=True)
class Step:
    """Chunks that the library reads in one go."""

    chunks: list[Chunk]
    pads: list[int]
    """For each, tokens of no meaning that are read behind it, and taken back."""


@dataclass(slots=True)
class _Slot:
    text: list[int] = field(default_factory=list)
    """What the caller has had read, and not taken back."""
    held: int = 0
    """Tokens of it that the library's state has read; the rest is owed."""
    sure: int = 0
    """Tokens of it that are no guesses."""
    fork: int | None = None
    """Tokens that the spare sequence has read."""
    junk: int = 0
    """Tokens of no meaning that the state has read behind those."""
    last: int = 0
    """Tokens of the last step, while they can be taken back; 0 once anything else has happened."""
    pending: bool = False
    """Some were taken back: the library acts on that in the next pass only."""
    marks: list[tuple[int, Any]] = field(default_factory=list)
    """Checkpoints, rising: length and saved state."""


class States:
    """The books of one engine whose `rewind_limit` is not `FREE`."""

    def __init__(self, memory: Memory, way: Rewind, n_slots: int, *, step: int, checkpoints: int, name: str) -> None:
        """`step`: tokens that the library computes at once, at least those of a round of every slot; `checkpoints`: how
        many are kept a slot; `name`: the model's, for messages."""
        self.way = way
        self._step = step
        self._memory = memory
        self._checkpoints = checkpoints if way.possible else 0
        self._name = name
        self._slots = [_Slot() for _ in range(n_slots)]

    # ---- asking ----

    def length(self, slot: int) -> int:
        return len(self._slots[slot].text)

    def owed(self, slot: int) -> int:
        """Tokens that the next pass reads again."""
        known = self._slots[slot]
        return len(known.text) - known.held

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        """See `Engine.reachable`."""
        known = self._slots[slot]
        if length >= len(known.text):
            return len(known.text)
        if self._point(known, length, copy=copy) is not None:
            return length
        return max((at for at, _ in known.marks if at <= length), default=0)

    @property
    def used(self) -> int:
        """Slots that hold a text."""
        return sum(1 for known in self._slots if known.text)

    # ---- reading ----

    def overdue(self, chunks: Sequence[Chunk], n_batch: int) -> Iterator[Chunk]:
        """What must be read before a pass of these chunks, piece by piece, because it is too much to go with them."""
        self._settle()
        room = n_batch - sum(len(chunk.tokens) for chunk in chunks)
        most = REPLAY if self.way.way == "fork" else 1
        for chunk in chunks:
            known = self._slots[chunk.slot]
            owed = len(known.text) - known.held
            if owed <= room and (not chunk.guesses or owed + chunk.guesses < most):
                room -= owed
                continue
            while known.held < len(known.text):
                yield Chunk(chunk.slot, known.held, known.text[known.held : known.held + n_batch])

    def begin(self, chunks: Sequence[Chunk]) -> list[Step]:
        """The chunks with what is owed before them, in one step or two. States that guesses may need are kept now."""
        wide = []
        for chunk in chunks:
            known = self._slots[chunk.slot]
            if chunk.guesses < len(chunk.tokens):
                known.sure = chunk.start
            if self.way.way == "fork" and chunk.guesses and known.held <= known.sure and known.fork != known.held:
                self._memory.fork(chunk.slot)
                known.fork = known.held
            owed = known.text[known.held : chunk.start]
            wide.append(Chunk(chunk.slot, known.held, [*owed, *chunk.tokens], chunk.want, chunk.guesses))
        return self._steps(wide)

    def _steps(self, wide: list[Chunk]) -> list[Step]:
        """Texts of several lengths are computed one after the other, and the library moves states in between, but not
        those that it keeps for a rollback: so all that may be rolled back is made equally long, and comes last."""
        sizes = [len(chunk.tokens) for chunk in wide]
        alike = min(sizes) == max(sizes) and sum(sizes) <= self._step
        if self.way.way != "rollback" or len(wide) == 1 or alike or not any(chunk.guesses for chunk in wide):
            return [Step(wide, [0] * len(wide))]
        first, last, room = [], [], (self.way.limit or 0) + 1
        for chunk in wide:
            head = len(chunk.tokens) - room
            if head <= 0:
                last.append(chunk)
            elif not chunk.guesses:
                first.append(chunk)
            else:
                want = max(0, chunk.want - room)
                first.append(Chunk(chunk.slot, chunk.start, chunk.tokens[:head], want))
                rest = chunk.tokens[head:]
                last.append(Chunk(chunk.slot, chunk.start + head, rest, chunk.want - want, chunk.guesses))
        longest = max(len(chunk.tokens) for chunk in last)
        steps = [Step(last, [longest - len(chunk.tokens) for chunk in last])]
        return [Step(first, [0] * len(first)), *steps] if first else steps

    def done(self, step: Step) -> None:
        """A step that `begin` gave has gone well, or one of `overdue`."""
        for known in self._slots:  # the library moves states about: only what was read last can be taken back
            known.last = 0
        longest = max(len(chunk.tokens) + pad for chunk, pad in zip(step.chunks, step.pads, strict=True))
        for chunk, pad in zip(step.chunks, step.pads, strict=True):
            known, size = self._slots[chunk.slot], len(chunk.tokens)
            known.text += chunk.tokens[len(known.text) - chunk.start :]
            known.held, known.junk, known.pending = chunk.start + size, pad, False
            if known.held == len(known.text) and chunk.guesses < size:
                known.sure = max(known.sure, known.held - chunk.guesses)
            known.last = size + pad if size + pad == longest else 0

    def failed(self, lengths: Sequence[int], *, begun: bool) -> None:
        """A pass has failed: the texts are those of before it, of these `lengths`. If the library had `begun`, it had
        moved states about, those of others too: none of them is trusted any more, and all is read again."""
        for slot, (known, length) in enumerate(zip(self._slots, lengths, strict=True)):
            if begun or len(known.text) > length:
                self._memory.clear(slot)
                self._slots[slot] = _Slot(known.text[:length], sure=min(known.sure, length))

    def _settle(self) -> None:
        """Take back what was read without meaning, before anything else happens to it."""
        for slot, known in enumerate(self._slots):
            if known.junk:
                if not self._memory.cut(slot, known.held):
                    raise RewindError(f"llama.cpp did not take back the end of slot {slot} of {self._name}.")
                known.junk, known.last, known.pending = 0, 0, True

    # ---- going back ----

    def rewind(self, slot: int, length: int) -> None:
        """See `Engine.rewind`; `length` is less than what the slot holds."""
        known = self._slots[slot]
        if not length:
            self._memory.clear(slot)
            self._slots[slot] = _Slot()
            return
        point = self._point(known, length)
        if point is None:
            raise RewindError(
                f"{self._name} cannot take back the last {len(known.text) - length} tokens of slot {slot}: it keeps "
                f"one state of the whole text ({self.way.way})."
            )
        if point == known.fork and point < known.held:
            self._memory.back(slot)
        elif point == length < known.held and self._rolls_back(known, length):
            if not self._memory.cut(slot, length):
                raise RewindError(f"llama.cpp did not take back the end of slot {slot} of {self._name}.")
            known.pending = True
        elif point < known.held:
            self._settle()
            saved = dict(known.marks)[point]
            if not self._memory.load(slot, saved, point):
                raise RewindError(f"llama.cpp did not take a state of slot {slot} of {self._name} back.")
            known.fork, known.pending = None, False
        known.held, known.junk, known.last = min(point, known.held), 0, 0
        del known.text[length:]
        known.sure = min(known.sure, length)
        known.marks = [(at, saved) for at, saved in known.marks if at <= length]

    def copy(self, src: int, dst: int, length: int) -> None:
        """See `Engine.copy`; the two are not the same slot, and `dst` is emptied."""
        self._settle()
        known = self._slots[src]
        point = self._point(known, length, copy=True) if length else 0
        if point is None:
            raise RewindError(
                f"{self._name} cannot copy {length} of the {len(known.text)} tokens of slot {src}: it has no state of "
                "them alone."
            )
        self._memory.clear(dst)
        self._slots[dst] = made = _Slot()
        if not length:
            return
        if point == known.held and not known.pending:
            self._memory.share(src, dst, point)
        elif point == known.fork:
            self._memory.share(src, dst, point, spare=True)
        else:  # a state that was saved, or one that has to be: the library would copy what was taken back as well
            saved = self._memory.save(src) if point == known.held else dict(known.marks)[point]
            self._memory.share(src, dst, point)
            if not self._memory.load(dst, saved, point):
                self._memory.clear(dst)
                raise RewindError(f"llama.cpp did not copy a state of slot {src} of {self._name}.")
        known.last = 0  # a state that two share cannot be cut in one of them
        made.text, made.held, made.sure = known.text[:length], point, length
        made.marks = [mark for mark in known.marks if mark[0] <= point]

    def keep(self, slot: int) -> None:
        """See `Engine.keep`. The first checkpoint is the last to go: most texts begin alike."""
        known = self._slots[slot]
        if not self._checkpoints or not known.held or self.owed(slot) or any(at == known.held for at, _ in known.marks):
            return
        self._settle()
        known.marks.append((known.held, self._memory.save(slot)))
        known.marks.sort(key=lambda mark: mark[0])
        if len(known.marks) > self._checkpoints:
            del known.marks[min(1, self._checkpoints - 1)]

    def _point(self, known: _Slot, length: int, *, copy: bool = False) -> int | None:
        """Of which length the state is from which the slot gets to `length`, reading what is between; None for none."""
        if length >= known.held:
            return known.held
        if not copy and self._rolls_back(known, length):
            return length
        near = [at for at, _ in known.marks]
        if known.fork is not None:
            near.append(known.fork)
        return max((at for at in near if length - REPLAY <= at <= length), default=None)

    def _rolls_back(self, known: _Slot, length: int) -> bool:
        most = min(self.way.limit or 0, known.last - 1)
        return self.way.way == "rollback" and not known.pending and known.held + known.junk - length <= most


def gather(chunks: Sequence[Chunk], part: Sequence[Chunk], rows: Logits, whole: Logits) -> None:
    """Put the `rows` of one step's chunks, `part`, where they belong among those of all `chunks`: `whole`."""
    ends, end = {}, 0
    for chunk in chunks:
        end += chunk.want
        ends[chunk.slot] = end, chunk.start + len(chunk.tokens)
    first = 0
    for chunk in part:
        end, stop = ends[chunk.slot]
        behind = stop - chunk.start - len(chunk.tokens)  # rows are wanted of the last tokens, without a gap
        last = end - behind
        whole[last - chunk.want : last] = rows[first : first + chunk.want]
        first += chunk.want
