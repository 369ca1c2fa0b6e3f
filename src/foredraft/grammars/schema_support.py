"""A JSON schema as somebody's tool gives it, made one that can be kept to.

What grammars cannot keep is left out and named: `uniqueItems`, `not`, `if`/`then`/`else`, patterns that look around,
formats that are not known (an annotation, by JSON Schema 2020-12, section 7.2.3). `oneOf` is taken as `anyOf`.
An object that does not say whether it is open has the properties that it names and no others: a model left free to
invent keys does. Where that could contradict another part of the schema (`allOf`, `required` names), it stays open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

LEFT_OUT = frozenset(
    {"uniqueItems", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "contains"}
    | {"minContains", "maxContains", "propertyNames", "unevaluatedProperties", "unevaluatedItems"}
    | {"$dynamicAnchor", "$recursiveAnchor"}
)
"""Keywords that only narrow what is allowed, and that llguidance does not know."""
FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid", "unknown"}
)
"""Those that llguidance keeps."""
_LOOKS_AROUND = re.compile(r"\(\?<?[=!]|\\[1-9]|\\k<")
"""Look-around and back-references: no regular language, or none that is compiled here."""
_COUNTS = ("minProperties", "maxProperties")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SCHEMAS = ("items", "additionalProperties", "additionalItems")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_OPENS = frozenset(
    {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"}
    | {"$dynamicRef", "$recursiveRef", "dependentSchemas", "dependencies", "if", "propertyNames"}
)
"""Beside these, the properties that are named may not be all."""


def taken(schema: Any) -> Any:
    """The schema as grammars keep it. Not for one beyond the limits of `limits.py`: this is recursive."""
    joined = _joined(schema)
    return _taken(schema, joined or frozenset(), closable=joined is not None)


def left_out(schema: Any, path: str = "") -> Iterator[str]:
    """What `taken` leaves out, a sentence each: "properties.tags: uniqueItems is not kept to."."""
    if not isinstance(schema, Mapping):
        return
    where = f"{path}: " if path else ""
    for name in schema:
        unkept = name in LEFT_OUT and not name.startswith("$") and schema[name] not in (False, None)
        if unkept or (name in _COUNTS and _drops_counts(schema)):
            yield f"{where}{name} is not kept to."
    if _drops_format(schema):
        yield f"{where}the format {str(schema['format'])[:40]!r} is not known, and not kept to."
    if _drops_pattern(schema):
        yield f"{where}the pattern looks around or back, and is not kept to."
    if isinstance(schema.get("oneOf"), list) and "discriminator" not in schema:
        yield f"{where}oneOf is taken as anyOf."
    for name, inner in _inside(schema):
        yield from left_out(inner, f"{path}.{name}" if path else name)


def _taken(schema: Any, joined: frozenset[int], *, closable: bool, whole: bool | None = None) -> Any:
    """`closable`: this is the whole of what is said of a value; `whole`: so it is for the values in it."""
    whole = closable if whole is None else whole
    if not isinstance(schema, Mapping):
        return schema
    result: dict[str, Any] = {}
    for name, value in schema.items():
        if name in LEFT_OUT or (name == "format" and _drops_format(schema)):
            continue
        if (name == "pattern" and _drops_pattern(schema)) or (name in _COUNTS and _drops_counts(schema)):
            continue
        if name in _MAPS and isinstance(value, Mapping):
            result[name] = {key: _taken(part, joined, closable=whole) for key, part in value.items()}
        elif name in _LISTS and isinstance(value, list):
            alone = whole if name in ("items", "prefixItems") else closable and not _composes(schema, name)
            result[name] = [_taken(part, joined, closable=alone, whole=whole) for part in value]
        elif name in _SCHEMAS:
            result[name] = _taken(value, joined, closable=whole)
        else:
            result[name] = value
    if closable and id(schema) not in joined and _names_all(schema):
        result.setdefault("type", "object")
        result["additionalProperties"] = False
    return result


def _names_all(schema: Mapping[str, Any]) -> bool:
    """Whether an object's properties can be taken for all that it may have."""
    properties, required = schema.get("properties"), schema.get("required", ())
    if not properties or not isinstance(properties, Mapping) or schema.keys() & _OPENS:
        return False
    if schema.get("unevaluatedProperties", False) is not False:
        return False
    if not isinstance(required, Sequence) or any(name not in properties for name in required):
        return False
    least = schema.get("minProperties", 0)
    return not isinstance(least, (int, float)) or least <= len(properties)


