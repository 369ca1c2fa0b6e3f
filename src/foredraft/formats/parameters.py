"""Arguments that are not JSON, read one after another: parameters in tags, `key=value`, bare keys, elements."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from foredraft.formats.entries import Calls, parts
from foredraft.formats.jsonscan import JsonScan
from foredraft.formats.source import CODED, CODES, Pull, Source
from foredraft.formats.values import (
    UnreadableError,
    as_json,
    object_items,
    property_of,
    relaxed,
    typed,
    types_of,
)

NAME = re.compile(r"[^\s<>\[\]{}()\"'`=,|" + f"{chr(CODES)}-{chr(0x10FFFD)}]*")
MOST = 256
"""Characters of a name or id."""
SEPARATORS = re.compile(r"[\s,;]*")


class Sink(Protocol):
    """Who is told of calls."""

    def start(self, call_id: str, name: str) -> None: ...

    def argue(self, text: str) -> None: ...


class ParameterReader:
    """Reads arguments from a source. `tools`: the parameters' schema of each tool by its name; empty when they are not
    known."""

    def __init__(self, source: Source, sink: Sink, tools: Mapping[str, Any]) -> None:
        self._source = source
        self._sink = sink
        self._tools = tools
        self._started = self._must_know = False

    def _loosely(self, text: str) -> Pull[bool]:
        """Take a literal with any white space around it, or nothing. Behind a call, the beginning of it is enough where
        the answer was cut: half a mark is no text."""
        begin = self._source.at
        yield from self._source.space()
        if (yield from self._source.literal(text.strip())):
            return True
        if self._started and self._source.ended and text.strip().startswith(self._source.rest()):
            self._source.take(len(self._source.rest()))
            return True
        self._source.at = begin
        return False

    def _start(self, call_id: str, name: str) -> None:
        self._started = True
        self._sink.start(call_id, name)

    def _parameters(self, entry: Calls, name: str, call_id: str, following: str) -> Pull[bool]:
        source, fields = self._source, parts(entry.parameter)
        lead = fields[0][1].strip()
        arguments = _Arguments(self._sink)
        while True:
            place = source.at
            yield from source.space()
            found = yield from source.one_of((lead, following) if following else (lead,))
            if found != lead:
                if not self._started:
                    if (not found and following) or (self._tools and name not in self._tools):
                        return False
                    self._start(call_id, name)
                if found or not source.ended:
                    arguments.close()
                if not found:
                    source.at = place
                return True
            if not self._started:
                self._start(call_id, name)
            if not (yield from self._parameter(entry, name, fields, arguments)):
                return True

    def _parameter(
        self, entry: Calls, name: str, fields: Sequence[tuple[str, str]], arguments: _Arguments
    ) -> Pull[bool]:
        """Read one parameter; False where the answer ends in it."""
        source, schema = self._source, self._tools.get(name)
        key = kind = ""
        for number, (field, text) in enumerate(fields):
            if field == "text":
                if number == 0:
                    yield from self._loosely(text)
                continue
            behind = fields[number + 1][1]
            if field == "value":
                declared = property_of(schema, key, schema)
                value = yield from self._value_json(behind, types_of(declared, schema), kind)
                complete = bool(value)
                if not complete:
                    value, complete = yield from self._value_text(entry, fields[number - 1][1], behind)
                if not complete:
                    if types_of(declared, schema) in ({"string"}, set()) and kind != "false":
                        arguments.cut(key, value)
                    return False
                arguments.add(key, typed(value, declared, schema, kind))
                continue
            closing, *rest = behind.split()
            said, mark = yield from source.until((closing,))
            if not mark:
                return False
            for word in rest:
                yield from self._loosely(word)
            if field == "key":
                key = said.strip()
            elif field == "type":
                kind = said.strip()
        return True

    def _value_json(self, behind: str, types: set[str], kind: str) -> Pull[str]:
        """A value that is an object or a list in JSON, in which the mark that closes it may be spelled; else ""."""
        source, place = self._source, self._source.at
        if types and "string" not in types and kind not in ("true", "string"):
            yield from source.space()
            if (yield from source.peek()) in ("{", "["):
                value = yield from self._json_text()
                if value is not None and (yield from self._loosely(behind)):
                    return value
        source.at = place
        return ""

    def _json_text(self) -> Pull[str | None]:
        """A JSON value as it stands; None where the answer ends in it."""
        source, scan, begin = self._source, JsonScan(), self._source.at
        while True:
            length, complete = scan.feed(source.rest())
            source.take(length)
            if complete:
                return source.text[begin : source.at]
            if not (yield from source.more()):
                return None

    def _value_text(self, entry: Calls, before: str, behind: str) -> Pull[tuple[str, bool]]:
        """(a value as it stands, whether it is complete). Line ends that the format writes around it are no part."""
        source = self._source
        if entry.quote and (yield from source.one_of((entry.quote,))):  # CDATA
            source.take(len(entry.quote))
            text, found = yield from source.until(("]]>",))
            if found:
                yield from self._loosely(behind)
            return text, bool(found)
        text, found = yield from source.until((behind.strip(),))
        if before.endswith("\n"):
            text = text.removeprefix("\n")
        if behind.startswith("\n") and found:
            text = text.removesuffix("\n")
        return text, bool(found)

    def _python(self, name: str) -> Pull[None]:
        """`key=value, …` up to the bracket that ends the call."""
        source, arguments = self._source, _Arguments(self._sink)
        while True:
            yield from source.matching(SEPARATORS, MOST)
            following = yield from source.peek()
            if following in (")", ""):
                if following:
                    arguments.close()
                return
            key = yield from source.matching(NAME, MOST)
            yield from source.space()
            if not key or (yield from source.peek()) != "=":
                raise UnreadableError("there is no key")
            source.take(1)
            arguments.add(key, (yield from relaxed(source)))

    def _braces(self, entry: Calls) -> Pull[None]:
        source, arguments = self._source, _Arguments(self._sink)
        if (yield from source.peek()) != "{":
            raise UnreadableError("there is no brace")
        items = object_items(source, entry.quote)
        while True:
            item = yield from items.next()
            if item is None:
                arguments.close()
                return
            arguments.add(*item)

    def _nested(self, entry: Calls, name: str) -> Pull[None]:
        """Elements whose tags stand behind a mark: `<key>value</key>`, lists as `<item>`s."""
        source, arguments, schema = self._source, _Arguments(self._sink), self._tools.get(name)
        while True:
            place = source.at
            yield from source.space()
            if not (yield from source.literal(f"{entry.quote}<")) or (yield from source.peek()) == "/":
                source.at = place
                arguments.close()
                return
            key, found = yield from source.until((">",))
            if not found:
                return
            arguments.add(key, (yield from self._element(entry, property_of(schema, key, schema), schema)))

    def _element(self, entry: Calls, schema: Any, root: Any, depth: int = 0) -> Pull[Any]:
        """The value of an element, behind its opening tag and to behind its closing one."""
        source = self._source
        if depth > 32:
            raise UnreadableError("it is nested too deeply")
        text, found = yield from source.until((f"{entry.quote}<",))
        if not found:
            raise UnreadableError("the answer ends within a value")
        made: list[tuple[str, Any]] = []
        while (yield from source.peek()) != "/":
            key, found = yield from source.until((">",))
            if not found:
                raise UnreadableError("the answer ends within a tag")
            value = yield from self._element(entry, property_of(schema, key, root), root, depth + 1)
            made.append((key, value))
            _, found = yield from source.until((f"{entry.quote}<",))
            if not found:
                raise UnreadableError("the answer ends within a value")
        yield from source.until((">",))
        if not made:
            if not text.strip() and types_of(schema, root) in ({"object"}, {"array"}):
                return {} if types_of(schema, root) == {"object"} else []
            return typed(text, schema, root)
        if all(key == "item" for key, _ in made) and types_of(schema, root) != {"object"}:
            return [value for _, value in made]
        return dict(made)


class _Arguments:
    """Arguments that come one by one, written as one JSON object."""

    def __init__(self, sink: Sink) -> None:
        self._argue: Callable[[str], None] = sink.argue
        self._count = 0

    def _key(self, key: str) -> str:
        self._count += 1
        return ("{" if self._count == 1 else ", ") + as_json(_plain(key)) + ": "

    def add(self, key: str, value: Any) -> None:
        self._argue(self._key(key) + as_json(_plain(value)))

    def cut(self, key: str, text: str) -> None:
        """A string that the answer ended in."""
        self._argue(self._key(key) + as_json(_plain(text))[:-1])

    def close(self) -> None:
        self._argue("}" if self._count else "{}")


def _plain(value: Any) -> Any:
    """Without the codes of control tokens, which would be written as escapes."""
    return CODED.sub("", value) if isinstance(value, str) else value
