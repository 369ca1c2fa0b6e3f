"""docs/reference/rest.md: every endpoint with its fields, from the API's own description (OpenAPI)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from foredraft.runtime.runtime import Runtime
from foredraft.server.app import DESCRIPTION, create_app
from foredraft.server.context import Services
from foredraft.server.description import STATUSES
from tools.reference.markdown import code, table

_PREFIX = "#/components/schemas/"
INTRODUCTION = f"""# REST

{DESCRIPTION}

A running server has the same at `/openapi.json`, and as a page at `/docs`. What the statistics mean, and what differs
from the originals, is in [statistics and differences](api.md). Fields marked * must be given.

"""


def page() -> str:
    runtime = Runtime(_nothing_to_load)
    try:
        api = create_app(Services(runtime)).openapi()
    finally:
        runtime.close_now()
    groups: dict[str, list[str]] = {}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            groups.setdefault((operation.get("tags") or ["Others"])[0], []).append(
                _operation(api, path, method, operation)
            )
    parts = [INTRODUCTION]
    for name, operations in groups.items():
        parts += [f"## {name}\n", *operations]
    parts += ["## Statuses\n", table(("status", "when"), ((str(number), said) for number, said in STATUSES.items()))]
    parts += ["## Objects\n"]
    for name in sorted(_named_in(api), key=lambda name: (_title(name).lower(), name)):
        schema = api["components"]["schemas"][name]
        said = schema.get("description", "")
        parts += [f"### {_title(name)}\n", *([f"{said}\n"] if said else []), _fields(schema)]
    return "\n".join(parts)


def _nothing_to_load(*given: Any) -> Any:
    raise NotImplementedError("only the description is wanted")


def _named_in(api: Mapping[str, Any]) -> set[str]:
    """Objects that are fields of a request, or of such objects."""
    schemas, found = api["components"]["schemas"], set()
    bodies = {
        _name(operation["requestBody"]["content"].get("application/json", {}).get("schema", {}))
        for methods in api["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }
    waiting = [schemas[name] for name in bodies if name]
    while waiting:
        for name in _references(waiting.pop()):
            if name not in found:
                found.add(name)
                waiting.append(schemas[name])
    return found


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield _name(part)
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _operation(api: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    schemas = api["components"]["schemas"]
    said = operation.get("description") or operation.get("summary", "")
    parameters = table(
        ("parameter", "in", "type", "what"),
        (
            (
                _field_name(p["name"], required=p.get("required", False)),
                p["in"],
                _type(p["schema"]),
                _said(p["schema"], p),
            )
            for p in operation.get("parameters", ())
            if p["in"] != "header"
        ),
    )
    body = operation.get("requestBody", {}).get("content", {})
    name = _name(body.get("application/json", {}).get("schema", {}))
    fields = _fields(schemas[name]) if name else ""
    return "\n".join([f"### {method.upper()} {path}\n", f"{said}\n", *filter(None, (parameters, fields))])


def _fields(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = (
        (_field_name(name, required=name in required), _type(field), _said(field, field))
        for name, field in schema.get("properties", {}).items()
    )
    return table(("field", "type", "what"), rows)


def _field_name(name: str, *, required: bool) -> str:
    return code(name) + (" *" if required else "")


def _said(schema: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    said = described.get("description", "")
    default = schema.get("default")
    if default in (None, "", []) or isinstance(default, dict):
        return str(said)
    return f"{said} Default: {code(str(default).lower() if isinstance(default, bool) else default)}".strip()


def _type(schema: Mapping[str, Any]) -> str:
    if name := _name(schema):
        return f"[{_title(name)}](#{_title(name).lower().replace(' ', '-').replace('(', '').replace(')', '')})"
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if "anyOf" in schema or "oneOf" in schema:
        options = schema.get("anyOf") or schema.get("oneOf") or ()
        kinds = dict.fromkeys(_type(option) for option in options if option.get("type") != "null")
        return " or ".join(kinds)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = [f"{sign} {schema[key]:g}" for sign, key in (("≥", "minimum"), ("≤", "maximum")) if key in schema]
    return " ".join([str(schema.get("type", "any")), *bounds])


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).removeprefix(_PREFIX)


def _title(name: str) -> str:
    """Objects of several dialects have one name: then FastAPI puts the module in front."""
    module, _, last = name.rpartition("__")
    where = [part for part in module.split("__") if part not in ("foredraft", "server", "schemas", "types")]
    return f"{last} ({' '.join(where)})" if module else last
