"""The model thread: does what it is asked for, in order, and takes a turn with the models in between."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

LONGEST_PAUSE_S = 1.0
"""How often an idle thread takes a turn all the same: models have a time to live."""

logger = logging.getLogger(__name__)
T = TypeVar("T")


class ModelThread:
    """A thread with a queue of jobs. `turn` is called between them; it says whether there is more to do at once."""

    def __init__(self, turn: Callable[[], bool]) -> None:
        self._turn = turn
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="foredraft-models", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def do(self, job: Callable[[], None]) -> None:
        """Run a job on the thread, after those that were asked for before. From any thread; returns at once."""
        self._jobs.put(job)

    def wake(self) -> None:
        """Take a turn now: something may have become possible."""
        self._jobs.put(_nothing)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Do the jobs that were asked for, then end. Waits for it; not from the thread itself."""
        self._jobs.put(_stop)
        self._thread.join()

    def _run(self) -> None:
        working = False
        try:
            while True:
                self._take_jobs(working)
                working = self._turn()
        except _Stop:
            return

    def _take_jobs(self, working: bool) -> None:
        """Everything that was asked for; sleeps only when there is nothing to go on with."""
        with contextlib.suppress(queue.Empty):
            if not working:
                self._do(self._jobs.get(timeout=LONGEST_PAUSE_S))
            while True:
                self._do(self._jobs.get_nowait())

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except _Stop:
            raise
        except Exception:  # a fault of ours must not end the thread that everyone waits for
            logger.exception("A job of the model thread failed")


class _Stop(Exception):
    """A signal to the model thread, not an error."""


def _stop() -> None:
    raise _Stop


def _nothing() -> None:
    """A job that only wakes the thread."""


def resolve(future: Future[T], value: T | None = None, *, error: BaseException | None = None) -> None:
    """Answer a future, unless whoever waited for it has gone."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)  # type: ignore[arg-type]
