"""An answer, taken apart as it comes: thinking, content, tool calls.

Nothing is repeated and nothing is taken back: what could be the beginning of a mark waits until it is sure. Nothing
depends on how the text was cut (`formats/source.py`). How a family marks things is in the table (`formats/table.py`);
control tokens, which are no part of the text, are read where the table knows them.
"""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from foredraft.formats.calls import CallReader
from foredraft.formats.deltas import CallArguments as CallArguments
from foredraft.formats.deltas import CallStarted as CallStarted
from foredraft.formats.deltas import Content as Content
from foredraft.formats.deltas import Delta as Delta
from foredraft.formats.deltas import Reasoning as Reasoning
from foredraft.formats.deltas import ToolCall as ToolCall
from foredraft.formats.deltas import merged
from foredraft.formats.entries import Form
from foredraft.formats.parameters import NAME
from foredraft.formats.source import CODED, Pull, Source, find_first
from foredraft.formats.table import UNKNOWN
from foredraft.scheduling.stream import Piece

_LONGEST_NAME = 64


class ResponseParser:
    """Reads one answer, written as `form` says. `thinking`: the prompt has opened the thinking already. `begun`: the
    prompt has begun the content already. `tools`: those that may be called (OpenAI's form), where they are known."""

    def __init__(
        self,
        thinking: bool = False,
        tool_format: Form | None = None,
        *,
        begun: bool = False,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.reasoning = ""
        self.content = ""
        self.calls: list[ToolCall] = []
        self.reasoning_tokens = 0
        """Tokens read while it was thinking."""
        self.is_thinking = thinking
        self._form = form = tool_format or UNKNOWN
        self._codes = {name: code for name, code, _ in form.codes}
        self._texts = () if form.codes else tuple(form.texts())
        self._begun = begun
        self._written = begun
        self._lead = "" if begun else form.lead
        self._behind = False
        """Whether thinking has ended: space behind it is no part of the content."""
        self._fresh = not begun
        """Whether thinking, or a call without a mark, may begin here."""
        self._tokens = 0
        self._deltas: list[Delta] = []
        self._source = Source()
        functions = [tool.get("function", tool) for tool in tools]
        self._tools: dict[str, Any] = {function["name"]: function.get("parameters") for function in functions}
        self._call_reader = CallReader(self._source, self, self._tools)
        self._marks()
        self._reading: Pull[None] | None = self._read()
        next(self._reading)

    def _marks(self) -> None:
        """What is looked for where something may begin, in thinking and in content."""
        form, header = self._form, self._form.header
        by_header = header is not None and bool(header.call)
        self._opens = [] if by_header else [calls for calls in form.calls if calls.open]
        self._bare = [] if by_header else [calls for calls in form.calls if not calls.open]
        if self._tools:
            self._bare += form.loose
        opens = [mark for calls in self._opens for mark in (calls.open.strip(), calls.lead) if mark]
        ends = [*(header.ends if header is not None else ()), *form.silent]
        starts = [header.start] if header is not None else []
        self._thinking_marks = {kind.open.rstrip(): kind for kind in form.thinking}
        self._closes = [kind.close for kind in form.thinking]
        self._anywhere = [*opens, *ends, *starts, *(m for m in self._thinking_marks if m and CODED.match(m))]
        self._at_start = [*self._anywhere, *self._thinking_marks, *(header.begins if header is not None else ())]

    def read(self, pieces: Iterable[Piece]) -> list[Delta]:
        """What is sure after some more pieces of the answer."""
        for piece in pieces:
            self.reasoning_tokens += self.is_thinking
            self._tokens += 1
            self._add(piece.text, piece.control)
        return self._said()

    def feed(self, text: str) -> list[Delta]:
        """What is sure after some more text, where there are no tokens."""
        self._add(text, "")
        return self._said()

    def end(self) -> list[Delta]:
        """What was still waiting, at the end of the answer."""
        self._source.ended = True
        self._go()
        return self._said()

    def _said(self) -> list[Delta]:
        said, self._deltas = merged(self._deltas), []
        return said

    def _add(self, text: str, control: str) -> None:
        text = CODED.sub("\ufffd", text)
        if control:
            text += self._codes.get(control) or (control if any(control in mark for mark in self._texts) else "")
        if text:
            self._source.add(text)
            self._go()

    def _go(self) -> None:
        if self._reading is not None:
            try:
                next(self._reading)
            except StopIteration:
                self._reading = None

    # ---- the reading ----

    def _read(self) -> Pull[None]:
        if self.is_thinking:
            yield from self._thoughts(self._closes)
        elif self._fresh and self._form.header is not None and self._form.header.named:
            self._fresh = not (yield from self._named_header())
        while (yield from self._source.peek()):
            self._source.forget()
            if self._fresh:
                yield from self._beginning()
            else:
                yield from self._text()

    def _beginning(self) -> Pull[None]:
        """Where thinking or calls may begin."""
        source, place = self._source, self._source.at
        yield from source.space()
        mark = yield from source.one_of(self._at_start)
        if mark:
            source.take(len(mark))
            if (yield from self._marked(mark)):
                return
        elif self._bare and (yield from source.peek()) in ("{", "[", "`"):
            for calls in self._bare:
                if (yield from self._call_reader.row(calls)):
                    return
        source.at = place
        if mark:
            self._write(source.take(source.text.index(mark, place) - place + len(mark)))
        self._fresh = False

    def _marked(self, mark: str) -> Pull[bool]:
        """What follows a mark; False where it does not mean what it seemed to, with nothing taken behind it."""
        header, source = self._form.header, self._source
        if header is not None and mark in (header.start, *header.begins):
            return (yield from self._headed(mark))
        if mark in self._thinking_marks and (self._fresh or CODED.match(mark)):
            yield from self._thoughts([self._thinking_marks[mark].close])
            return True
        for calls in self._opens:
            if calls.open.strip() == mark and (yield from self._call_reader.row(calls)):
                self._fresh = True
                return True
        for calls in self._opens:
            if calls.lead == mark:
                source.at -= len(mark)
                if (yield from self._call_reader.row(calls, opened=False)):
                    self._fresh = True
                    return True
                source.at += len(mark)
        silent = mark in self._form.silent or (header is not None and mark in header.ends)
        self._fresh = self._fresh or silent
        return silent

    def _thoughts(self, closes: Sequence[str]) -> Pull[None]:
        """Thinking, up to one of the marks that close it, or to a message's end."""
        source, header = self._source, self._form.header
        marks = [*closes, *((*header.ends, header.start) if header is not None and not header.named else ())]
        self.is_thinking = True
        while True:
            text = source.rest()
            at, mark = find_first(text, marks, ended=source.ended)
            sure = text[:at]
            if mark or not source.ended:
                sure = sure.rstrip()
            self._think(source.take(len(sure)))
            if mark:
                source.take(at - len(sure) + len(mark))
                self.is_thinking = False
                self._fresh = self._behind = True
                if header is not None and mark == header.start:
                    yield from self._headed(mark)
                return
            source.forget()
            if not (yield from source.more()):
                return

    def _text(self) -> Pull[None]:
        """Content, up to a mark."""
        source = self._source
        while True:
            late = self._closes if self._may_be_late() else []
            text = source.rest()
            at, mark = find_first(text, [*self._anywhere, *late], ended=source.ended)
            sure = text[:at]
            if mark or not source.ended:
                sure = sure.rstrip()
            self._write(source.take(len(sure)))
            if mark:
                space = source.take(at - len(sure))
                source.take(len(mark))
                if mark in late and mark not in self._anywhere:
                    self._was_thinking()
                    return
                if (yield from self._marked(mark)):
                    return
                self._write(space + mark)
                source.forget()
                continue
            source.forget()
            if not (yield from source.more()):
                return

    def _may_be_late(self) -> bool:
        return self._form.late and not (self.reasoning or self.calls or self._begun)

    def _was_thinking(self) -> None:
        """The end of thinking came without its beginning. What was passed on is not taken back, but was thought."""
        self.reasoning, self.content = self.content.rstrip(), ""
        self.reasoning_tokens = self._tokens
        self._written, self._fresh, self._behind = False, True, True

    # ---- messages with headers ----

    def _headed(self, mark: str) -> Pull[bool]:
        """A header, and what it says of the message. `mark` was its beginning."""
        source, header = self._source, self._form.header
        assert header is not None
        if header.named:
            return (yield from self._named_header())
        place = source.at
        head, found = yield from source.until((header.message, header.start))
        while found == header.start:
            head, found = yield from source.until((header.message, header.start))
        if not found and mark != header.start:
            source.at = place
            return False
        if not found:  # the answer ends in a header
            return True
        head = mark + head if mark != header.start else head
        called = re.search(header.call, head) if header.call and self._form.calls else None
        if called is not None:
            yield from self._called(called[1])
        elif header.thinking and re.search(header.thinking, head):
            yield from self._thoughts([])
        else:
            if self.content:
                self._write("\n")
            self._fresh = not header.call
        return True

    def _named_header(self) -> Pull[bool]:
        """A header that is a name on a line; nothing is taken where it is not."""
        source, header, place = self._source, self._form.header, self._source.at
        assert header is not None
        name = yield from source.matching(NAME, _LONGEST_NAME)
        if name and (yield from source.one_of((header.message,))):
            called = re.search(header.call, name)
            known = called is not None and self._form.calls and (not self._tools or name in self._tools)
            if known or name == header.named:
                source.take(len(header.message))
                self._fresh = False
                if called is not None:
                    yield from self._called(name)
                return True
        source.at = place
        return False

    def _called(self, name: str) -> Pull[None]:
        """A message that is a call: its arguments, in JSON or as they stand."""
        source, header = self._source, self._form.header
        assert header is not None
        marks = (*header.ends, header.start)
        yield from source.space()
        following = yield from source.peek()
        self.start("", name)
        if following == "{":
            yield from self._call_reader.stream_json()
        else:
            place = source.at
            text, mark = yield from source.until(marks)
            source.at = place + len(text)
            if text.strip() or mark:
                self.argue(text.strip() or "{}")
        text, mark = yield from source.until(marks)
        if mark == header.start:
            source.at -= len(mark)
        self._fresh = True

    # ---- what was read ----

    def _think(self, text: str) -> None:
        text = CODED.sub("", text)
        if not self.reasoning:
            text = text.lstrip("\n")
        if text:
            self.reasoning += text
            self._deltas.append(Reasoning(text))

    def _write(self, text: str) -> None:
        text = CODED.sub("", text)
        if not self._written:
            text = text.lstrip() if self._behind or self.calls else text.removeprefix(self._lead)
        if self.calls and not text.strip():
            return
        if text:
            self._written = True
            self.content += text
            self._deltas.append(Content(text))

    def start(self, call_id: str, name: str) -> None:
        """A call has begun (`CallReader` says so)."""
        name = CODED.sub("", name)
        call = ToolCall(call_id or new_id(self._form.ids, name, len(self.calls)), name)
        self.calls.append(call)
        self._deltas.append(CallStarted(len(self.calls) - 1, call.id, name))

    def argue(self, text: str) -> None:
        """More of the last call's arguments."""
        text = CODED.sub("", text)
        if text:
            self.calls[-1].arguments += text
            self._deltas.append(CallArguments(len(self.calls) - 1, text))


def new_id(kind: str, name: str, number: int) -> str:
    """An id for a call, as the family's template accepts it."""
    if kind == "nine":
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))
    if kind == "functions":
        return f"functions.{name}:{number}"
    return f"call_{secrets.token_hex(12)}"