def _composes(schema: Mapping[str, Any], name: str) -> bool:
    """Whether the parts of a list of schemas say only a part of what is said of a value."""
    alone = len(schema[name]) == 1 if name == "allOf" else True
    return (
        not alone
        or "properties" in schema
        or any(other in schema for other in ("allOf", "anyOf", "oneOf", "$ref") if other != name)
    )


def _joined(schema: Any) -> frozenset[int] | None:
    """The schemas (by identity) that are referred to as a part of what is said of a value; None where one of them is
    not to be found, so that nothing can be said of the others."""
    wanted: list[str] = []
    waiting: list[tuple[Any, bool]] = [(schema, False)]
    while waiting:
        part, composed = waiting.pop()
        if not isinstance(part, Mapping):
            continue
        reference = part.get("$ref")
        if isinstance(reference, str) and (composed or part.keys() & {"properties", "allOf", "anyOf", "oneOf"}):
            wanted.append(reference)
        for path, inner in _inside(part):
            name = path.partition(".")[0]
            waiting.append((inner, name in ("allOf", "anyOf", "oneOf") and (composed or _composes(part, name))))
    found = [_pointed(schema, reference) for reference in wanted]
    return None if None in found else frozenset(map(id, found))


def _pointed(schema: Any, reference: str) -> Any:
    """What a `$ref` leads to; None where it is not in the schema."""
    if not reference.startswith("#"):
        return None
    for part in unquote(reference[1:]).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, list) and name.isdecimal() and int(name) < len(schema):
            schema = schema[int(name)]
        elif isinstance(schema, Mapping):
            schema = schema.get(name)
        else:
            return None
    return schema


def moved(schema: Any, to: str) -> Any:
    """A schema that will stand at the pointer `to` of another one ("#/anyOf/0"): its references lead to itself."""
    if isinstance(schema, list):
        return [moved(part, to) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    result = {name: moved(part, to) for name, part in schema.items()}
    reference = schema.get("$ref")
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        result["$ref"] = to + reference[1:]
    return result


def _inside(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas in a schema, with their paths. Those that are left out are not looked into."""
    for key in _MAPS:
        if isinstance(schema.get(key), Mapping):
            for name, part in schema[key].items():
                yield f"{key}.{name}", part
    for key in _SCHEMAS:
        if isinstance(schema.get(key), Mapping):
            yield key, schema[key]
    for key in _LISTS:
        if isinstance(schema.get(key), list):
            for number, part in enumerate(schema[key]):
                yield f"{key}.{number}", part


def _drops_format(schema: Mapping[str, Any]) -> bool:
    return isinstance(schema.get("format"), str) and schema["format"] not in FORMATS and _of_text(schema)


def _drops_pattern(schema: Mapping[str, Any]) -> bool:
    return isinstance(schema.get("pattern"), str) and _LOOKS_AROUND.search(schema["pattern"]) is not None


def _drops_counts(schema: Mapping[str, Any]) -> bool:
    """llguidance counts properties only where all that are named are required."""
    properties, required = schema.get("properties"), schema.get("required")
    names = properties if isinstance(properties, Mapping) else ()
    return any(name not in (required if isinstance(required, list) else ()) for name in names)


def _of_text(schema: Mapping[str, Any]) -> bool:
    """Whether a value may be a text: formats say something of texts alone."""
    kinds = schema.get("type", "string")
    return "string" in ([kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else ["string"])
