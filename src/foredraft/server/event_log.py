"""The server's log: the last entries in memory, for everyone who follows. Prompts and answers are not in it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from foredraft.runtime.condition import CrossLoopCondition

KEPT = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. `at` is Unix time in seconds."""

    number: int
    at: float
    kind: str
    """request, answer, model, server …"""
    message: str
    fields: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"number": self.number, "at": self.at, "kind": self.kind, "message": self.message, **self.fields}


class EventLog:
    """Written from any thread, followed from any event loop."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[Entry] = deque(maxlen=kept)
        self._count = 0
        self._closed = False
        self.listeners: list[Callable[[Entry], None]] = []
        """Called with every entry, on the thread that writes it."""
        self._condition = CrossLoopCondition()

    def write(self, kind: str, message: str, **fields: Any) -> None:
        self._count += 1
        entry = Entry(self._count, time.time(), kind, message, fields)
        self._entries.append(entry)
        for listener in self.listeners:
            listener(entry)
        self._condition.notify()

    def recent(self, count: int = 100) -> list[Entry]:
        return list(self._entries)[-count:]

    @property
    def last(self) -> int:
        """The number of the last entry."""
        return self._count

    def close(self) -> None:
        """Nothing more will come: whoever follows is let go."""
        self._closed = True
        self._condition.notify()

    async def follow(self, after: int = 0) -> AsyncIterator[Entry]:
        """Entries later than number `after`, until the end; those that left memory unread are skipped."""
        while not self._closed:
            for entry in list(self._entries):
                if entry.number > after:
                    after = entry.number
                    yield entry
            await self._condition.wait_for(partial(self._has_more, after))

    def _has_more(self, after: int) -> bool:
        return self._count > after or self._closed
