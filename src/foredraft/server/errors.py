"""Every error as an HTTP answer: OpenAI's form, with the parameter named and what to do next.

{"error": {"message": "…", "type": "invalid_request_error", "param": "temperature", "code": "parameter", "hint": "…"}}

Other dialects' clients read other forms: `error_answer` gives each its own.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from foredraft.core.cancellation import GivenUpError
from foredraft.core.errors import (
    ContextOverflowError,
    EmptyPromptError,
    EngineDiedError,
    EngineError,
    ForedraftError,
    IncompatibleDraftError,
    LimitError,
    MemoryLimitError,
    ModelError,
    ModelNotFoundError,
    NonFiniteLogitsError,
    ParameterError,
)
from foredraft.models.infill import NoInfillError
from foredraft.requests.grammar import ConstraintError
from foredraft.runtime.errors import (
    ModelGivenUpError,
    ModelUnloadedError,
    QueueFullError,
    RuntimeClosedError,
    TextTooLongError,
    WrongKindError,
)
from foredraft.server.pools import BusyError
from foredraft.server.wording import sentence

LONGEST_MESSAGE = 2000


class RequestError(ForedraftError):
    """What was asked cannot be done, for a reason of the API rather than of the models. `param` is a path such as
    "messages.0.role"."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, hint: str = "", status: int = 400) -> None:
        super().__init__(message, hint=hint)
        self.param = param
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpError:
    """Status, type, parameter and code of an error over HTTP."""

    status: int
    type: str
    param: str | None
    code: str
    headers: Mapping[str, str]


def http_error(error: ForedraftError) -> HttpError:
    """Status, type, parameter and code of an error."""
    status, kind, param, code = 400, "invalid_request_error", None, error.code
    headers: dict[str, str] = {}
    if isinstance(error, RequestError):
        status, param = error.status, error.param
        kind = kind if status < 500 else "unavailable_error"
    elif isinstance(error, LimitError):
        status, param = error.status, error.param or None
        code = "context_length_exceeded" if error.code == ContextOverflowError.code else error.code
    elif isinstance(error, ParameterError):
        param = error.name
    elif isinstance(error, ConstraintError):
        param = error.param
    elif isinstance(error, NoInfillError):
        param = "suffix"
    elif isinstance(error, ContextOverflowError):
        param, code = "messages", "context_length_exceeded"
    elif isinstance(error, TextTooLongError):
        param = f"input.{error.index}"
    elif isinstance(error, WrongKindError):
        param = "model"
    elif isinstance(error, EmptyPromptError):
        param = "messages"
    elif isinstance(error, ModelNotFoundError):
        status, param = 404, "model"
    elif isinstance(error, IncompatibleDraftError):
        param, code = "draft_model", error.reason_code
    elif isinstance(error, (QueueFullError, BusyError)):
        status, kind = 503, "overloaded_error"
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, (RuntimeClosedError, ModelUnloadedError, GivenUpError, EngineDiedError)):
        status, kind = 503, "unavailable_error"
        headers["Retry-After"] = "1"
    elif isinstance(error, ModelGivenUpError):
        status, kind = 503, "unavailable_error"
        headers["Retry-After"] = str(error.seconds)
    elif isinstance(error, MemoryLimitError):
        status, kind, param = 503, "unavailable_error", "model"
    elif isinstance(error, ModelError):
        param = "model"
    elif isinstance(error, NonFiniteLogitsError):
        param = "model"  # its file is damaged, most likely
    elif isinstance(error, EngineError):
        status, kind = 500, "server_error"
    return HttpError(status, kind, param, code, headers)


def error_body(error: ForedraftError) -> dict[str, Any]:
    """The error object of OpenAI's API, with our hint in it."""
    said = http_error(error)
    body: dict[str, Any] = {
        "message": cut(error.message if not error.hint else f"{error.message} {error.hint}"),
        "type": said.type,
        "param": None if said.param is None else cut(said.param),
        "code": said.code,
        "hint": cut(error.hint),
    }
    reasons = {"message": error.why, "hint": error.hint_why}
    told = {part: reason.as_dict() for part, reason in reasons.items() if reason is not None}
    if told and len(json.dumps(told)) <= LONGEST_MESSAGE:  # for programs that word them in another language
        body["reasons"] = told
    if "Retry-After" in said.headers:  # in a stream that has begun there is no header any more
        body["retry_after"] = int(said.headers["Retry-After"])
    return {"error": body}


