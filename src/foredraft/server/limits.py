"""What one request may ask for: one table, checked before any work is done for it.

Every limit answers with both numbers, what was sent and what is allowed. docs/security.md has the table. Limits of JSON
hold for every body; those of fields stand at the fields (`schemas.py` of each dialect), as validators that run before
pydantic looks inside.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BeforeValidator

from foredraft.chats.responses import Bounds
from foredraft.core.errors import LimitError


@dataclass(frozen=True, slots=True)
class Limit:
    """The most of one thing. `what` names it in errors and in the table of docs/security.md."""

    what: str
    most: int
    status: int = 400

    def check(self, has: int, param: str = "", *, so_far: bool = False) -> None:
        """Raises `LimitError`. `so_far`: the count went no further than the limit; there may be more."""
        if has > self.most:
            where, least = f"{param}: " if param else "", "at least " if so_far else ""
            message = f"{where}{least}{has:,} {self.what}; at most {self.most:,} are allowed."
            raise LimitError(message, has, self.most, param=param, status=self.status)


BODY = Limit("bytes of a body", 16 << 20, 413)
KEYS = Limit("keys in a body's JSON", 100_000, 413)
VALUES = Limit("values in a body's JSON", 1_000_000, 413)
CONTAINERS = Limit("objects and lists in a body's JSON", 200_000, 413)
NESTING = Limit("levels of nesting in JSON", 100)
MESSAGES = Limit("messages", 10_000)
PARTS = Limit("parts of one message", 1_000)
STOPS = Limit("stop strings", 128)
STOP_LENGTH = Limit("characters of a stop string", 1_000)
STOPS_LENGTH = Limit("characters of all stop strings", 16_000)
BIAS = Limit("entries of logit_bias", 4_096)
TOOLS = Limit("tools", 128)
TEXTS = Limit("texts to embed", 2_048)
SCHEMA = Limit("characters of names and texts in a schema", 256 << 10)
SCHEMA_NODES = Limit("values in a schema", 20_000)
SCHEMA_NAME = Limit("characters of a name in a schema", 1_000)
REFERENCES = Limit("references ($ref) in a schema", 500)
DEFINITIONS = Limit("definitions ($defs) in a schema", 500)
GRAMMAR = Limit("characters of a grammar", 64 << 10)
RULES = Limit("rules of a grammar", 500)
DETOKENIZE = Limit("tokens to make a text of", 262_144)
PROMPT_LOGPROBS = Limit("log probabilities of prompt tokens", 131_072)
VARIABLES = Limit("characters of the template's variables", 64 << 10)
SDK_CALLS = Limit("calls of one socket at once", 4_096)
SDK_CHANNELS = Limit("channels of one socket at once", 256)
UPLOADS = Limit("bytes of uploaded files kept", 64 << 20)
KEPT = Bounds(responses=10_000, size=256 << 20, age_s=30 * 24 * 3600.0)
"""What of responses is kept for later requests (`kept.py`)."""
TABLE = (
    *(BODY, KEYS, VALUES, CONTAINERS, NESTING, MESSAGES, PARTS, STOPS, STOP_LENGTH, STOPS_LENGTH, BIAS),
    *(TOOLS, TEXTS, SCHEMA, SCHEMA_NODES, SCHEMA_NAME, REFERENCES, DEFINITIONS, GRAMMAR, RULES, VARIABLES),
    *(SDK_CALLS, SDK_CHANNELS, UPLOADS, PROMPT_LOGPROBS, DETOKENIZE),
)
"""All of them."""


# ---- JSON, before it is read ----

_STRINGS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_OPENING, _BRACKETS = re.compile(rb"[\[{]"), re.compile(rb"[\[\]{}]")


def check_json(body: bytes, *, alone: bool = False) -> None:
    """Raises `LimitError` for JSON that would be too much to read: that takes a lock which running answers need too.

    Counts what stands outside of strings. It goes through the text string by string, in Python: so others get their
    turn, however large the body is. Where it is `alone` in its process, all strings are taken out in one go, in a fifth
    of the time. What is not JSON may pass; its reader says so.
    """
    if len(body) <= NESTING.most:
        return
    found = sum(map(body.count, (b",", b":", b"[", b"{")))
    if found <= KEYS.most and body.count(b"[") + body.count(b"{") <= NESTING.most:
        return  # fewer of everything, even if every mark counted
    if alone:
        body = _STRINGS.sub(b"", body)
    keys = values = containers = depth = 0
    for marks in _between_strings(body):
        keys += marks.count(b":")
        values += marks.count(b",")
        opening = marks.count(b"[") + marks.count(b"{")
        if opening:
            containers += opening
            CONTAINERS.check(min(containers, CONTAINERS.most + 1), so_far=True)
        KEYS.check(min(keys, KEYS.most + 1), so_far=True)
        VALUES.check(min(values + containers, VALUES.most + 1), so_far=True)
        if opening == 1 and b"]" not in marks and b"}" not in marks:
            depth += 1
            NESTING.check(depth, so_far=True)
        elif opening or b"]" in marks or b"}" in marks:
            for mark in _BRACKETS.findall(marks):
                depth += 1 if mark in b"[{" else -1
                if depth > NESTING.most:
                    NESTING.check(depth, so_far=True)


def _between_strings(body: bytes) -> Iterator[bytes]:
    at = 0
    while (quote := body.find(b'"', at)) >= 0:
        yield body[at:quote]
        end = quote
        while True:
            end = body.find(b'"', end + 1)
            if end < 0:
                return
            before = end - 1
            while body[before] == 0x5C:  # a backslash; an even number of them stand for themselves
                before -= 1
            if (end - before) % 2:
                break
        at = end + 1
    yield body[at:]


# ---- fields ----


def at_most(limit: Limit, param: str) -> BeforeValidator:
    """For a field: at most so many entries (of a list or an object)."""

    def check(value: Any) -> Any:
        if isinstance(value, (list, dict)):
            limit.check(len(value), param)
        return value

    return BeforeValidator(check)


def stops(param: str = "stop") -> BeforeValidator:
    """For a field: one stop string or several."""

    def check(value: Any) -> Any:
        texts = value if isinstance(value, list) else [value]
        STOPS.check(len(texts), param)
        for text in texts:
            if isinstance(text, str):
                STOP_LENGTH.check(len(text), param)
        STOPS_LENGTH.check(sum(len(text) for text in texts if isinstance(text, str)), param)
        return value

    return BeforeValidator(check)


def schema(param: str) -> BeforeValidator:
    """For a field: a JSON schema."""

    def check(value: Any) -> Any:
        check_schema(value, param)
        return value

    return BeforeValidator(check)


def tools() -> BeforeValidator:
    """For a field: the tools of a request, whose schemas become one grammar."""

    def check(value: Any) -> Any:
        if isinstance(value, list):
            TOOLS.check(len(value), "tools")
            check_schema(value, "tools")
        return value

    return BeforeValidator(check)


def texts(param: str) -> BeforeValidator:
    """For a field: a text, several texts, or their tokens."""

    def check(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], (str, list)):
            TEXTS.check(len(value), param)
        return value

    return BeforeValidator(check)


def grammar(param: str) -> BeforeValidator:
    """For a field: a grammar in llguidance's Lark."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            check_grammar(value, param)
        return value

    return BeforeValidator(check)


