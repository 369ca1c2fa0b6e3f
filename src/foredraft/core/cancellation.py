"""Cancellation of long work on another thread: the work asks between its pieces whether anybody still waits for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextvars import ContextVar

from foredraft.core.errors import ForedraftError

_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


class GivenUpError(ForedraftError):
    """Nobody waits for this work any more."""

    code = "given_up"

    def __init__(self) -> None:
        super().__init__("Nobody waits for this any more.")


def still_wanted() -> None:
    """Between two pieces of long work. Raises `GivenUpError` where it was cancelled."""
    given_up = _given_up.get()
    if given_up is not None and given_up.is_set():
        raise GivenUpError


@contextlib.contextmanager
def cancelled_by(given_up: threading.Event) -> Iterator[None]:
    """Inside, `still_wanted` raises once the event is set."""
    token = _given_up.set(given_up)
    try:
        yield
    finally:
        _given_up.reset(token)
