"""KV slots: which answer sits where, and what of a new prompt is already in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from foredraft.engines.base import Engine

_WORTH_COPYING = 32
"""Shared tokens from which copying another slot's cache beats reading them again."""


@dataclass(slots=True)
class Slot:
    """One sequence of the engine's cache. While free it keeps what the last answer left, for reuse."""

    index: int
    tokens: list[int] = field(default_factory=list)
    busy: bool = False
    last_used: int = 0


class Slots:
    """The slots of one engine. `rewind_limit` 0 (recurrent models) means a prefix can only be reused whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._slots = [Slot(i) for i in range(engine.info.n_slots)]
        self._clock = 0

    @property
    def free(self) -> int:
        return sum(1 for slot in self._slots if not slot.busy)

    def __len__(self) -> int:
        return len(self._slots)

    def take(self, prompt: Sequence[int]) -> tuple[int, int]:
        """(slot, tokens of `prompt` it already holds). The free slot with the longest common prefix, or the one unused
        for longest, filled from a busy slot if that shares much more. The last prompt token is never counted: it is
        the first input of the first round."""
        free = [slot for slot in self._slots if not slot.busy]
        if not free:
            raise RuntimeError("no free slot: the scheduler must not admit")
        usable = len(prompt) - 1
        best = max(free, key=lambda slot: (self._shared(slot, prompt, usable), -slot.last_used))
        shared = self._shared(best, prompt, usable)
        donor = max(self._slots, key=lambda slot: self._shared(slot, prompt, usable))
        donated = self._shared(donor, prompt, usable)
        if donor.busy and donated >= shared + _WORTH_COPYING and self._engine.rewind_limit is None:
            best = min(free, key=lambda slot: slot.last_used)
            self._engine.copy(donor.index, best.index, donated)
            shared = donated
        elif self._engine.rewind_limit is not None and len(best.tokens) - shared > self._engine.rewind_limit:
            shared = 0
        self._engine.rewind(best.index, shared)
        self._clock += 1
        best.busy, best.last_used = True, self._clock
        best.tokens = list(prompt[:shared])
        return best.index, shared

    def note(self, index: int, tokens: Sequence[int]) -> None:
        """The slot now holds these tokens (a running answer may be copied from)."""
        self._slots[index].tokens = list(tokens)

    def release(self, index: int, tokens: Sequence[int]) -> None:
        """The answer has ended; the slot keeps these tokens for whoever continues them."""
        slot = self._slots[index]
        slot.busy, slot.tokens = False, list(tokens)

    def make_room(self) -> bool:
        """Empty the free slot that was unused for longest; False when there is nothing left to empty."""
        kept = [slot for slot in self._slots if not slot.busy and slot.tokens]
        if not kept:
            return False
        oldest = min(kept, key=lambda slot: slot.last_used)
        self._engine.rewind(oldest.index, 0)
        oldest.tokens = []
        return True

    @staticmethod
    def _shared(slot: Slot, prompt: Sequence[int], usable: int) -> int:
        n = 0
        for ours, theirs in zip(slot.tokens, prompt[:usable], strict=False):
            if ours != theirs:
                break
            n += 1
        return n
