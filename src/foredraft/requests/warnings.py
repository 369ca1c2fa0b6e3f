"""Warnings of a request: what of it was left out or understood otherwise, a sentence each.

They are one list for as long as the request lasts: whoever begins it collects them (`noting`), a `GenerationRequest`
has the same list, and the answer repeats it. A warning begins with the field's name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

MOST = 20
"""Warnings of one request; more are counted out."""
LONGEST = 200
"""Characters of one warning."""

_noted: ContextVar[list[str] | None] = ContextVar("noted", default=None)


@contextlib.contextmanager
def noting() -> Iterator[list[str]]:
    """Collect the warnings of one request."""
    said: list[str] = []
    token = _noted.set(said)
    try:
        yield said
    finally:
        _noted.reset(token)


def noted() -> list[str]:
    """The warnings of the request that is being served; a list of their own elsewhere."""
    said = _noted.get()
    return [] if said is None else said


def note(sentence: str, said: list[str] | None = None) -> None:
    """Add a warning, once: to `said`, or to those of the request that is being served."""
    said = noted() if said is None else said
    sentence = sentence if len(sentence) <= LONGEST else sentence[: LONGEST - 1] + "…"
    sentence = sentence.encode("utf-8", "replace").decode()  # half of a pair of surrogates is no letter
    if sentence not in said and len(said) < MOST:
        said.append(sentence)
