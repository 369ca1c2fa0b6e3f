"""Schemas and grammars that lead from one definition to the next, or into each other, as often as one likes.

Eight of these kinds ended the process: llguidance recurses once a rule. {name: function of a length} to what an API
request carries: ("schema", a schema) or ("lark", a grammar's text).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kind = Callable[[int], tuple[str, Any]]


def _definitions(link: Callable[[dict[str, str]], dict[str, Any]]) -> Kind:
    def made(length: int) -> tuple[str, Any]:
        definitions = {f"d{i}": link({"$ref": f"#/$defs/d{i + 1}"}) for i in range(length - 1)}
        definitions[f"d{length - 1}"] = {"type": "string"}
        return "schema", {"$defs": definitions, "$ref": "#/$defs/d0"}

    return made


def _nested(around: Callable[[Any], Any]) -> Kind:
    def made(length: int) -> tuple[str, Any]:
        schema: Any = {"type": "integer"}
        for _ in range(length):
            schema = around(schema)
        return "schema", schema

    return made


def _lark(rule: Callable[[int, int], str], start: str) -> Kind:
    def made(length: int) -> tuple[str, Any]:
        return "lark", f"start: {start}0\n" + "".join(
            f"{start}{i}: {rule(i, length)}\n" for i in range(length)
        ) + f'{start}{length}: "x"\n'

    return made


CHAINS: dict[str, Kind] = {
    "object $ref": _definitions(lambda r: {"type": "object", "properties": {"a": r}, "required": ["a"]}),
    "items $ref": _definitions(lambda r: {"type": "array", "items": r}),
    "prefixItems $ref": _definitions(lambda r: {"type": "array", "prefixItems": [r]}),
    "additionalProperties $ref": _definitions(lambda r: {"type": "object", "additionalProperties": r}),
    "anyOf $ref": _definitions(lambda r: {"anyOf": [r, {"type": "null"}]}),
    "allOf $ref": _definitions(lambda r: {"allOf": [r]}),
    "plain $ref": _definitions(lambda r: dict(r)),
    "$ref in nested anyOf": _definitions(lambda r: {"anyOf": [{"anyOf": [{"anyOf": [{"anyOf": [r]}]}]}]}),
    "nested objects": _nested(lambda s: {"type": "object", "properties": {"a": s}, "required": ["a"]}),
    "nested items": _nested(lambda s: {"type": "array", "items": s}),
    "nested anyOf": _nested(lambda s: {"anyOf": [s, {"type": "null"}]}),
    "rules": _lark(lambda i, _: f"r{i + 1}", "r"),
    "optional rules": _lark(lambda i, _: f"r{i + 1}?", "r"),
    "rules in a row": _lark(lambda i, _: f'"a" r{i + 1} "b"', "r"),
    "terminals": _lark(lambda i, _: f'"a" T{i + 1}', "T"),
    "parentheses": lambda length: ("lark", "start: " + "(" * length + '"x"' + ")" * length + "\n"),
    "alternatives": lambda length: ("lark", "start: " + " | ".join(f'"w{i}"' for i in range(length)) + "\n"),
    "optional properties": lambda length: (
        "schema",
        {"type": "object", "properties": {f"property{i}": {"type": "string"} for i in range(length)}},
    ),
}
