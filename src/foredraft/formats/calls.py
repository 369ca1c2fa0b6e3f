"""Tool calls, read as an entry of the table says."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

from foredraft.formats.entries import Calls, parts
from foredraft.formats.jsonscan import JsonScan
from foredraft.formats.parameters import MOST, NAME, SEPARATORS, ParameterReader
from foredraft.formats.source import Pull
from foredraft.formats.values import UnreadableError, as_json, json_string

_STRAY = re.compile(r"[\s}\]`;]*")
_FENCES = ("```json", "```")
_KIMI_ID = re.compile(r"(?:functions\.)?(.+?)(?::\d+)?")
_NAME_KEYS = ("name", "tool_name")
_ARGUMENT_KEYS = ("arguments", "parameters")
_HARMLESS_KEYS = ("type", "id", "tool_call_id", "function", *_NAME_KEYS, *_ARGUMENT_KEYS)
"""Keys of an object that may be a call, where no mark says that it is one."""


class CallReader(ParameterReader):
    """Reads calls from a source."""

    def row(self, entry: Calls, *, opened: bool = True) -> Pull[int]:
        """How many calls were read behind the entry's `open`, or, where the model left that out, of tools there are.
        With 0 nothing was taken."""
        source = self._source
        begin, count = source.at, 0
        self._must_know, self._started = not opened, False
        if opened and entry.begin.strip() and not (yield from self._loosely(entry.begin)):
            source.at = begin
            return 0
        while True:
            place = source.at
            if count:
                yield from source.matching(SEPARATORS, MOST)
                if entry.between and entry.between.strip(", ;\n"):
                    yield from self._loosely(entry.between)
                if (yield from self._end(entry)):
                    return count
                source.at = place
                yield from source.matching(_STRAY if not entry.alone or entry.end else SEPARATORS, MOST)
                if entry.end.strip() and (yield from self._end(entry)):
                    return count
                source.at = place
                yield from source.matching(SEPARATORS, MOST)
                if entry.between and entry.between.strip(", ;\n"):
                    yield from self._loosely(entry.between)
            if not (yield from self.call(entry)):
                source.at = place if count else begin
                return count
            count += 1

    def _end(self, entry: Calls) -> Pull[bool]:
        if not entry.end.strip():
            return entry.alone
        return (yield from self._loosely(entry.end))

    def call(self, entry: Calls) -> Pull[bool]:
        """Read one call; False where there is none (what was taken is then to be given back)."""
        source = self._source
        self._started = False
        name = call_id = ""
        yield from source.space()
        fields = parts(entry.call)
        for number, (kind, text) in enumerate(fields):
            if kind == "text":
                if not (yield from self._loosely(text)) and text.strip() and not self._started:
                    return False
            elif kind == "name":
                name = yield from source.matching(NAME, MOST)
                if not name or len(name) >= MOST or not (yield from source.peek()):
                    return False
                lead = NAME.match(fields[number + 1][1]) if number + 1 < len(fields) else None
                if lead and lead[0] and name.endswith(lead[0]):  # the format's text, not the name's
                    source.at -= len(lead[0])
                    name = name.removesuffix(lead[0])
                if self._must_know and name not in self._tools:
                    return False
            elif kind == "id":
                call_id = (yield from source.matching(NAME, MOST)).strip()
                if entry.name_in_id:
                    found = _KIMI_ID.fullmatch(call_id)
                    name = found[1] if found else ""
                if not call_id or (entry.name_in_id and not name):
                    return False
            elif kind == "index":
                yield from source.matching(NAME, MOST)
            else:
                following = next((part[1].strip() for part in fields[number + 1 :] if part[0] == "text"), "")
                if not (yield from self._body(kind, entry, name, call_id, following or entry.end.strip())):
                    return False
        return self._started

    def _body(self, kind: str, entry: Calls, name: str, call_id: str, following: str) -> Pull[bool]:
        if kind == "object":
            return (yield from self._object(entry))
        if kind == "keyed":
            return (yield from self._keyed())
        if kind == "json":
            return (yield from self._json_body(name, call_id, following))
        if kind == "parameters":
            return (yield from self._parameters(entry, name, call_id, following))
        self._start(call_id, name)
        with contextlib.suppress(UnreadableError):
            if kind == "python":
                yield from self._python(name)
            elif kind == "braces":
                yield from self._braces(entry)
            elif kind == "nested":
                yield from self._nested(entry, name)
        return True

    # ---- JSON ----

    def stream_json(self) -> Pull[bool]:
        """Pass a JSON value on as it comes; True when it is complete."""
        source, scan = self._source, JsonScan()
        while True:
            length, complete = scan.feed(source.rest())
            text = source.take(length)
            if text:
                self._sink.argue(text)
            if complete:
                return True
            source.forget()
            if not (yield from source.more()):
                return False

    def _json_body(self, name: str, call_id: str, following: str) -> Pull[bool]:
        source = self._source
        place = source.at
        fenced = yield from self._fence()
        if (yield from source.peek()) == "{":
            self._start(call_id, name)
            yield from self.stream_json()
            if fenced:
                yield from self._loosely("```")
            return True
        source.at = place
        if following and (yield from source.one_of((following,))):
            self._start(call_id, name)
            self._sink.argue("{}")
            return True
        return False

    def _fence(self) -> Pull[bool]:
        yield from self._source.space()
        fence = yield from self._source.one_of(_FENCES)
        self._source.take(len(fence))
        yield from self._source.space()
        return bool(fence)

    def _object(self, entry: Calls) -> Pull[bool]:
        """`{"name": …, "arguments": {…}}`, its keys in any order. The arguments are passed on as they come where the
        name is known by then."""
        source = self._source
        yield from self._fence()
        if (yield from source.peek()) != "{":
            return False
        source.take(1)
        name, arguments = "", "{}"
        try:
            while True:
                yield from source.space()
                character = yield from source.peek()
                if character == ",":
                    source.take(1)
                    continue
                if character == "}":
                    source.take(1)
                    break
                if character != '"':
                    return self._started
                key = yield from json_string(source)
                yield from source.space()
                if (yield from source.peek()) != ":":
                    return self._started
                source.take(1)
                yield from source.space()
                if not entry.open and not self._started and key not in _HARMLESS_KEYS:
                    return False
                if key in _ARGUMENT_KEYS and not self._started and name and (yield from source.peek()) == "{":
                    if not self._known(entry, name):
                        return False
                    self._start("", name)
                    if not (yield from self.stream_json()):
                        return True
                    continue
                value = yield from self._json_text()
                if value is None:
                    return self._started
                if key in _ARGUMENT_KEYS:
                    arguments = _unwrapped(value)
                elif key in _NAME_KEYS or key == "function":
                    name, arguments = _named(value, name, arguments)
        except UnreadableError:
            return self._started
        if self._started:
            return True
        if not name or not self._known(entry, name):
            return False
        self._start("", name)
        self._sink.argue(arguments)
        return True

    def _known(self, entry: Calls, name: str) -> bool:
        """Whether a call is one: where no mark says so, only if it is of a tool there is."""
        return bool(entry.open) or not self._tools or name in self._tools

    def _keyed(self) -> Pull[bool]:
        source = self._source
        if (yield from source.peek()) != "{":
            return False
        source.take(1)
        yield from source.space()
        if (yield from source.peek()) != '"':
            return False
        try:
            name = yield from json_string(source)
        except UnreadableError:
            return False
        yield from source.space()
        if (yield from source.peek()) != ":":
            return False
        source.take(1)
        yield from source.space()
        if (yield from source.peek()) != "{":
            return False
        self._start("", name)
        if (yield from self.stream_json()):
            yield from self._loosely("}")
        return True


def _unwrapped(value: str) -> str:
    """Arguments as an object: those written as a JSON text are taken out of it, null is none."""
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return value
    if read is None:
        return "{}"
    if isinstance(read, str):
        try:
            return read if isinstance(json.loads(read), dict) else as_json({"arguments": read})
        except (ValueError, RecursionError):
            return "{}" if not read.strip() else as_json({"arguments": read})
    return value


def _named(value: str, name: str, arguments: str) -> tuple[str, str]:
    """(name, arguments) after a key that names the function, or holds name and arguments."""
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return name, arguments
    if isinstance(read, str):
        return read, arguments
    if isinstance(read, dict) and isinstance(read.get("name"), str):
        inner: Any = next((read[key] for key in _ARGUMENT_KEYS if key in read), {})
        return read["name"], inner if isinstance(inner, str) else as_json(inner)
    return name, arguments
