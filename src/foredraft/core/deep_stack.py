"""Work that recurses deeply, on a thread whose stack suits it.

C++ and Rust code that recurses once a character or once a rule ends the process where its stack ends. Memory of a stack
is only taken when it is touched, so a deep one costs what is used of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason

T = TypeVar("T")

_stack_size_lock = threading.Lock()
"""The size of new stacks is one setting for the whole process."""


def on_deep_stack(n_bytes: int, work: Callable[[], T]) -> T:
    """Run `work` on a thread of its own with a stack of at least `n_bytes`; what it raises is raised here.

    Raises `ForedraftError` where the system gives no such stack.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            result.set_exception(error)

    with _stack_size_lock:
        before = threading.stack_size(-(-n_bytes // 2**20) * 2**20)
        try:
            thread = threading.Thread(target=run, name="foredraft-deep")
            thread.start()
        except RuntimeError as error:
            raise ForedraftError(Reason("no_stack", {"size": n_bytes}), hint=Reason("hint_no_stack")) from error
        finally:
            threading.stack_size(before)
    thread.join()
    return result.result()
