"""Structured output: a JSON schema as the user typed it, read, checked, and made a grammar that answers must follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foredraft.core.errors import LimitError
from foredraft.formats.answer_grammar import left_out_of
from foredraft.grammars.constraints import GrammarError, json_grammar
from foredraft.server.limits import check_json, check_schema

EXAMPLE = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "year": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title", "year", "tags"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a schema cannot be used. `path` leads to the part at fault, `line` and `column` (from 1) to a slip in the
    JSON; empty and 0 where they do not apply."""

    reason: str
    path: str = ""
    line: int = 0
    column: int = 0


def fault_of(text: str) -> Fault | None:
    """What is wrong with a schema, or None. Compiles it: some milliseconds, not for the event loop."""
    try:
        json_grammar(_read(text))
    except json.JSONDecodeError as error:
        return Fault(error.msg, line=error.lineno, column=error.colno)
    except GrammarError as error:
        return Fault(error.reason, error.path)
    except LimitError as error:
        return Fault(error.message)
    return None


def unkept(text: str) -> list[str]:
    """What of a schema without fault its answers do not keep to, a sentence each."""
    return left_out_of({"": _read(text)})


def schema_of(text: str) -> Mapping[str, Any] | bool:
    """A typed schema; that of any object where nothing is typed. Raises `GrammarError` for what is no JSON, and
    `LimitError`."""
    try:
        schema: Mapping[str, Any] | bool | None = _read(text)
    except json.JSONDecodeError as error:
        raise GrammarError(f"not JSON: {error}") from None
    return {"type": "object"} if schema is None else schema


def _read(text: str) -> Any:
    if not text.strip():
        return None
    check_json(text.encode("utf-8", "surrogatepass"))
    schema = json.loads(text)
    check_schema(schema)
    # As it is sent to OpenAI's API: {"name": …, "schema": {…}}. What is pasted from there means the inner one.
    inner = schema.get("json_schema", schema) if isinstance(schema, dict) else schema
    if isinstance(inner, dict) and isinstance(inner.get("schema"), dict) and "type" not in inner:
        return inner["schema"]
    if schema is None:
        raise GrammarError("a schema is an object, not null")
    return schema
