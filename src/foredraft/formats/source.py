"""The text of an answer as its reader pulls it: what has not come yet is waited for.

The reader is a generator that yields where it needs more. It decides by what it pulls, never by what happens to be
there, so an answer reads the same however it was cut into pieces.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Sequence
from typing import TypeVar

T = TypeVar("T")
Pull = Generator[None, None, T]
"""A step of the reader: yields where it needs more text."""

CODES = 0x10F000
"""Control tokens stand in the text as one character of this private plane, so that nothing a model spells is taken for
one."""
CODED = re.compile(f"[{chr(CODES)}-{chr(0x10FFFD)}]")
_SPACE = re.compile(r"\s*")


class Source:
    """Text that comes in pieces, and a place in it."""

    def __init__(self) -> None:
        self.text = ""
        self.at = 0
        self.gone = 0
        """Characters that were forgotten."""
        self.ended = False

    def add(self, text: str) -> None:
        """More text. What lies behind the place is kept only while `text` is not added: places taken stay valid."""
        self.text += text

    def forget(self) -> None:
        """Drop what was read. Places taken before are no longer valid."""
        self.gone += self.at
        self.text, self.at = self.text[self.at :], 0

    def rest(self) -> str:
        return self.text[self.at :]

    def take(self, count: int) -> str:
        taken = self.text[self.at : self.at + count]
        self.at += count
        return taken

    def more(self) -> Pull[bool]:
        """Wait for more text; False at the end of the answer."""
        if self.ended:
            return False
        yield
        return True

    def peek(self) -> Pull[str]:
        """The next character; empty at the end of the answer."""
        while self.at >= len(self.text):
            if not (yield from self.more()):
                return ""
        return self.text[self.at]

    def space(self) -> Pull[str]:
        """The white space that comes next, taken."""
        while True:
            found = _SPACE.match(self.text, self.at)
            end = found.end() if found else self.at
            if end < len(self.text) or not (yield from self.more()):
                return self.take(end - self.at)

    def one_of(self, marks: Collection[str], at: int | None = None) -> Pull[str]:
        """Which of the marks comes next (the longest that does), or "". Nothing is taken."""
        place = self.at if at is None else at
        while True:
            ahead = self.text[place:]
            undecided = [mark for mark in marks if len(mark) > len(ahead) and mark.startswith(ahead)]
            if not undecided or not (yield from self.more()):
                return max((mark for mark in marks if mark and ahead.startswith(mark)), key=len, default="")

    def literal(self, text: str) -> Pull[bool]:
        """Take `text`, any white space for each white space in it; False, with nothing taken, where it is not there."""
        begin = self.at
        for number, word in enumerate(re.split(r"\s+", text)):
            if number:
                yield from self.space()
            if word and (yield from self.one_of((word,))) != word:
                self.at = begin
                return False
            self.at += len(word)
        return True

    def matching(self, characters: re.Pattern[str], most: int) -> Pull[str]:
        """The characters that come next and match (a class of them, repeated), taken, at most so many."""
        while True:
            found = characters.match(self.text, self.at, self.at + most)
            end = found.end() if found else self.at
            if end < len(self.text) or end - self.at >= most or not (yield from self.more()):
                return self.take(end - self.at)

    def until(self, marks: Sequence[str]) -> Pull[tuple[str, str]]:
        """(the text in front of the first of the marks, the mark), both taken; (all text, "") where none comes."""
        searched = self.at
        while True:
            at, mark = find_first(self.text, marks, searched, ended=self.ended)
            if mark:
                text = self.text[self.at : at]
                self.at = at + len(mark)
                return text, mark
            if self.ended:
                return self.take(len(self.text) - self.at), ""
            searched = at
            yield


def find_first(text: str, marks: Sequence[str], at: int = 0, *, ended: bool = False) -> tuple[int, str]:
    """(place, mark) of the first mark in a text, the longest of those at one place. Where there is none, or where one
    that may still come begins before it: (where such a one may begin, ""); with `ended` nothing more comes."""
    place, found = len(text), ""
    for mark in marks:
        here = text.find(mark, at)
        if here >= 0 and (here < place or (here == place and len(mark) > len(found))):
            place, found = here, mark
    if not ended:
        longest = max((len(mark) for mark in marks), default=1) - 1
        for begin in range(max(at, len(text) - longest), min(len(text), place + 1)):
            tail = text[begin:]
            if any(len(mark) > len(tail) and mark.startswith(tail) for mark in marks):
                return begin, ""
    return place, found
