"""Calls of earlier turns as an entry of the table writes them, for templates that do not write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.formats.entries import Calls, parts
from foredraft.formats.values import as_json


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments as an object. Those that are no JSON object (cut by a limit, say) are wrapped in one, so that
    nothing of them is lost and any template can write them."""
    arguments = call.get("function", call).get("arguments")
    if isinstance(arguments, Mapping):
        return dict(arguments)
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    if isinstance(arguments, str):
        try:
            read = json.loads(arguments)
        except (ValueError, RecursionError):
            read = arguments
        return read if isinstance(read, dict) else {} if read is None else {"arguments": read}
    return {"arguments": arguments}


def written(entry: Calls, calls: Sequence[Mapping[str, Any]]) -> str:
    """Calls in OpenAI's form, as the model writes them."""
    made = [_call(entry, call, number) for number, call in enumerate(calls)]
    if entry.between is None:
        return entry.joint.join(f"{entry.open}{entry.begin}{text}{entry.end}" for text in made)
    return f"{entry.open}{entry.begin}{entry.between.join(made)}{entry.end}"


def _call(entry: Calls, call: Mapping[str, Any], number: int) -> str:
    name, arguments = str(call["function"]["name"]), arguments_of(call)
    call_id = str(call.get("id") or number)
    text = ""
    for kind, literal in parts(entry.call):
        if kind == "text":
            text += literal
        elif kind == "name":
            text += name
        elif kind == "id":
            text += call_id if not entry.name_in_id or name in call_id else f"functions.{name}:{number}"
        elif kind == "index":
            text += str(number + 1)
        elif kind == "json":
            text += as_json(arguments)
        elif kind == "object":
            first = {entry.id_key: str(number)} if entry.id_key else {}
            text += as_json({**first, entry.name_key: name, entry.arguments_key: arguments})
        elif kind == "keyed":
            text += as_json({name: arguments})
        elif kind == "parameters":
            text += "".join(_parameter(entry, key, value) for key, value in arguments.items())
        elif kind == "python":
            text += ", ".join(f"{key}={_python(value)}" for key, value in arguments.items())
        elif kind == "braces":
            text += _braces(entry, arguments)
        elif kind == "nested":
            text += "".join(_element(entry, key, value) for key, value in arguments.items())
    return text


def _parameter(entry: Calls, key: str, value: Any) -> str:
    bare = isinstance(value, str)
    text = ""
    for kind, literal in parts(entry.parameter):
        text += {
            "text": literal,
            "key": key,
            "type": _type(value, literal_true='string="' in entry.parameter),
            "value": value if bare else as_json(value),
        }.get(kind, "")
    return text


def _type(value: Any, *, literal_true: bool) -> str:
    if literal_true:
        return "true" if isinstance(value, str) else "false"
    kinds = ((bool, "boolean"), (str, "string"), ((int, float), "number"), (dict, "object"), (list, "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")


def _python(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return as_json(value) if isinstance(value, (dict, list)) else str(value)


def _braces(entry: Calls, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_braces(entry, inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_braces(entry, inner) for inner in value) + "]"
    return f"{entry.quote}{value}{entry.quote}" if isinstance(value, str) else as_json(value)


def _element(entry: Calls, key: str, value: Any) -> str:
    if isinstance(value, dict):
        inner = "".join(_element(entry, name, part) for name, part in value.items())
    elif isinstance(value, list):
        inner = "".join(_element(entry, "item", part) for part in value)
    else:
        inner = value if isinstance(value, str) else as_json(value)
    return f"{entry.quote}<{key}>{inner}{entry.quote}</{key}>"
