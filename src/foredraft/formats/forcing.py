"""Grammars of calls: what a forced call may look like, from the same entry that it is read by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.formats.entries import Calls, Form, parts
from foredraft.formats.source import CODED
from foredraft.formats.values import resolved, types_of
from foredraft.grammars.constraints import json_rule
from foredraft.grammars.limits import MAX_BYTES, GrammarError
from foredraft.grammars.schema_support import moved

MAX_DEPTH = 24
_NOTHING: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def calls_grammar(tools: Sequence[Mapping[str, Any]], form: Form, *, several: bool, thinking: bool) -> str:
    """llguidance's Lark for one call (or several) of the given tools, behind what is thought first. `thinking`: the
    prompt ends inside the thinking."""
    return _Grammar(form).of(tools, several=several, thinking=thinking)


def thought_rules(form: Form | None) -> str:
    """The rule `thought`: the rest of thinking that the prompt has opened, and its end."""
    grammar = _Grammar(form or Form("tagged"))
    return grammar.rest_of_thinking()


class _Grammar:
    """Rules as they are made; each has a name of its own."""

    def __init__(self, form: Form) -> None:
        self._form = form
        self._ids = {code: token for _, code, token in form.codes}
        self._rules: list[str] = []
        self._size = 0

    def of(self, tools: Sequence[Mapping[str, Any]], *, several: bool, thinking: bool) -> str:
        entry = self._form.calls[0]
        header, several = self._form.header, several and not entry.single
        if "{object}" in entry.call:
            calls = [self._objects(entry, tools)]
        else:
            calls = [self._call(entry, tool["function"]) for tool in tools]
        if header is not None and header.forced:  # the header names the function
            names = [str(tool["function"]["name"]) for tool in tools]
            rows = [
                f"{self._text(header.forced.replace('{name}', name))} {self._row(entry, call, several=False)}"
                for name, call in zip(names, calls, strict=True)
            ]
            row = self._rule(" | ".join(rows))
        else:
            call = self._rule(" | ".join(calls))
            row = self._row(entry, call, several=several and (bool(entry.open) or entry.between == ">>>"))
        first = "thought" if thinking else self._thinking_first()
        thought = self.rest_of_thinking() if thinking else ""
        return f"start: {first} {row}\n{thought}" + "".join(self._rules)

    def _row(self, entry: Calls, call: str, *, several: bool) -> str:
        begin, end = self._text(entry.open + entry.begin), self._text(entry.end)
        if entry.between is not None:
            more = f"({self._text(entry.between)} {call})*" if several else ""
            return f"{begin} {call} {more} {end}"
        one = f"{begin} {call} {end}"
        if not several:
            return one
        # A token may hold the end of a call and what could join another: it does not oblige to one.
        after = f" {self._text(entry.joint)}?" if entry.joint.strip(" \n") == "" and entry.joint else ""
        return f"{one} ({self._text(entry.joint)} {one})*{after}"

    # ---- thinking ----

    def rest_of_thinking(self) -> str:
        close = self._form.thinking[0].close if self._form.thinking else "</think>"
        if self._form.thinking == () and self._form.header is not None and self._form.header.thought[1]:
            close = self._form.header.thought[1]
        return self._to(close, "thought")

    def _to(self, close: str, name: str) -> str:
        """The rule of a text that a mark closes, and white space."""
        header = self._form.header
        end = next((mark for mark in header.ends if close.startswith(mark)), "") if header is not None else ""
        if CODED.match(close.strip()) is None:
            mark = end or close.strip()
            rest = self._text(close[len(end) :]) if end else "/\\n{0,2}/"
            return f"{name}: {name}_text {rest}\n{name}_text[lazy]: /(.|\\n)*{_in_regex(mark)}/\n"
        return f"{name}: {name}_text {self._text(close.strip())} /\\n{{0,2}}/\n{name}_text: /(.|\\n)*/\n"

    def _thinking_first(self) -> str:
        """Thinking that the model may open by itself, for families that do."""
        header = self._form.header
        if header is not None and header.thought[0]:
            opening, close = header.thought
        elif self._form.thinking and self._form.late:
            opening, close = self._form.thinking[0].open, self._form.thinking[0].close
        else:
            return ""
        self._rules.append(self._to(close, "thinking"))
        return f"({self._text(opening)} thinking)?"

    # ---- calls ----

    def _objects(self, entry: Calls, tools: Sequence[Mapping[str, Any]]) -> str:
        return self._rule(
            json_rule({"anyOf": [_object_schema(entry, tool["function"], n) for n, tool in enumerate(tools)]})
        )

    def _call(self, entry: Calls, function: Mapping[str, Any]) -> str:
        schema = function.get("parameters") or _NOTHING
        name, made = str(function["name"]), []
        for kind, literal in parts(entry.call):
            if kind == "text":
                made.append(self._text(literal))
            elif kind == "name":
                made.append(self._text(name))
            elif kind == "id":
                made.append(f"{self._text(f'functions.{name}:')} /[0-9]{{1,3}}/" if entry.name_in_id else _id(entry))
            elif kind == "index":
                made.append("/[0-9]{1,3}/")
            elif kind == "json":
                made.append(self._rule(json_rule(schema)))
            elif kind == "keyed":
                made.append(
                    self._rule(
                        json_rule(
                            {
                                "type": "object",
                                "properties": {name: moved(schema, f"#/properties/{name}")},
                                "required": [name],
                                "additionalProperties": False,
                            }
                        )
                    )
                )
            elif kind == "parameters":
                made += self._parameters(entry, schema)
            elif kind == "python":
                made.append(self._joined(schema, ", ", lambda key, part: self._python(key, part, schema)))
            elif kind == "braces":
                made.append(self._braces(entry, schema, schema, 0))
            elif kind == "nested":
                made += self._elements(entry, schema, schema, 0)
        return self._rule(" ".join(made))

    def _parameters(self, entry: Calls, schema: Mapping[str, Any]) -> list[str]:
        made = []
        for key, part, required in _properties(schema):
            one = self._rule(self._parameter(entry, key, part, schema))
            made.append(one if required else f"{one}?")
        return made

    def _parameter(self, entry: Calls, key: str, part: Any, root: Any) -> str:
        made, fields = [], parts(entry.parameter)
        bare = _is_text(part, root)
        for number, (kind, literal) in enumerate(fields):
            if kind == "text" and not (fields[number - 1][0] == "value" and number):
                made.append(self._text(literal))
            elif kind == "key":
                made.append(self._text(key))
            elif kind == "type":
                made.append(self._text(_type_word(entry, part, root, bare=bare)))
            elif kind == "value":
                behind = fields[number + 1][1]
                made.append(
                    self._text_to(behind, part, root) if bare else f"{self._json(part, root)} {self._text(behind)}"
                )
        return " ".join(made)

    def _text_to(self, close: str, schema: Any, root: Any) -> str:
        """A text and what closes it."""
        choices = _choices(schema, root)
        if choices:
            return self._rule(" | ".join(self._text(choice) for choice in choices)) + " " + self._text(close)
        coded = CODED.search(close)
        head = close[: coded.start()] if coded else ""
        name = f"text_{len(self._rules)}"
        if coded is None or head:
            # What is read ends at the mark, with or without the line ends around it.
            mark = (head or close).strip()
            self._rules.append(f"{name}[lazy]: /(.|\\n)*{_in_regex(mark)}/\n")
            return f"{name} {self._text(close[close.index(mark) + len(mark) :])}"
        self._rules.append(f"{name}: /(.|\\n)*/\n")
        return f"{name} {self._text(close)}"

    def _json(self, schema: Any, root: Any) -> str:
        return self._rule(json_rule(_with_definitions(schema, root)))

    def _joined(self, schema: Mapping[str, Any], comma: str, item: Any) -> str:
        """Properties with commas between those that are there."""
        listed = _properties(schema)
        items = [self._rule(item(key, part)) for key, part, _ in listed]
        rests = [""] * (len(items) + 1)
        for number in range(len(items) - 1, -1, -1):
            one = f"{self._text(comma)} {items[number]}"
            rests[number] = self._rule(f"{one if listed[number][2] else f'({one})?'} {rests[number + 1]}")
        first = next((number for number, (_, _, required) in enumerate(listed) if required), len(items) - 1)
        ways = [f"{items[number]} {rests[number + 1]}" for number in range(first + 1)]
        if not any(required for _, _, required in listed):
            ways.append('""')
        return self._rule(" | ".join(ways))

    def _python(self, key: str, part: Any, root: Any) -> str:
        if _is_text(part, root):
            choices = _choices(part, root)
            quoted = " | ".join(self._text(f"'{choice}'") for choice in choices)
            return f"{self._text(f'{key}=')} {self._rule(quoted or PYTHON_STRING)}"
        if types_of(part, root) == {"boolean"}:
            return f'{self._text(f"{key}=")} ("True" | "False")'
        return f"{self._text(f'{key}=')} {self._json(part, root)}"

    def _braces(self, entry: Calls, schema: Any, root: Any, depth: int) -> str:
        """A value in Gemma's form."""
        types = types_of(schema, root)
        quote = self._text(entry.quote)
        if depth < MAX_DEPTH and types == {"object"}:
            inner = self._joined(
                resolved(schema, root),
                ",",
                lambda key, part: f"{self._text(f'{key}:')} {self._braces(entry, part, root, depth + 1)}",
            )
            return self._rule(f'"{{" {inner} "}}"')
        if depth < MAX_DEPTH and types == {"array"}:
            value = self._braces(entry, resolved(schema, root).get("items") or {}, root, depth + 1)
            return self._rule(f'"[" ({value} ("," {value})*)? "]"')
        if not types or "string" in types or depth >= MAX_DEPTH:
            return f"{quote} {self._text_to(entry.quote, schema, root)}"
        return self._json(schema, root)

    def _elements(self, entry: Calls, schema: Any, root: Any, depth: int) -> list[str]:
        made = []
        for key, part, required in _properties(resolved(schema, root)):
            one = self._rule(self._element(entry, key, part, root, depth))
            made.append(one if required else f"{one}?")
        return made

    def _element(self, entry: Calls, key: str, schema: Any, root: Any, depth: int) -> str:
        types = types_of(schema, root)
        opening, closing = self._text(f"{entry.quote}<{key}>"), f"{entry.quote}</{key}>"
        if depth < MAX_DEPTH and types == {"object"}:
            return " ".join([opening, *self._elements(entry, schema, root, depth + 1), self._text(closing)])
        if depth < MAX_DEPTH and types == {"array"}:
            items = resolved(schema, root).get("items") or {}
            one = self._rule(self._element(entry, "item", items, root, depth + 1))
            return f"{opening} {one}* {self._text(closing)}"
        if not types or "string" in types:
            return f"{opening} {self._text_to(closing, schema, root)}"
        return f"{opening} {self._json(schema, root)} {self._text(closing)}"

    # ---- pieces of a grammar ----

    def _rule(self, body: str) -> str:
        self._size += len(body)
        if self._size > MAX_BYTES:  # a schema that leads to itself twice doubles with each level
            raise GrammarError(f"the grammar of its calls has more than {MAX_BYTES:,} bytes")
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}: {body}\n")
        return name

    def _text(self, text: str) -> str:
        """A literal; control tokens by their ids."""
        made, place = [], 0
        for code in CODED.finditer(text):
            if code.start() > place:
                made.append(_literal(text[place : code.start()]))
            made.append(f"<[{self._ids[code[0]]}]>")
            place = code.end()
        if place < len(text):
            made.append(_literal(text[place:]))
        return " ".join(made) or '""'


