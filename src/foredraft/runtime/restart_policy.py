"""Restart policy: a model whose process dies too often is not loaded by itself any more, for a while."""

from __future__ import annotations

import time
from collections import deque

from foredraft.core.errors import EngineDiedError
from foredraft.runtime.errors import ModelGivenUpError

DEATHS, WITHIN_S = 3, 300.0
"""So many deaths within so many seconds are too often; and for as long it is not loaded."""


class RestartPolicy:
    """When models, and their drafts, have died. Keys are the models' ids."""

    def __init__(self) -> None:
        self._deaths: dict[str, deque[float]] = {}
        """When each has died, the last few times."""
        self._given_up: dict[str, tuple[float, EngineDiedError]] = {}
        """Since when which are not loaded by themselves, and why."""

    def may_restart(self, key: str) -> bool:
        """Write down that it has died now. False when that was once too often."""
        died = self._deaths.setdefault(key, deque(maxlen=DEATHS))
        died.append(time.monotonic())
        return len(died) < DEATHS or died[-1] - died[0] > WITHIN_S

    def give_up(self, key: str, error: EngineDiedError) -> None:
        """It is not loaded by itself from now on."""
        self._given_up[key] = time.monotonic(), error

    def check(self, key: str, *, on_demand: bool) -> None:
        """Before a load; one by hand may try again. Raises `ModelGivenUpError`."""
        since, error = self._given_up.get(key, (0.0, None))
        left = since + WITHIN_S - time.monotonic()
        if error is not None and on_demand and left > 0:
            raise ModelGivenUpError(key, DEATHS, round(left) + 1, error.reason_or_words)
        self._given_up.pop(key, None)
        if not on_demand:
            self._deaths.pop(key, None)
