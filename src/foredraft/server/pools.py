"""Work that takes milliseconds or more, off the event loop: each kind on threads of its own, with a queue that ends.

A kind that is slow (downloads, long prompts) can so take only its own threads; and when too much of it waits, the next
is refused at once with 503 and `Retry-After`. Whoever stops waiting gives the work up: what has not begun never does,
and long work asks `still_wanted` between its pieces.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TypeVar

from foredraft.child import Children
from foredraft.core.cancellation import cancelled_by
from foredraft.core.errors import ForedraftError
from foredraft.runtime.errors import RuntimeClosedError
from foredraft.runtime.runtime import QUEUE_LIMIT

T = TypeVar("T")


class BusyError(ForedraftError):
    """Too much work of one kind waits already. `retry_after` is in seconds."""

    code = "busy"

    def __init__(self, kind: str, waiting: int, most: int, retry_after: int) -> None:
        super().__init__(
            f"{waiting} {kind} are waiting already; at most {most} may.", hint=f"Try again in {retry_after} seconds."
        )
        self.waiting = waiting
        self.retry_after = retry_after


class Pool:
    """Threads for one kind of work, and room for so much of it to wait. Used by one event loop."""

    def __init__(self, kind: str, threads: int, waiting: int, *, retry_after: int = 2) -> None:
        self.kind = kind
        self.threads = threads
        self.most_waiting = waiting
        self._retry_after = retry_after
        self._given_up: set[threading.Event] = set()
        """One for each piece of work that runs or waits: set when nobody waits for it any more."""
        self._lock = threading.Lock()
        self._closed = False
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"foredraft-{kind.split()[0]}")

    @property
    def waiting(self) -> int:
        """Pieces of work that have not begun."""
        return max(0, len(self._given_up) - self.threads)

    async def run(self, work: Callable[..., T], *args: object, **more: object) -> T:
        """Do it on one of the threads. Raises what it raises, or `BusyError`."""
        return await self.begin(work, *args, **more)

    def begin(self, work: Callable[..., T], *args: object, **more: object) -> asyncio.Future[T]:
        """Let it be done on one of the threads; await what comes of it. Raises `BusyError`, or
        `RuntimeClosedError` at the end."""
        with self._lock:
            if self._closed:
                raise RuntimeClosedError
            if len(self._given_up) >= self.threads + self.most_waiting:
                raise BusyError(self.kind, self.waiting, self.most_waiting, self._retry_after)
            given_up = threading.Event()
            self._given_up.add(given_up)

        def run() -> T:
            with cancelled_by(given_up):
                return work(*args, **more)

        def ended(_: object) -> None:
            with self._lock:
                self._given_up.discard(given_up)

        future = self._executor.submit(copy_context().run, run)  # warnings are still those of this request
        future.add_done_callback(ended)
        waited = asyncio.wrap_future(future)
        waited.add_done_callback(lambda _: given_up.set())
        return waited

    def close(self) -> None:
        """Nothing that waits begins any more. What runs goes on to the end of its piece."""
        with self._lock:
            self._closed = True
            for given_up in self._given_up:
                given_up.set()
        self._executor.shutdown(wait=False, cancel_futures=True)


READ_S, READ_BYTES = 20.0, 256 << 20
"""What a child may take to read a body: the worst of 16 MB takes two seconds and 190 MB."""


def _readers() -> Children:
    return Children("foredraft.server.pieces:work", seconds=READ_S, n_bytes=READ_BYTES)


def _some() -> int:
    return max(2, min(4, os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Pools:
    """One of each kind. As many requests as a model's queue takes may come at once."""

    bodies: Pool = field(default_factory=lambda: Pool("bodies to read", 2, QUEUE_LIMIT))
    readers: Children = field(default_factory=_readers)
    """Processes that read the large ones."""
    prompts: Pool = field(default_factory=lambda: Pool("prompts to write", _some(), QUEUE_LIMIT))
    grammars: Pool = field(default_factory=lambda: Pool("grammars to compile", 2, 32))
    downloads: Pool = field(default_factory=lambda: Pool("downloads", 2, 16, retry_after=60))

    def close(self) -> None:
        for pool in (self.bodies, self.prompts, self.grammars, self.downloads):
            pool.close()
        self.readers.close()
