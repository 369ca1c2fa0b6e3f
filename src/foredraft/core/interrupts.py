"""Calls into a library that calls back: Ctrl-C must reach the program, not the callback.

Python raises KeyboardInterrupt on the main thread, at the next line of Python it runs. While C code works, that is a
line of the callback, and `ctypes` drops what a callback raises: the interrupt is lost. So such calls are made on a
thread of their own, and the main thread waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def interruptible(work: Callable[[], T], *, stop: Callable[[], None], undo: Callable[[T], None]) -> T:
    """What `work` returns. An interrupt of the main thread calls `stop`, which should make `work` return soon, waits
    for that, hands what it returned to `undo`, and comes out here. On other threads, which no signal reaches, `work` is
    simply called."""
    if threading.current_thread() is not threading.main_thread():
        return work()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            result.set_exception(error)

    thread = threading.Thread(target=run, name="foredraft-library")
    thread.start()
    try:
        thread.join()
    except BaseException:
        stop()
        thread.join()
        if result.exception() is None:
            undo(result.result())
        raise
    return result.result()
