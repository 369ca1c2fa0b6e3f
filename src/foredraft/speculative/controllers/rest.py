"""Thinking has a price too: where a plain step takes a millisecond, deciding not to guess costs a tenth of it.

So rounds pass unlooked at, so many of them that the thinking stays below a hundredth of the time. Where a plain step
takes 20 ms that is none. A new answer is always looked at, rests begin short after a guess, so that a pause between two
good stretches is not slept through, and they end where a probe is due.
"""

from __future__ import annotations

SHARE = 0.01
"""Share of the time that deciding not to guess may take."""
LONGEST = 32
"""Most rounds of one rest, so that a text that begins to repeat itself is not missed for long."""
_MEMORY = 0.2


class Rest:
    """When to look at a round at all."""

    __slots__ = ("_left", "_quiet", "_thinking")

    def __init__(self) -> None:
        self._thinking = 0.0
        """What deciding not to guess costs, in plain steps."""
        self._quiet = 0
        self._left = 0

    def sleeps(self) -> bool:
        """Asked once a round: whether this one passes unlooked at."""
        if not self._left:
            return False
        self._left -= 1
        return True

    def wake(self) -> None:
        """Something new has come: look at the next round."""
        self._left = 0

    def guessed(self) -> None:
        """A round with a guess for the target to read."""
        self._quiet = 0

    def quiet(self, thinking: float, due: int = LONGEST) -> None:
        """A round that was looked at and left plain; deciding so took `thinking` plain steps. In `due` rounds something
        is to be decided, and will not be slept through."""
        self._thinking += _MEMORY * (min(thinking, 1.0) - self._thinking)
        self._quiet += 1
        self._left = min(LONGEST, due - 1, self._quiet * self._quiet, int(self._thinking / SHARE))
