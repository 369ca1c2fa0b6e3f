"""Where in an answer's tokens its thinking and its content stand: for those who show each token in its own colour."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.source import CODED
from foredraft.scheduling.stream import Piece


@dataclass(frozen=True, slots=True)
class Placed:
    """A token, or the part of one that is of one kind."""

    piece: Piece
    seen: str
    """What of its text is part of the thinking or the content; marks are of neither."""
    thinking: bool


@dataclass(slots=True)
class _Waiting:
    piece: Piece
    begin: int
    """Its place in the answer's source, in characters."""


@dataclass(slots=True)
class _Said:
    begin: int
    end: int
    thinking: bool
    added: str = ""
    """Said in this place without being there."""


class TokenParser(ResponseParser):
    """An `ResponseParser` that gives each token back, as soon as it is sure what its text is. The tokens of an answer
    without thinking and marks come back as they are."""

    def __init__(self, *how: Any, **more: Any) -> None:
        self.turned = False
        """What was given out as content has turned out to be thinking: its end came without its beginning."""
        self._waiting: deque[_Waiting] = deque()
        self._said_at: deque[_Said] = deque()
        self._sure = 0
        self._last = False
        super().__init__(*how, **more)

    def place(self, pieces: Iterable[Piece]) -> list[Placed]:
        """Read more pieces: those that are sure now, in order."""
        for piece in pieces:
            self._waiting.append(_Waiting(piece, self._source.gone + len(self._source.text)))
            self.read([piece])
        return self._placed(self._sure)

    def rest(self) -> list[Placed]:
        """The pieces that were still waiting, at the end of the answer."""
        self.end()
        return self._placed(self._source.gone + len(self._source.text))

    def _placed(self, sure: int) -> list[Placed]:
        made: list[Placed] = []
        while self._waiting and self._waiting[0].begin + len(self._waiting[0].piece.text) <= sure:
            waiting = self._waiting.popleft()
            made += self._parts(waiting.piece, waiting.begin)
        return made

    def _parts(self, piece: Piece, begin: int) -> list[Placed]:
        """A piece by what was said of it; one part for each change between thinking and content."""
        end = begin + len(piece.text)
        while self._said_at and self._said_at[0].end <= begin:
            self._last = self._said_at.popleft().thinking
        cuts: list[tuple[int, str, bool]] = []
        for said in self._said_at:
            if said.begin >= max(end, begin + 1):
                break
            if said.added:
                text = said.added if piece.text or piece.control else ""
            else:
                text = piece.text[max(said.begin - begin, 0) : max(said.end - begin, 0)]
            if cuts and cuts[-1][2] == said.thinking:
                cuts[-1] = (cuts[-1][0], cuts[-1][1] + text, said.thinking)
            elif text:
                cuts.append((max(said.begin - begin, 0), text, said.thinking))
        if not cuts:
            return [Placed(piece, "", self._last)]
        if len(cuts) == 1:
            return [Placed(piece, cuts[0][1], cuts[0][2])]
        ends = [*(cut[0] for cut in cuts[1:]), len(piece.text)]
        made, place = [], 0
        for number, ((_, seen, thinking), until) in enumerate(zip(cuts, ends, strict=True)):
            control = piece.control if number == len(cuts) - 1 else ""
            part = dataclasses.replace(piece, text=piece.text[place:until], control=control)
            made.append(Placed(part, seen, thinking))
            place = until
        return made

    # ---- what the reader says ----

    def _think(self, text: str) -> None:
        before = len(self.reasoning)
        super()._think(text)
        self._note(text, len(self.reasoning) - before, thinking=True)

    def _write(self, text: str) -> None:
        before = len(self.content)
        super()._write(text)
        self._note(text, len(self.content) - before, thinking=False)

    def _was_thinking(self) -> None:
        super()._was_thinking()
        self.turned = self._last = True
        for said in self._said_at:
            said.thinking = True

    def _note(self, text: str, count: int, *, thinking: bool) -> None:
        """The last `count` characters of a text that has just been taken from the source were said."""
        if not count:
            return
        source = self._source
        self._sure = end = source.gone + source.at
        if not source.text.endswith(text, 0, source.at):  # a line between two messages
            self._said_at.append(_Said(end - 1, end, thinking, text))
            return
        left_out = len(CODED.sub("", text)) - count
        begin = end - len(text)
        for character in text:
            if not left_out:
                break
            left_out -= not CODED.match(character)
            begin += 1
        self._said_at.append(_Said(begin, end, thinking))
