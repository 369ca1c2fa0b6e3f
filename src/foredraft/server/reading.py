"""The text of an answer, taken apart as it comes: thinking, content, tool calls.

Nothing is repeated and nothing is taken back: what could be the beginning of a tag waits until it is sure.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from foredraft.scheduling.stream import Piece
from foredraft.server.tools import LISTED, TAGGED, ToolFormat

THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\S)')
_LONGEST_HEAD = 400
"""Characters after which something that does not look like a call is taken for text."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Content:
    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A tool call has begun; its arguments follow as text, in order."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    index: int
    text: str


Delta = Reasoning | Content | CallStarted | CallArguments


@dataclass(slots=True)
class ToolCall:
    """A tool call as read so far; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


@dataclass(slots=True)
class AnswerReader:
    """Reads one answer. `thinking`: the prompt has opened the thinking already."""

    thinking: bool = False
    tools: ToolFormat | None = None
    """None: no tools were given, and nothing is taken for a call."""
    reasoning: str = ""
    content: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    reasoning_tokens: int = 0
    """Tokens read while it was thinking."""
    _buffer: str = ""
    _state: str = "content"
    _began: bool = False
    """Whether the content has begun: spaces before it are dropped."""
    _scan: _JsonScan | None = None

    def __post_init__(self) -> None:
        self._state = "thinking" if self.thinking else "start"

    @property
    def is_thinking(self) -> bool:
        return self._state == "thinking"

    def read(self, pieces: Iterable[Piece]) -> list[Delta]:
        """What is sure after some more pieces of the answer."""
        deltas: list[Delta] = []
        for piece in pieces:
            self.reasoning_tokens += self.is_thinking
            deltas += self.feed(piece.text)
        return _merged(deltas)

    def feed(self, text: str) -> list[Delta]:
        """What is sure after some more text."""
        self._buffer += text
        deltas: list[Delta] = []
        while self._advance(deltas):
            pass
        return _merged(deltas)

    def end(self) -> list[Delta]:
        """What was still waiting, at the end of the answer."""
        deltas: list[Delta] = []
        if self._state == "thinking":
            self._think(self._buffer, deltas)
        elif self._state in ("call", "arguments", "after"):
            if self._state == "call" and self._buffer.strip():
                self._write(_tag(self.tools) + self._buffer, deltas)
        else:
            self._write(self._buffer, deltas)
        self._buffer = ""
        return _merged(deltas)

    # ---- one step of the machine: True when it should be asked again ----

    def _advance(self, deltas: list[Delta]) -> bool:
        return bool(getattr(self, f"_in_{self._state}")(deltas))

    def _in_start(self, deltas: list[Delta]) -> bool:
        """Nothing has been written: thinking, or a call without a tag, may begin here."""
        text = self._buffer.lstrip()
        if not text:
            return False
        if THINK.startswith(text[: len(THINK)]):
            if len(text) < len(THINK):
                return False
            self._buffer, self._state = text[len(THINK) :], "thinking"
            return True
        if self.tools is not None and self.tools is not TAGGED:
            for mark in ("[TOOL_CALLS]", "<|python_tag|>"):
                if mark.startswith(text[: len(mark)]) and text[0] != "[":
                    if len(text) < len(mark):
                        return False
                    text = text[len(mark) :].lstrip()
            if text.startswith("[TOOL_CALLS]"):
                text = text[len("[TOOL_CALLS]") :].lstrip()
            if not text or (self.tools is LISTED and text == "["):
                self._buffer = text
                return False
            if text.startswith(("{", "[{", "[ {")):
                self._buffer, self._state = text.lstrip("[ "), "call"
                return True
        self._state = "content"
        return True

    def _in_thinking(self, deltas: list[Delta]) -> bool:
        at = self._buffer.find(END_THINK)
        if at >= 0:
            self._think(self._buffer[:at].rstrip(), deltas)
            self._buffer, self._state = self._buffer[at + len(END_THINK) :], "content"
            if self.tools is not None and self.tools is not TAGGED:
                self._state = "start"
            return True
        sure = len(self._buffer) - max(_beginning_of(END_THINK, self._buffer), _spaces_at_end(self._buffer))
        self._think(self._buffer[:sure], deltas)
        self._buffer = self._buffer[sure:]
        return False

    def _in_content(self, deltas: list[Delta]) -> bool:
        if self.tools is TAGGED:
            at = self._buffer.find(CALL)
            if at >= 0:
                self._write(self._buffer[:at].rstrip(), deltas)
                self._buffer, self._state = self._buffer[at + len(CALL) :], "call"
                return True
            held = _beginning_of(CALL, self._buffer)
            held += _spaces_at_end(self._buffer[: len(self._buffer) - held])
        else:
            held = 0
        sure = len(self._buffer) - held
        self._write(self._buffer[:sure], deltas)
        self._buffer = self._buffer[sure:]
        return False

    def _in_call(self, deltas: list[Delta]) -> bool:
        """Inside a call, before its arguments."""
        head = _HEAD.match(self._buffer)
        if head is not None:
            try:
                name = json.loads(head.group(1))
            except ValueError:
                name = head.group(1)[1:-1]
            call = ToolCall(f"call_{secrets.token_hex(12)}", name)
            self.calls.append(call)
            deltas.append(CallStarted(len(self.calls) - 1, call.id, call.name))
            self._buffer, self._state, self._scan = self._buffer[head.end() :], "arguments", _JsonScan()
            return True
        end = self._buffer.find(END_CALL) if self.tools is TAGGED else -1
        if end >= 0:
            self._whole_call(self._buffer[:end], deltas)
            self._buffer, self._state = self._buffer[end + len(END_CALL) :], "content"
            return True
        if len(self._buffer) > _LONGEST_HEAD and '"name"' not in self._buffer:
            self._write(_tag(self.tools) + self._buffer, deltas)
            self._buffer, self._state = "", "content"
        return False

    def _in_arguments(self, deltas: list[Delta]) -> bool:
        assert self._scan is not None
        length, complete = self._scan.feed(self._buffer)
        text, self._buffer = self._buffer[:length], self._buffer[length:]
        if text:
            self.calls[-1].arguments += text
            deltas.append(CallArguments(len(self.calls) - 1, text))
        if complete:
            self._state = "after"
            return True
        return False

    def _in_after(self, deltas: list[Delta]) -> bool:
        """Behind a call's arguments: its closing brace and tag, or the next call of a list."""
        if self.tools is TAGGED:
            at = self._buffer.find(END_CALL)
            if at < 0:
                return False
            self._buffer, self._state = self._buffer[at + len(END_CALL) :], "content"
            return True
        at = self._buffer.find("{")
        if at < 0:
            return False
        self._buffer, self._state = self._buffer[at:], "call"
        return True

    def _whole_call(self, text: str, deltas: list[Delta]) -> None:
        """A call that did not come in the usual order; text that is no call stays text."""
        try:
            said = json.loads(text)
            name = said["name"]
            arguments = json.dumps(said.get("arguments", said.get("parameters", {})), ensure_ascii=False)
        except (ValueError, TypeError, KeyError, AttributeError):
            self._write(f"{CALL}{text}{END_CALL}", deltas)
            return
        call = ToolCall(f"call_{secrets.token_hex(12)}", str(name), arguments)
        self.calls.append(call)
        index = len(self.calls) - 1
        deltas += [CallStarted(index, call.id, call.name), CallArguments(index, arguments)]

    def _think(self, text: str, deltas: list[Delta]) -> None:
        if not self.reasoning:
            text = text.lstrip("\n")
        if text:
            self.reasoning += text
            deltas.append(Reasoning(text))

    def _write(self, text: str, deltas: list[Delta]) -> None:
        if not self._began and (self.reasoning or self.calls):
            text = text.lstrip()
        if self.calls and not text.strip():
            return
        if text:
            self._began = True
            self.content += text
            deltas.append(Content(text))


