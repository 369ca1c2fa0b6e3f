"""How far back a loaded model can go in a text that it has read."""

from __future__ import annotations

from dataclasses import dataclass

CARRIED = 8
"""Tokens that a slot may owe and still have guesses read: they cost their width in every pass until a fork is moved."""


@dataclass(frozen=True, slots=True)
class Rewind:
    """How far back a slot can go: `FREE`, `rollback(n)`, `FORK` or `NONE`.

    A KV cache is cut anywhere. A recurrent state is one sum over the whole text; what was there before it is gone
    unless it was kept, in one of two ways, both for what a chunk calls its `guesses`:

    - *rollback*: the library keeps the states of the last n tokens of each pass. They can be taken back right behind
      that pass, and once;
    - *fork*: the engine keeps the state before the first guess, as a sequence of its own, goes on from there, and reads
      the guesses that stood together with the next chunk (`Engine.owed`).
    """

    way: str
    limit: int | None = None
    """Most guesses in one pass; None is any number."""

    @property
    def free(self) -> bool:
        """Any number of tokens, at any time."""
        return self.way == "free"

    def guesses(self, owed: int) -> int | None:
        """Most guesses of a round for a slot that owes so many tokens (`Engine.owed`); None is any number. Where that
        has grown long, a round without guesses moves the fork on: it costs a pass that brings a token."""
        return 0 if owed >= CARRIED else self.limit

    @property
    def possible(self) -> bool:
        """Whether guesses can be taken back at all."""
        return self.limit != 0


FREE, FORK, NONE = Rewind("free"), Rewind("fork"), Rewind("none", 0)


def rollback(n: int) -> Rewind:
    """The last pass only, once, and at most `n` tokens of it."""
    return Rewind("rollback", n) if n else NONE
