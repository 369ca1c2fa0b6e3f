"""Schemas as tools give them: what can be kept is kept, what cannot is named, and no keys are invented."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foredraft.grammars.constraints import GrammarConstraint, GrammarError, json_grammar
from foredraft.grammars.schema_support import left_out
from tests.grammars.test_limits import vocabulary

TEXT, BOOL = {"type": "string"}, {"type": "boolean"}


def accepts(schema: Any, value: Any) -> bool:
    """Whether the grammar of a schema has the text of a value, to its end."""
    constraint = GrammarConstraint(vocabulary(), json_grammar(schema))
    text = json.dumps(value).encode()
    for at, byte in enumerate(text):
        allowed = constraint.allowed(())
        if allowed is None or not allowed[byte]:
            return False
        constraint.commit([byte])
        if constraint.finished and at + 1 < len(text) and not constraint.allowed(())[text[at + 1]]:
            return False
    return constraint.finished


@pytest.mark.parametrize(
    ("schema", "fits", "not_fits", "said"),
    [
        ({"type": "string", "format": "path", "maxLength": 8}, "/a", "/23456789", "the format 'path' is not known"),
        ({"type": ["string", "null"], "format": "binary"}, None, 1, "the format 'binary' is not known"),
        ({"type": "string", "format": "date"}, "2020-01-31", "tomorrow", ""),
        ({"type": "integer", "format": "int32"}, 3, "3", ""),
        ({"type": "array", "items": BOOL, "uniqueItems": True}, [True, True], ["a"], "uniqueItems is not kept to"),
        ({"type": "array", "items": BOOL, "uniqueItems": False}, [True, True], ["a"], ""),
        ({"type": "string", "not": {"const": "a"}}, "a", 1, "not is not kept to"),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "type": "object"}, {"a": 1}, 1, "if is not kept to"),
        ({"type": "string", "pattern": "^(?!a).*$"}, "ab", 1, "the pattern looks around or back"),
        ({"oneOf": [TEXT, {"type": "string", "maxLength": 3}]}, "a", 1, "oneOf is taken as anyOf"),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, {"b": 1}, 1, "propertyNames is not kept to"),
        ({"properties": {"a": BOOL, "b": BOOL}, "minProperties": 2}, {"a": True}, 1, "minProperties is not kept to"),
    ],
)
def test_what_a_grammar_cannot_keep_is_left_out_and_named(schema: Any, fits: Any, not_fits: Any, said: str) -> None:
    assert accepts(schema, fits)
    assert not accepts(schema, not_fits)
    found = list(left_out(schema))
    assert any(sentence.startswith(said) for sentence in found) if said else found == []


def test_what_is_left_out_is_named_with_its_path() -> None:
    schema = {
        "properties": {"tags": {"type": "array", "uniqueItems": True}, "not": TEXT},
        "$defs": {"file": {"type": "string", "format": "path"}},
        "anyOf": [{"not": {}}],
        "enum": [{"uniqueItems": True}],
    }
    assert list(left_out(schema)) == [
        "properties.tags: uniqueItems is not kept to.",
        "$defs.file: the format 'path' is not known, and not kept to.",
        "anyOf.0: not is not kept to.",
    ]


OK = {"type": "object", "properties": {"ok": BOOL}}
EXTRA = {"ok": True, "extra": 1}


@pytest.mark.parametrize(
    "schema",
    [
        OK,
        {**OK, "required": ["ok"]},
        {"properties": {"ok": BOOL}},
        {"$defs": {"o": OK}, "$ref": "#/$defs/o"},
        {"$defs": {"o": OK}, "allOf": [{"$ref": "#/$defs/o"}]},
        {"anyOf": [OK, {"type": "null"}]},
        {**OK, "unevaluatedProperties": False},
    ],
)
def test_an_open_object_has_the_properties_that_it_names(schema: Any) -> None:
    assert accepts(schema, {"ok": True})
    assert not accepts(schema, EXTRA)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        {**OK, "additionalProperties": True},
        {**OK, "patternProperties": {"^e": {"type": "integer"}}},
        {**OK, "required": ["ok", "extra"]},
        {**OK, "minProperties": 2},
        {"allOf": [OK, {"type": "object", "properties": {"extra": {"type": "integer"}}}]},
        {**OK, "$defs": {"e": {"properties": {"extra": {"type": "integer"}}}}, "allOf": [{"$ref": "#/$defs/e"}]},
        {"$defs": {"o": {"properties": {"extra": {"type": "integer"}}}}, **OK, "$ref": "#/$defs/o"},
        {**OK, "anyOf": [{"properties": {"extra": {"type": "integer"}}}, {"required": ["ok"]}]},
    ],
)
def test_an_object_that_may_have_more_stays_open(schema: Any) -> None:
    assert accepts(schema, EXTRA)


def test_what_stands_in_a_constant_is_no_schema() -> None:
    value = {"not": 1, "format": "path", "properties": {"a": 1}}
    assert accepts({"const": value}, value)


@pytest.mark.parametrize("schema", [{"type": "objec"}, {"type": "string", "pattern": "(("}, {"$ref": "https://a.b/c"}])
def test_what_cannot_be_meant_is_still_refused(schema: Any) -> None:
    with pytest.raises(GrammarError):
        json_grammar(schema)
