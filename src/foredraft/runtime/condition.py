"""A condition variable that coroutines of several event loops wait on and any thread notifies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    event: asyncio.Event
    ready: Callable[[], bool]


class CrossLoopCondition:
    """Condition variable across event loops: any thread notifies, and coroutines whose predicate holds wake."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()

    def notify(self) -> None:
        if not self._waiters:
            return
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            if not waiter.ready():
                continue
            try:
                waiter.loop.call_soon_threadsafe(waiter.event.set)
            except RuntimeError:  # its loop has been closed; nobody waits there any more
                with self._lock:
                    self._waiters.discard(waiter)

    async def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready()` is true. It is asked again at every `notify`, on the notifying thread: keep it small."""
        if ready():
            return
        waiter = _Waiter(asyncio.get_running_loop(), asyncio.Event(), ready)
        with self._lock:
            self._waiters.add(waiter)
        try:
            while not ready():
                await waiter.event.wait()
                waiter.event.clear()
        finally:
            with self._lock:
                self._waiters.discard(waiter)
