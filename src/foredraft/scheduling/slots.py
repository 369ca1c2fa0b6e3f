"""KV slots: which answer sits where, and what of a new prompt is already in the cache."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from foredraft.core.errors import EngineError
from foredraft.engines.base import Engine
from foredraft.scheduling.exact_prefill import cut_of

WORTH_COPYING = 32
"""Shared tokens from which copying another slot's cache beats reading them again."""
SESSIONS = 256
"""Sessions that are known again when they come back."""


@dataclass(slots=True)
class Slot:
    """One sequence of the engine's cache. While free it keeps what the last answer left, for reuse."""

    index: int
    tokens: list[int] = field(default_factory=list)
    blocks: int = 0
    """Tokens from the beginning that are read in large passes (`exact_prefill.py`)."""
    session: str = ""
    """Whose text it holds; empty where nobody said."""
    busy: bool = False
    last_used: int = 0


class Slots:
    """The slots of one engine. What of a text can be used again is what the engine can go back to (`reachable`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots = [Slot(i) for i in range(engine.info.n_slots)]
        self._clock = 0
        self._sessions: deque[str] = deque(maxlen=SESSIONS)

    @property
    def free(self) -> int:
        return sum(1 for slot in self._slots if not slot.busy)

    def __len__(self) -> int:
        return len(self._slots)

    def take(self, prompt: Sequence[int], session: str = "", *, reuse: bool = True) -> tuple[int, int]:
        """(slot, tokens of `prompt` it already holds). A free slot whose whole text the prompt continues, else the
        session's own, else the one least missed, filled from the slot that shares most: a conversation is not given up
        for its beginning. The last prompt token is never counted: it is the first input of the first round. Without
        `reuse` nothing is kept: all of the prompt shall be read."""
        free = [slot for slot in self._slots if not slot.busy]
        if not free:
            raise RuntimeError("no free slot: the scheduler must not admit")
        wanted = list(prompt[:-1])
        blocks = self.blocks(len(prompt))
        own = {slot.index: self._reusable(slot, wanted, blocks, copy=False) if reuse else 0 for slot in free}
        target = self._least_missed(free, session, own)
        copies = self._engine.rewind_limit.possible
        shared = {
            slot.index: self._reusable(slot, wanted, blocks, copy=copies and slot is not target) if reuse else 0
            for slot in self._slots
            if copies or not slot.busy
        }
        donor = max(self._slots, key=lambda slot: (shared.get(slot.index, 0), slot is target, not slot.busy))
        kept = shared.get(donor.index, 0)
        if not donor.busy and kept and (kept == len(donor.tokens) or donor is target or not copies):
            target = donor
        elif copies and kept >= WORTH_COPYING:
            self._engine.copy(donor.index, target.index, kept)
        else:
            kept = shared[target.index]
        self._engine.rewind(target.index, kept)
        self._clock += 1
        target.busy, target.last_used, target.session = True, self._clock, session
        target.tokens, target.blocks = wanted[:kept], blocks
        return target.index, kept

    def _least_missed(self, free: Sequence[Slot], session: str, shared: Mapping[int, int]) -> Slot:
        """The free slot that a session may overwrite: its own, where the new text keeps half of the old one or more,
        else an empty one, else the one unused for longest. A session that comes back and finds no slot of its own is
        one of more than there are slots for, which take turns: it takes the slot used last. The oldest is the one whose
        turn is next."""
        own = [slot for slot in self._slots if session and slot.session == session]
        lost = session in self._sessions and not own
        if session and session not in self._sessions:
            self._sessions.append(session)
        for slot in own:
            if not slot.busy and 0 < len(slot.tokens) <= 2 * shared[slot.index]:
                return slot
        return min(free, key=lambda slot: (bool(slot.tokens), -slot.last_used if lost else slot.last_used))

    def grows_into(self, index: int, reading: Sequence[int], prompt: Sequence[int], stops: Sequence[int] = ()) -> bool:
        """True when the slot, which is just reading `reading`, will soon hold much more of `prompt` than any slot has
        now: waiting for it saves reading the same again. `stops`: where its state will be kept, of an engine that goes
        back to kept states only."""
        wanted, blocks = list(prompt[:-1]), self.blocks(len(prompt))
        shared = common(list(reading), wanted)
        if not self._engine.rewind_limit.free:
            shared = max((at for at in stops if at <= shared), default=0)
        coming = self._alike(shared, self._slots[index], blocks)
        return coming >= WORTH_COPYING + max(self._reusable(slot, wanted, blocks, copy=True) for slot in self._slots)

    def blocks(self, n_prompt: int) -> int:
        """Where the large passes of a prompt of so many tokens end; 0 where none are told apart."""
        cut = cut_of(self._engine)
        return 0 if cut is None else cut.end(n_prompt)

    def note(self, index: int, tokens: Sequence[int]) -> None:
        """The slot now holds these tokens (a running answer may be copied from)."""
        self._slots[index].tokens = list(tokens)

    def release(self, index: int, tokens: Sequence[int]) -> None:
        """The answer has ended; the slot keeps these tokens for whoever continues them."""
        slot = self._slots[index]
        slot.busy, slot.tokens = False, list(tokens)
        with contextlib.suppress(EngineError):  # one that has died, say
            self._engine.keep(index)

    def clear(self) -> None:
        """Forget what free slots hold: nobody knows what is in the cache any more."""
        for slot in self._slots:
            if not slot.busy:
                self._engine.rewind(slot.index, 0)
                slot.tokens = []

    def make_room(self) -> bool:
        """Empty the free slot that was unused for longest; False when there is nothing left to empty."""
        kept = [slot for slot in self._slots if not slot.busy and slot.tokens]
        if not kept:
            return False
        oldest = min(kept, key=lambda slot: slot.last_used)
        self._engine.rewind(oldest.index, 0)
        oldest.tokens = []
        return True

    def _alike(self, shared: int, slot: Slot, blocks: int) -> int:
        """Of `shared` tokens, those whose cells are what reading the new text would give."""
        cut = cut_of(self._engine)
        return shared if cut is None else cut.same_kind(shared, slot.blocks, blocks)

    def _reusable(self, slot: Slot, wanted: list[int], blocks: int, *, copy: bool) -> int:
        """Tokens of `wanted` that the slot holds, read as they would be now, and can be taken back to, or copied."""
        shared = self._alike(common(slot.tokens, wanted), slot, blocks)
        return self._engine.reachable(slot.index, shared, copy=copy) if shared else 0


def common(a: list[int], b: list[int]) -> int:
    """How many tokens at the beginning are the same."""
    low, high = 0, min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    while low + 1 < high:  # a[:low] agrees, a[:high] does not
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
