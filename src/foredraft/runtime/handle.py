"""Handle of a submitted request: follow its events, leave and follow again, cancel.

The events of an answer are a list that only grows. A reader is a position in it, so any number of readers can follow,
a page can be reloaded, and a slow reader costs nothing: memory is bounded by the answer, and that by the context.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from functools import partial

from foredraft.core.errors import ForedraftError
from foredraft.core.params import Request
from foredraft.core.stats import GenerationStats
from foredraft.runtime.condition import CrossLoopCondition
from foredraft.runtime.events import Event, Failed, Finished, NewPieces
from foredraft.scheduling.request import Generation, ScheduledRequest
from foredraft.scheduling.stream import Piece

NOTIFY_EVERY_S = 0.004
"""Readers are woken this often at most. A model that is faster would spend its time on waking them."""


class RequestHandle:
    """The handle of a submitted request. Every method may be called from any thread or loop.

    `events()` gives everything from the beginning (or from `start`) and then what comes; `result()` waits for the end.
    Nobody has to listen: the answer is written all the same.
    """

    def __init__(self, answer_id: str, model_id: str, request: Request) -> None:
        self.id = answer_id
        self.model_id = model_id
        self.request = request
        self.created = time.time()
        self.answer: ScheduledRequest | None = None
        """The scheduler's side, once it has been accepted."""
        self.log: list[Event] = []
        self.pieces: list[Piece] = []
        """Every piece so far."""
        self.cancelled = False
        self.done = False
        self._condition = CrossLoopCondition()
        self._notified = 0.0

    # ---- following ----

    async def events(self, start: int = 0) -> AsyncIterator[Event]:
        """Every event from number `start` on, to the last (`Finished` or `Failed`). Leaving early cancels nothing."""
        at = start
        while True:
            while at < len(self.log):
                event = self.log[at]
                at += 1
                yield event
                if isinstance(event, (Finished, Failed)):
                    return
            if self.done and at >= len(self.log):
                return
            await self._condition.wait_for(partial(self._has_more, at))

    def _has_more(self, at: int) -> bool:
        return len(self.log) > at or self.done

    async def accepted(self) -> None:
        """Wait until the scheduler has taken the request. Raises what was wrong with it (too long, queue full …)."""
        await self._condition.wait_for(lambda: self.answer is not None or self.done)
        if self.answer is None and isinstance(self.log[-1], Failed):
            raise self.log[-1].error

    async def result(self) -> Generation:
        """Wait for the end. Raises the error that ended it."""
        await self._condition.wait_for(lambda: self.done)
        last = self.log[-1]
        if isinstance(last, Failed):
            raise last.error
        assert isinstance(last, Finished)
        return last.generation

    # ---- what is known now ----

    @property
    def text(self) -> str:
        """What has been written so far."""
        return self.answer.text if self.answer is not None else ""

    @property
    def stats(self) -> GenerationStats:
        """Counted while it is being written; read it, do not change it."""
        return self.answer.stats if self.answer is not None else GenerationStats()

    # ---- acting ----

    def cancel(self) -> None:
        """End it with what it has, at the next round, or in the middle of a pass that is made for nobody else. Does
        nothing when it has ended."""
        self.cancelled = True
        if self.answer is not None:
            self.answer.cancel()

    # ---- for the thread that writes it ----

    def put(self, *events: Event) -> None:
        if self.done:  # nothing comes behind the end
            return
        for event in events:
            if isinstance(event, NewPieces):
                self.pieces.extend(event.pieces)
            self.log.append(event)
            if isinstance(event, (Finished, Failed)):
                self.done = True
        now = time.monotonic()
        if self.done or now - self._notified >= NOTIFY_EVERY_S:
            self._notified = now
            self._condition.notify()

    def accept(self, answer: ScheduledRequest) -> None:
        answer.cancelled = self.cancelled
        self.answer = answer
        answer.cancelled = self.cancelled  # set in between by another thread: never lost
        self._condition.notify()

    def fail(self, error: ForedraftError) -> None:
        if not self.done:
            self.put(Failed(error))
