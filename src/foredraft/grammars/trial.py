"""Compile a grammar where it may end the process: the work of a child (`foredraft/child.py`).

The child has half the stack, for each byte of the grammar, of what the program takes afterwards: what it survives, the
program does.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from foredraft.core.deep_stack import on_deep_stack
from foredraft.grammars.limits import MAX_BYTES

STACK = 2**24
STACK_A_BYTE = 2**10
"""Bytes of stack for a grammar, and for each of its bytes. The greediest chains of rules were seen to take 393 bytes a
byte (`r0: r1`, names of three letters); nobody's code is built alike everywhere."""
STACK_TRIED = (STACK + STACK_A_BYTE * 2 * MAX_BYTES) // 2
_TOKEN = re.compile(r"<\[\d+\]>")
"""A control token in a grammar, by its id."""
_SEARCH_SECONDS = 1.0
"""How long the part of a schema that is at fault is looked for."""


def compiled(kind: str, text: str, style: Mapping[str, Any]) -> dict[str, str]:
    """{"grammar", "fault", "path"} of a "schema" or a "lark" grammar; `fault` is empty where it can be used."""
    return on_deep_stack((STACK + STACK_A_BYTE * len(text)) // 2, lambda: _compiled(kind, text, style))


def first_line(message: str) -> str:
    """The first line of what llguidance says, which is the cause; the rest shows the grammar."""
    return message.strip().splitlines()[0][:300] if message.strip() else "not a grammar"


def _compiled(kind: str, text: str, style: Mapping[str, Any]) -> dict[str, str]:
    from llguidance import LLMatcher

    path = ""
    tried = ""
    if kind == "lark":
        grammar = LLMatcher.grammar_from_lark(text)
        # Token ids are those of the model, which is not here: any will do.
        tried = LLMatcher.grammar_from_lark(_TOKEN.sub("<[1]>", text))
        fault = _complaint(LLMatcher.validate_grammar(tried))
    else:
        fault, grammar = _fault(text, style)
        if fault:
            schema = json.loads(text)
            path, fault = _smallest_fault(schema, fault, schema, style, time.monotonic() + _SEARCH_SECONDS)
    return {"grammar": grammar, "fault": fault or _fault_in_use(tried or grammar), "path": path}


def _fault_in_use(grammar: str) -> str:
    """What goes wrong up to the first token. Validation leaves the dearest part of compiling out."""
    from llguidance import LLMatcher, LLTokenizer

    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0)
    if not matcher.is_error():
        matcher.compute_ff_tokens()
        if not matcher.is_stopped():
            matcher.compute_bitmask()
    return first_line(matcher.get_error()) if matcher.is_error() else ""


def _complaint(said: str) -> str:
    return "" if not said or said.startswith("WARNING") else first_line(said)


def _fault(text: str, style: Mapping[str, Any]) -> tuple[str, str]:
    """(why a schema cannot be used or "", its grammar)."""
    from llguidance import LLMatcher

    try:
        grammar = LLMatcher.grammar_from_json_schema(text, overrides=dict(style))
        return _complaint(LLMatcher.validate_grammar(grammar)), grammar
    except (ValueError, TypeError) as error:
        return str(error) or "not a schema", ""


def _smallest_fault(
    schema: Any, reason: str, root: Any, style: Mapping[str, Any], until: float, path: str = ""
) -> tuple[str, str]:
    """(path, reason) of the innermost part of a schema that is at fault by itself, as far as there is time to look."""
    if isinstance(schema, Mapping):
        definitions = {key: root[key] for key in ("$defs", "definitions") if isinstance(root, Mapping) and key in root}
        for name, part in _parts(schema):
            if time.monotonic() > until:
                break
            shown = {**part, **definitions} if isinstance(part, Mapping) else part
            if not isinstance(shown, (Mapping, bool)):
                inner = f"a schema is an object, not {json.dumps(shown)[:40]}"
            else:
                inner = _fault(json.dumps(shown), style)[0]
            if inner:
                return _smallest_fault(part, inner, root, style, until, f"{path}.{name}" if path else name)
    return path, reason


def _parts(schema: Mapping[str, Any]) -> list[tuple[str, Any]]:
    parts: list[tuple[str, Any]] = []
    for key in ("properties", "patternProperties"):
        if isinstance(schema.get(key), Mapping):
            parts += [(f"{key}.{name}", part) for name, part in schema[key].items()]
    for key in ("items", "additionalProperties", "not", "if", "then", "else"):
        if key in schema:
            parts.append((key, schema[key]))
    for key in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if isinstance(schema.get(key), list):
            parts += [(f"{key}.{number}", part) for number, part in enumerate(schema[key])]
    return parts
