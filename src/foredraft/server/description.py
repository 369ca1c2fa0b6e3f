"""The API's own description (OpenAPI), completed with what is the same everywhere: errors, streams, warnings.

FastAPI would describe errors that are never answered (422), and does not know of those that are. They are described
here for every route at once, whoever adds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from foredraft.server.lenient import HEADER

STATUSES = {
    400: "The request cannot be done: `param` and the message say why, `hint` what to do.",
    401: "The API key is missing or wrong.",
    403: "The page or the name may not call this server.",
    404: "There is no such model, or no such thing.",
    409: "It is loaded already, with other settings.",
    413: "The body is too large.",
    415: "The body is not JSON, and does not say that it is.",
    500: "The model or the server failed; its log says how.",
    501: "This is not served here.",
    503: "Too much is waiting, or the model is leaving: come again after `Retry-After` seconds.",
}
_ERROR = {
    "type": "object",
    "description": "An error in the form of the dialect: an object with a message; Ollama's is a text.",
    "required": ["error"],
    "properties": {
        "error": {
            "anyOf": [
                {
                    "type": "object",
                    "required": ["message", "type"],
                    "properties": {
                        "message": {"type": "string"},
                        "type": {"type": "string"},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"]},
                        "hint": {"type": "string"},
                    },
                },
                {"type": "string"},
            ]
        }
    },
}
EVENT: dict[str, Any] = {
    "type": "object",
    "description": "Each event of the stream: JSON in `data`, its kind in `event` where the dialect names kinds.",
    "required": ["data"],
    "properties": {"data": {"type": "string"}, "event": {"type": "string"}},
}
SSE = "text/event-stream", EVENT
LINE: dict[str, Any] = {"type": "object", "description": "Each line of the stream."}
_WARNINGS = {
    "description": "What of the request was left out, as a JSON list of sentences; not there where nothing was.",
    "schema": {"type": "string"},
}


class Described(FastAPI):
    """The application, with its whole description."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            api = super().openapi()
            schemas = api.setdefault("components", {}).setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["Error"] = _ERROR
            for methods in api["paths"].values():
                for operation in methods.values():
                    _complete(operation, schemas)
        return super().openapi()


def _complete(operation: dict[str, Any], schemas: Mapping[str, Any]) -> None:
    answers = operation.setdefault("responses", {})
    answers.pop("422", None)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    fields = schemas.get(body.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
    for status, described in answers.items():
        if status.startswith("2") and body:
            described.setdefault("headers", {})[HEADER] = _WARNINGS
        if status == "200" and "stream" in fields:
            kind, part = ("application/x-ndjson", LINE) if "Ollama" in operation.get("tags", ()) else SSE
            described.setdefault("content", {}).setdefault(kind, {"schema": part})
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for number, said in STATUSES.items():
        if body or number not in (409, 413, 415):
            answers.setdefault(str(number), {"description": said, "content": error})
