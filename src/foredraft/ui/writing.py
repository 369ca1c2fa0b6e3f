"""One answer as it is being written for the app."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from foredraft.chats.records import Token
from foredraft.formats.token_parser import Placed, TokenParser
from foredraft.runtime.condition import CrossLoopCondition
from foredraft.runtime.handle import RequestHandle
from foredraft.scheduling.stream import Piece
from foredraft.ui.tokens import placed_anew, token_of, turned


@dataclass(eq=False, slots=True)
class Writing:
    """One answer on its way: its tokens so far, and who writes it."""

    message_id: int
    chat_id: str
    running: RequestHandle | None = None
    tokens: list[Token] = field(default_factory=list)
    """Those of which is sure whether they are thinking, content or marks: all but the very last ones. Behind them, of
    an answer that is being continued, those that were there before and have not been read anew yet."""
    sure: int = 0
    reader: TokenParser = field(default_factory=TokenParser)
    read: int = 0
    """Tokens that the model has written, without those that were there before."""
    again: int = 0
    """Grows when what was sent to the pages reads otherwise now (content has turned out to be thinking, say): they
    begin anew."""
    kept: int = 0
    """Tokens that were there before (the answer is being continued)."""
    schema: str | None = None
    """The JSON schema that the answer follows, as it was typed; None for free text."""
    prompt: tuple[int, int] = (0, 0)
    done: bool = False
    condition: CrossLoopCondition = field(default_factory=CrossLoopCondition)
    timeline: list[tuple[float, int]] = field(default_factory=list)
    """(seconds since the first token, tokens), for the speed chart."""
    events: list[tuple[float, str, dict[str, Any] | None]] = field(default_factory=list)
    """(seconds, status, reason) whenever the draft's status changed."""
    task: asyncio.Task[None] | None = None
    stopped: bool = False

    def begin(self, reader: TokenParser, placed: Sequence[Placed]) -> None:
        """The reader of the answer, which has read what there is of it already, and what it said of that."""
        self.reader = reader
        self._add(placed)

    def take(self, pieces: Sequence[Piece], *, last: bool = False) -> None:
        """More of the answer; `last`: and nothing after it."""
        placed = self.reader.place(pieces)
        if last:
            placed += self.reader.rest()
        self.read += len(pieces)
        self._add(placed)

    def _add(self, placed: Sequence[Placed]) -> None:
        if self.reader.turned:
            self.reader.turned = False
            self.tokens[: self.sure] = turned(self.tokens[: self.sure])
            self.again += 1
        numbers = [-1 - one.piece.token for one in placed if one.piece.token < 0]
        if numbers:  # the end of what was kept may read otherwise now: half a mark was text
            before = self.tokens[self.sure : self.sure + len(set(numbers))]
            first = numbers[0]
            after = [placed_anew(before[n - first], one) for n, one in zip(numbers, placed, strict=False)]
            self.again += after != before
            self.tokens[self.sure : self.sure + len(before)] = after
            self.sure += len(after)
        fresh = [token_of(one) for one in placed[len(numbers) :]]
        self.tokens += fresh
        self.sure += len(fresh)
