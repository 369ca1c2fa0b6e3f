"""Arguments in forms that are not JSON, to JSON: texts typed by a tool's schema, and values as Python or Gemma write
them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from foredraft.formats.source import CODES, Pull, Source

MAX_DEPTH = 64
"""Lists and objects inside each other."""
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_STRINGS = ("true", "string")
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
_BARE = re.compile(r"[^,)\]}(\[{:='\"\n" + f"{chr(CODES)}-{chr(0x10FFFD)}]*")
_BEHIND = re.compile(r"\s*[,)\]}:]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES: Mapping[str, str] = {"n": "\n", "t": "\t", "r": "\r"}


class UnreadableError(ValueError):
    """A value that is not in its form."""


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def typed(text: str, schema: Any, root: Any = None, kind: str = "") -> Any:
    """What a text stands for where the format writes texts bare: by the type that its `kind` (an attribute of the
    format) or its schema names. A text of no known type is JSON where it reads as something other than a string."""
    types = types_of(schema, root)
    if kind in _STRINGS or types == {"string"}:
        return text
    value = _value(text)
    if kind:
        return value
    if not types:
        return text if isinstance(value, str) else value
    if isinstance(value, str):
        return value if "string" not in types else text
    fits = any(isinstance(value, _TYPES[name]) for name in types if name in _TYPES)
    if isinstance(value, bool) and not types & {"boolean"}:
        fits = False
    return value if fits or "string" not in types else text


def types_of(schema: Any, root: Any = None, seen: set[int] | None = None) -> set[str]:
    """The types a schema allows; empty where it does not say. `seen`: parts (by identity) that were looked at before; a
    schema may lead to itself in many ways."""
    seen = set() if seen is None else seen
    if not isinstance(schema, Mapping):
        return set()
    schema = resolved(schema, root)
    if id(schema) in seen:
        return set()
    seen.add(id(schema))
    said = schema.get("type")
    if isinstance(said, str):
        return {said}
    if isinstance(said, list):
        return {name for name in said if isinstance(name, str)}
    if isinstance(schema.get("enum"), list):
        return {_type_name(value) for value in schema["enum"]}
    if "const" in schema:
        return {_type_name(schema["const"])}
    found: set[str] = set()
    for key in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(key) or () if isinstance(schema.get(key), list) else ():
            found |= types_of(part, root, seen)
    if not found and isinstance(schema.get("properties"), Mapping):
        return {"object"}
    return found


def resolved(schema: Mapping[str, Any], root: Any) -> Mapping[str, Any]:
    """The schema that a `$ref` inside `root` leads to."""
    for _ in range(8):
        ref = schema.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#/"):
            break
        target: Any = root
        for step in ref[2:].split("/"):
            target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            break
        schema = target
    return schema


def property_of(schema: Any, key: str, root: Any = None) -> Any:
    """The schema of one property (or, for `item`, of a list's items)."""
    if not isinstance(schema, Mapping):
        return None
    schema = resolved(schema, root)
    properties = schema.get("properties")
    if isinstance(properties, Mapping) and key in properties:
        return properties[key]
    return schema.get("items") if key == "item" else None


def _type_name(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return next((name for name, kinds in _TYPES.items() if isinstance(value, kinds)), "string")


def _value(text: str) -> Any:
    """A text as JSON, else as Python writes values, else itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if text.strip() in _WORDS:
        return _WORDS[text.strip()]
    if text.strip()[:1] in ("{", "[", "'"):
        source = Source()
        source.text, source.ended = text.strip(), True
        try:
            value = _whole(relaxed(source))
        except UnreadableError:
            return text
        return value if source.at == len(source.text) else text
    return text


def _whole(reading: Pull[Any]) -> Any:
    """The result of a pull from a source that has ended."""
    try:
        next(reading)
    except StopIteration as stop:
        return stop.value
    raise UnreadableError("it has not ended")


def relaxed(source: Source, quote: str = "", depth: int = 0) -> Pull[Any]:
    """A value as Python, JSON or Gemma writes it. Raises `UnreadableError`, also where the answer ends inside it."""
    if depth > MAX_DEPTH:
        raise UnreadableError("it is nested too deeply")
    yield from source.space()
    if quote and (yield from source.one_of((quote,))):
        return (yield from _quoted_by(source, quote))
    first = yield from source.peek()
    if first == "{":
        return (yield from relaxed_object(source, quote, depth))
    if first == "[":
        return (yield from _list(source, quote, depth))
    if first == '"':
        return (yield from json_string(source))
    if first == "'":
        return (yield from _python_string(source))
    word = (yield from source.matching(_BARE, 4096)).strip()
    if not word or not (yield from source.peek()):
        raise UnreadableError("there is no value") if not word or not source.ended else _cut(word)
    return _word(word)


def _cut(word: str) -> UnreadableError:
    return UnreadableError(f"the answer ends within {word[:40]!r}")


def _word(word: str) -> Any:
    if word in _WORDS:
        return _WORDS[word]
    try:
        return json.loads(word)
    except ValueError:
        return word


def relaxed_object(source: Source, quote: str = "", depth: int = 0) -> Pull[dict[str, Any]]:
    """`{key: value, …}` with keys bare or quoted."""
    made: dict[str, Any] = {}
    items = object_items(source, quote, depth)
    while True:
        item = yield from items.next()
        if item is None:
            return made
        made[item[0]] = item[1]


class object_items:  # noqa: N801 - reads as a word
    """The items of `{key: value, …}`, one at a time."""

    def __init__(self, source: Source, quote: str = "", depth: int = 0) -> None:
        self._source, self._quote, self._depth, self._begun = source, quote, depth, False

    def next(self) -> Pull[tuple[str, Any] | None]:
        """The next item; None behind the closing brace."""
        source = self._source
        if not self._begun:
            self._begun = True
            source.take(1)
        yield from source.space()
        if (yield from source.peek()) == ",":
            source.take(1)
            yield from source.space()
        if (yield from source.peek()) == "}":
            source.take(1)
            return None
        key = yield from self._key()
        yield from source.space()
        if (yield from source.peek()) != ":":
            raise UnreadableError("there is no colon behind a key")
        source.take(1)
        return key, (yield from relaxed(source, self._quote, self._depth + 1))

    def _key(self) -> Pull[str]:
        source = self._source
        if self._quote and (yield from source.one_of((self._quote,))):
            return (yield from _quoted_by(source, self._quote))
        first = yield from source.peek()
        if first == '"':
            return (yield from json_string(source))
        if first == "'":
            return (yield from _python_string(source))
        key = (yield from source.matching(_BARE, 4096)).strip()
        if not key:
            raise UnreadableError("there is no key")
        return key


def _list(source: Source, quote: str, depth: int) -> Pull[list[Any]]:
    made: list[Any] = []
    source.take(1)
    while True:
        yield from source.space()
        first = yield from source.peek()
        if first == "]":
            source.take(1)
            return made
        if first == "," and made:
            source.take(1)
            continue
        made.append((yield from relaxed(source, quote, depth + 1)))


def _quoted_by(source: Source, quote: str) -> Pull[str]:
    source.take(len(quote))
    text, found = yield from source.until((quote,))
    if not found:
        raise _cut(text)
    return text


def json_string(source: Source) -> Pull[str]:
    """A JSON string, with what JSON forbids in it read leniently. Raises `UnreadableError`."""
    begin = source.at
    source.take(1)
    yield from _to_quote(source, '"')
    text = source.text[begin : source.at]
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text[1:-1]


def _to_quote(source: Source, quote: str) -> Pull[None]:
    """Take everything up to the quote that ends a string, and it."""
    while True:
        character = yield from source.peek()
        if not character:
            raise UnreadableError("the answer ends within a string")
        source.take(1)
        if character == "\\":
            if not (yield from source.peek()):
                raise UnreadableError("the answer ends within a string")
            source.take(1)
        elif character == quote:
            return


def _python_string(source: Source) -> Pull[str]:
    """A string in single quotes. Templates write it without escapes, so a quote ends it only where it may."""
    begin = source.at
    source.take(1)
    while True:
        yield from _to_quote(source, "'")
        ahead = source.at
        yield from source.space()
        following = yield from source.peek()
        source.at = ahead
        if not following or following in ",)]}:":
            break
    text = source.text[begin + 1 : source.at - 1]
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1] if found[1] in "\\'\"" else found[0]), text)
