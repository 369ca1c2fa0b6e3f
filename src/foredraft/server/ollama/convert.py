"""Ollama's requests to questions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foredraft.core.params import MAX_DRAFT, SpeculationParams
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note
from foredraft.server import limits
from foredraft.server.errors import RequestError
from foredraft.server.ollama.names import asked
from foredraft.server.ollama.schemas import Asking, ChatRequest, GenerateRequest, Message, Options
from foredraft.server.pipeline import ANY_JSON
from foredraft.server.schemas import effort, idle_seconds

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_IMAGES = "Images cannot be read here; only text can."


def chat_question(body: ChatRequest) -> GenerationRequest:
    """What a chat asks for."""
    tools = [tool.model_dump(exclude_none=True) | {"type": "function"} for tool in body.tools or ()]
    messages = [_message(message, f"messages.{i}") for i, message in enumerate(body.messages or ())]
    return GenerationRequest(messages=messages, tools=tools, truncate=body.truncate is not False, **_shared(body))


def generate_question(body: GenerateRequest) -> GenerationRequest:
    """What a generation asks for: an answer to the user, a text to go on with (`raw`), or a gap before `suffix`."""
    if body.images:
        raise RequestError(_IMAGES, param="images")
    if body.template:
        raise RequestError(
            "A template of a request is not read here.",
            param="template",
            hint="Write the prompt yourself with raw, or leave template out.",
        )
    if body.raw:
        for name in ("system", "context"):
            if getattr(body, name):
                raise RequestError(f"raw continues the prompt as it is: {name} has no place in it.", param=name)
        return GenerationRequest(prompt=body.prompt or "", suffix=body.suffix or "", **_shared(body))
    if body.suffix:
        if body.system:
            note("system: left out, a suffix is filled in without it.")
        return GenerationRequest(prompt=body.prompt or "", suffix=body.suffix, **_shared(body))
    messages = [{"role": "system", "content": body.system}] if body.system else []
    messages.append({"role": "user", "content": body.prompt or ""})
    return GenerationRequest(messages=messages, **_shared(body))


def _shared(body: Asking) -> dict[str, Any]:
    options = body.options or Options()
    stop = (options.stop,) if isinstance(options.stop, str) else tuple(options.stop or ())
    ttl = keep_seconds(body.keep_alive)
    return {
        "model": asked(body),
        "sampling": options.sampling(),
        "speculation": _speculation(body, options),
        "draft": body.draft_model or "auto",
        "draft_required": body.draft_required,
        "max_tokens": options.num_predict,
        "stop": tuple(text for text in stop if text),
        "schema": wanted_form(body.format),
        "top_logprobs": (body.top_logprobs or 0) if body.logprobs else None,
        "template_variables": effort(body.think) or None,
        "ttl_s": -1.0 if ttl == 0 else ttl,  # it would leave before it is asked; `memory.keep` says it afterwards
    }


def keep_seconds(keep_alive: float | str | None) -> float | None:
    """Idle seconds, None for ever, -1 where nothing is said."""
    return idle_seconds(None, keep_alive)


def _speculation(body: Asking, options: Options) -> SpeculationParams:
    params = body.speculative.params()
    if options.draft_num_predict is None:
        return params
    most = min(options.draft_num_predict, MAX_DRAFT)
    if most < options.draft_num_predict:
        note(f"options.draft_num_predict: {most}, no more are guessed in one round.")
    return replace(params, max_draft=most, min_draft=min(params.min_draft, most))


def wanted_form(form: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The JSON schema of an answer, None for free text."""
    if form in (None, ""):
        return None
    if form == "json":
        return ANY_JSON
    if isinstance(form, str):
        raise RequestError(f'format is {form[:40]!r}, but must be "json" or a JSON schema.', param="format")
    assert form is not None
    limits.check_schema(form, "format")
    return form


def _message(message: Message, place: str) -> dict[str, Any]:
    role = _ROLES.get(message.role.lower())
    if role is None:
        raise RequestError(
            f"{place}.role is {message.role[:40]!r}, but must be system, user, assistant or tool.",
            param=f"{place}.role",
        )
    if message.images:
        raise RequestError(f"{place}.images: {_IMAGES}", param=f"{place}.images")
    result: dict[str, Any] = {"role": role, "content": message.content or ""}
    if message.thinking:
        result["reasoning_content"] = message.thinking
    if message.tool_name:
        result["name"] = message.tool_name
    if message.tool_call_id:
        result["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        result["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call.function.arguments)},
            }
            for call in message.tool_calls
        ]
    return result


def _arguments(given: Mapping[str, Any] | str | None) -> str:
    return given if isinstance(given, str) else json.dumps(given or {}, ensure_ascii=False)