PYTHON_STRING = "/'([^'\\\\\\n]|\\\\.)*'/"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _in_regex(text: str) -> str:
    return re.sub(r"([\"#$&'()*+,./:;=?@\[\\\]^`{|}~!-])", r"\\\1", text).replace("\n", "\\n")


def _id(entry: Calls) -> str:
    return "/[a-zA-Z0-9]{9}/" if entry.ids == "nine" else "/[a-zA-Z0-9_\\-]{1,40}/"


def _object_schema(entry: Calls, function: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The JSON schema of a call that is one object, entry `number` of the grammar's `anyOf`: references in the
    arguments lead to there."""
    properties: dict[str, Any] = {entry.id_key: {"type": "string", "pattern": "^[0-9]{1,3}$"}} if entry.id_key else {}
    properties[entry.name_key] = {"const": function["name"]}
    place = f"#/anyOf/{number}/properties/{entry.arguments_key}"
    properties[entry.arguments_key] = moved(function.get("parameters") or _NOTHING, place)
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _properties(schema: Any) -> list[tuple[str, Any, bool]]:
    """(name, schema, whether it must be there) of an object's properties."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping):
        return []
    required = schema.get("required")
    needed = set(required) if isinstance(required, list) else set()
    return [(str(key), part, key in needed) for key, part in properties.items()]


def _with_definitions(schema: Any, root: Any) -> Any:
    if not isinstance(schema, Mapping) or not isinstance(root, Mapping):
        return schema
    return {**{key: root[key] for key in ("$defs", "definitions") if key in root}, **schema}


def _is_text(schema: Any, root: Any) -> bool:
    types = types_of(schema, root)
    return not types or "string" in types


def _choices(schema: Any, root: Any) -> list[str]:
    """The texts that an enumeration allows; empty where any will do."""
    if not isinstance(schema, Mapping):
        return []
    schema = resolved(schema, root)
    if isinstance(schema.get("const"), str):
        return [schema["const"]]
    choices = schema.get("enum")
    return [str(choice) for choice in choices if isinstance(choice, str)] if isinstance(choices, list) else []


def _type_word(entry: Calls, schema: Any, root: Any, *, bare: bool) -> str:
    if 'string="' in entry.parameter:
        return "true" if bare else "false"
    types = types_of(schema, root)
    if bare:
        return "string"
    word = next(iter(sorted(types)))
    return "number" if word == "integer" else word
