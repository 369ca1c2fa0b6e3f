"""What was wrong with a body, in one sentence, from what pydantic says of it.

Of a field that may be several things, pydantic lists why it is none of them, and puts the names of its own types into
the path. What somebody needs is the place in what was sent, and what could stand there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Place = tuple[str | int, ...]

_WANTED = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "literal_error": "{expected}",
    "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}",
    "string_too_short": "a text of at least {min_length} characters",
    "string_too_long": "a text of at most {max_length} characters",
}
_SHOWN = 60
"""Characters of what was sent that are repeated."""
_AHEAD = ("body", "query", "path", "header")


def sentence(errors: Sequence[Mapping[str, Any]], body: Any) -> tuple[str | None, str]:
    """(the parameter as a path or None for the whole body, the sentence) of a failed validation."""
    field = _field(errors[0])
    found = [(_place(error, body), error) for error in errors if _field(error) == field]
    place = max((where for where, _ in found), key=_farness)
    here = [error for where, error in found if where == place]
    name = ".".join(map(str, place)) or None
    subject, first = name or "The body", here[0]
    if first["type"] == "missing":
        return name, f"{subject} is missing."
    wanted = list(dict.fromkeys(said for error in here if (said := _wanted(error))))
    if not wanted:
        return name, f"{subject}: {first['msg'].removeprefix('Value error, ')}."
    return name, f"{subject} should be {' or '.join(wanted)}, not {_shown(first.get('input'))}."


def _field(error: Mapping[str, Any]) -> Any:
    parts = [part for part in error["loc"] if part not in _AHEAD]
    return parts[0] if parts else None


def _place(error: Mapping[str, Any], body: Any) -> Place:
    """Where in the body it is: without the names of types, which are not keys of what was sent."""
    where, at = list(error["loc"]), body
    if where and where[0] in _AHEAD[1:]:
        return tuple(where[1:])
    where = where[1:] if where and where[0] == "body" else where
    place: list[str | int] = []
    for number, part in enumerate(where):
        last = error["type"] == "missing" and number == len(where) - 1
        if (isinstance(at, dict) and part in at) or (
            isinstance(at, list) and isinstance(part, int) and 0 <= part < len(at)
        ):
            at = at[part]
        elif not last:
            continue
        place.append(part)
    return tuple(place)


def _farness(place: Place) -> tuple[int, list[int]]:
    """Who came farthest, came nearest to what was meant."""
    return len(place), [part if isinstance(part, int) else 0 for part in place]


def _wanted(error: Mapping[str, Any]) -> str:
    said = _WANTED.get(error["type"], "")
    numbers = {name: _plain(value) for name, value in error.get("ctx", {}).items()}
    return said.format(**numbers) if said else ""


def _plain(value: Any) -> Any:
    """A bound as people write it: 1, not 1.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object" if value else "an empty object"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