def variables(param: str) -> BeforeValidator:
    """For a field: variables of the chat template."""

    def check(value: Any) -> Any:
        size = 0
        for text in _texts(value):
            size += len(text) + 1
            VARIABLES.check(size, param, so_far=True)
        return value

    return BeforeValidator(check)


def arguments(param: str) -> BeforeValidator:
    """For a field: JSON in a text, such as a tool call's arguments."""

    def check(value: Any) -> Any:
        if isinstance(value, str):
            try:
                check_json(value.encode("utf-8", "surrogatepass"))
            except LimitError as error:
                raise LimitError(f"{param}: {error.message}", error.has, error.most, param=param) from None
        return value

    return BeforeValidator(check)


# ---- what becomes a grammar ----

_RULE = re.compile(r"^[ \t]*[?!]*[A-Za-z_][\w.\-]*[ \t]*(?:\[[^\]\n]*\]|\{[^}\n]*\})?[ \t]*:", re.MULTILINE)


def check_schema(wanted: Any, param: str = "") -> None:
    """Raises `LimitError` for a schema that would take too long, or too deep a stack, to become a grammar."""
    nodes = size = references = definitions = 0
    waiting = [wanted]
    while waiting:
        value = waiting.pop()
        nodes += 1
        if isinstance(value, dict):
            named = [value[name] for name in ("$defs", "definitions") if isinstance(value.get(name), dict)]
            definitions += sum(map(len, named))
            DEFINITIONS.check(definitions, param, so_far=True)
            SCHEMA_NODES.check(nodes + len(waiting) + len(value), param, so_far=True)
            for name in value:
                SCHEMA_NAME.check(len(name), param)
                size += len(name)
                references += name in ("$ref", "$dynamicRef", "$recursiveRef")
            REFERENCES.check(references, param, so_far=True)
            waiting.extend(value.values())
        elif isinstance(value, list):
            SCHEMA_NODES.check(nodes + len(waiting) + len(value), param, so_far=True)
            waiting.extend(value)
        elif isinstance(value, str):
            size += len(value)
        SCHEMA.check(size, param, so_far=True)


def check_grammar(text: str, param: str = "") -> None:
    """Raises `LimitError`. Grammars may hold schemas (`%json {…}`): their references count too."""
    GRAMMAR.check(len(text), param)
    RULES.check(len(_RULE.findall(text)), param)
    REFERENCES.check(text.count("$ref"), param)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a JSON value, numbers too as they are written."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            yield from map(str, inner)
            waiting.extend(inner.values())
        elif isinstance(inner, list):
            waiting.extend(inner)
        else:
            yield str(inner)