class _JsonScan:
    """Finds the end of one JSON value in a text that comes in pieces."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = self._begun = False

    def feed(self, text: str) -> tuple[int, bool]:
        """(characters that belong to the value, whether it is complete)."""
        for i, character in enumerate(text):
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
                    if self._depth == 0:
                        return i + 1, True
            elif character == '"':
                self._in_string = self._begun = True
            elif character in "{[":
                self._depth += 1
                self._begun = True
            elif character in "}]":
                if self._depth == 0:  # the end of the call around a bare value
                    return i, True
                self._depth -= 1
                if self._depth == 0:
                    return i + 1, True
            elif self._depth == 0 and self._begun and (character.isspace() or character == ","):
                return i, True
            elif not character.isspace():
                self._begun = True
        return len(text), False


def _tag(form: ToolFormat | None) -> str:
    return CALL if form is TAGGED else ""


def _beginning_of(tag: str, text: str) -> int:
    """How many characters at the end of `text` could be the beginning of `tag`."""
    for n in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-n:]):
            return n
    return 0


def _spaces_at_end(text: str) -> int:
    return len(text) - len(text.rstrip())


def _merged(deltas: list[Delta]) -> list[Delta]:
    """Neighbours of one kind as one."""
    merged: list[Delta] = []
    for delta in deltas:
        last = merged[-1] if merged else None
        if isinstance(delta, Content) and isinstance(last, Content):
            merged[-1] = Content(last.text + delta.text)
        elif isinstance(delta, Reasoning) and isinstance(last, Reasoning):
            merged[-1] = Reasoning(last.text + delta.text)
        else:
            merged.append(delta)
    return merged