def cut(text: str) -> str:
    """What was wrong may have been a megabyte long, and no text at all (half of a pair of surrogates); what is said of
    it is not."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


LMSTUDIO_TYPES = {500: "internal_error", 501: "not_implemented"}
LMSTUDIO_MISSING = {"model": "model_not_found", "job_id": "job_not_found"}
"""What was not found, by the parameter that named it."""


def lmstudio_body(error: ForedraftError) -> dict[str, Any]:
    """The same with the type in the words of LM Studio's current REST."""
    said, body = http_error(error), error_body(error)
    kind = LMSTUDIO_TYPES.get(said.status)
    if said.status == 404:
        kind = LMSTUDIO_MISSING.get(said.param or "")
    body["error"]["type"] = kind or ("invalid_request" if said.status < 500 else "unknown")
    return body


ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}


def anthropic_body(error: ForedraftError, request_id: str = "") -> dict[str, Any]:
    """The error object of Anthropic's Messages API. A prompt that does not fit is said in the words by which its
    clients know that they must shorten the conversation."""
    status, body = http_error(error).status, error_body(error)
    message = body["error"]["message"]
    if isinstance(error, ContextOverflowError):
        message = f"prompt is too long: {error.prompt_tokens} tokens > {error.context - 1} maximum"
    elif error.code == ContextOverflowError.code:
        message = f"prompt is too long: {message}"
    kind = ANTHROPIC_TYPES.get(status, "invalid_request_error")
    result: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": message}}
    return result | ({"request_id": request_id} if request_id else {})


def anthropic_request_id() -> str:
    """What a client of Anthropic's names a request by: the header `request-id`."""
    return f"req_{secrets.token_hex(12)}"


def ollama_body(error: ForedraftError) -> dict[str, Any]:
    """Ollama's: a text, for its clients show what is there as it is."""
    message = error_body(error)["error"]["message"]
    if isinstance(error, ModelNotFoundError):
        nearest = f" Did you mean: {', '.join(error.nearest)}?" if error.nearest else ""
        message = cut(f"model '{error.name}' not found, try pulling it first.{nearest}")
    return {"error": message}


def error_answer(path: str, headers: Mapping[str, str], error: ForedraftError) -> JSONResponse:
    """An error in the form of the dialect that a request speaks, known by its path and headers."""
    said = http_error(error)
    more = dict(said.headers)
    if path.startswith("/v1/messages") or (path.startswith("/v1/") and "anthropic-version" in headers):
        more["request-id"] = anthropic_request_id()
        body = anthropic_body(error, more["request-id"])
    elif path.startswith("/api/v1/"):
        body = lmstudio_body(error)
    elif path.startswith("/api/") and not path.startswith(("/api/v0", "/api/v1", "/api/foredraft")):
        body = ollama_body(error)
    else:
        body = error_body(error)
    return JSONResponse(body, status_code=said.status, headers=more)


def _answer(request: Request, error: ForedraftError) -> JSONResponse:
    return error_answer(request.url.path, request.headers, error)


def install(app: FastAPI) -> None:
    """Make every failure of a route an answer in this form; nothing of the program's inside is shown."""

    @app.exception_handler(ForedraftError)
    async def ours(request: Request, error: ForedraftError) -> JSONResponse:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            detail = first.get("ctx", {}).get("error", "not JSON")
            return _answer(request, RequestError(f"The body is not JSON: {detail} (character {first['loc'][-1]})."))
        param, said = sentence(error.errors(), error.body)
        return _answer(request, RequestError(said, param=param))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message, hint = str(error.detail), ""
        if error.status_code == 404:
            message = f"There is nothing at {request.method} {request.url.path}."
            hint = await asyncio.to_thread(_nearest, app, request.url.path)
        elif error.status_code == 405:
            message = f"{request.url.path} does not take {request.method}."
        answer = _answer(request, RequestError(message, hint=hint, status=error.status_code))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        return _answer(request, EngineError("Something unexpected went wrong in the server; its log says what."))


def _nearest(app: FastAPI, path: str) -> str:
    import difflib

    known = sorted(app.openapi().get("paths", {}))
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
    if near:
        return f"Did you mean: {', '.join(near)}?"
    return "The API is at /v1 (OpenAI, Anthropic), /api/v0 and /api/v1 (LM Studio), /api (Ollama); /docs lists it."
