"""/docs: every endpoint on one page, made of the API's own description. No script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color-scheme: light dark; margin: 2em auto; max-width: 60em }
summary { cursor: pointer; padding: .25em 0 } code { font-size: 1em } table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #8885; padding: .2em .6em .2em 0; vertical-align: top } h2 { margin-top: 2em }
"""


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs; the description itself is at /openapi.json. Both off the event loop: making the
    description takes more than a tenth of a second, the first time."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()), headers={"Content-Security-Policy": POLICY})

    @app.get("/openapi.json", include_in_schema=False)
    def description() -> JSONResponse:
        return JSONResponse(app.openapi())


def page(api: Mapping[str, Any]) -> str:
    """An OpenAPI description as HTML."""
    groups: dict[str, list[str]] = {}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["Others"])[0]
            groups.setdefault(tag, []).append(_operation(api, path, method, operation))
    info = api["info"]
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(parts)}" for tag, parts in groups.items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}: API</title>'
        f"<style>{_STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f'<p>{escape(info.get("description", ""))}</p><p><a href="/openapi.json">openapi.json</a></p>{body}</html>'
    )


def _operation(api: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> str:
    rows = [_row(p["name"], f"{p['in']}: {_type(api, p['schema'])}", p) for p in operation.get("parameters", ())]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    rows += _fields(api, content.get("schema", {}))
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    said = operation.get("description") or operation.get("summary", "")
    return f"<details><summary><code>{method.upper()} {escape(path)}</code> {escape(said)}</summary>{table}</details>"


def _fields(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    found = _resolved(api, schema)
    required = found.get("required", ())
    for name, field in found.get("properties", {}).items():
        yield _row(name + (" *" if name in required else ""), _type(api, field), field)


def _row(name: str, kind: str, field: Mapping[str, Any]) -> str:
    said = field.get("description", "")
    if "default" in field and field["default"] not in (None, ""):
        said = f"{said} Default: {field['default']}".strip()
    return f"<tr><td><code>{escape(name)}</code></td><td>{escape(kind)}</td><td>{escape(said)}</td></tr>"


def _type(api: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    found = _resolved(api, schema)
    if "enum" in found:
        return " | ".join(map(str, found["enum"]))
    if "const" in found:
        return str(found["const"])
    if "anyOf" in found:
        return " | ".join(dict.fromkeys(_type(api, option) for option in found["anyOf"]))
    if found.get("type") == "array":
        return f"list of {_type(api, found.get('items', {}))}"
    return str(found.get("type", "any"))


def _resolved(api: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    return api["components"]["schemas"][reference.rpartition("/")[2]] if reference else schema
