"""Time saved by guessing in one answer, with its error."""

from __future__ import annotations

import math


class TimeSaved:
    """The sum of time saved against plain decoding, in seconds; negative where it was lost."""

    __slots__ = ("_variance", "seconds")

    def __init__(self) -> None:
        self.seconds = self._variance = 0.0

    def add(self, saved_s: float, error_s: float = 0.0) -> None:
        """One round's share; `error_s`: its standard error."""
        self.seconds += saved_s
        self._variance += error_s * error_s

    def error(self, plain_error: float) -> float:
        """Standard error in seconds, with the plain step's time known up to `plain_error` of itself."""
        return math.hypot(math.sqrt(self._variance), plain_error * self.seconds)
