"""Grammars of whole answers: a JSON schema, or calls of given tools, behind the thinking that comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from foredraft.formats.entries import Form
from foredraft.formats.forcing import calls_grammar, thought_rules
from foredraft.grammars.constraints import json_grammar, json_rule, lark_grammar
from foredraft.grammars.schema_support import left_out

MOST = 20
"""Most sentences about what of a schema is not kept."""


def schema_grammar(schema: Mapping[str, Any] | bool | None, *, thinking: bool, form: Form | None = None) -> str:
    """JSON by a schema (None: any object), after the end of the thinking where the prompt has begun one."""
    if not thinking:
        return json_grammar(schema)
    json_grammar(schema)  # words the fault of a bad schema
    return lark_grammar(
        f"start: thought answer\n{thought_rules(form)}"
        f"answer: {json_rule({'type': 'object'} if schema is None else schema)}\n"
    )


def tools_grammar(tools: Sequence[Mapping[str, Any]], form: Form, *, several: bool, thinking: bool) -> str:
    """One call (or several) of the given tools, as the model's template writes them."""
    whole = [_whole(tool) for tool in tools]
    return lark_grammar(calls_grammar(whole, form, several=several, thinking=thinking))


def left_out_of(schemas: Mapping[str, Any]) -> list[str]:
    """What of some schemas grammars do not keep, with their names as the beginning of the path."""
    found = (sentence for name, schema in schemas.items() for sentence in left_out(schema, name))
    return list(islice(found, MOST))


def _whole(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool whose arguments are an object, also where its schema does not say so."""
    function, parameters = tool["function"], tool["function"].get("parameters")
    if not parameters:
        return tool
    given = {"type": "object", **parameters}
    if given.get("properties") == {}:
        given.setdefault("additionalProperties", False)
    return {**tool, "function": {**function, "parameters": given}}
