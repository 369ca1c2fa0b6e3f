"""OpenAI's requests to questions, and answers to OpenAI's objects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Delta, Reasoning, ResponseParser
from foredraft.requests.generation_request import GenerationRequest
from foredraft.scheduling.logprobs import Alternative, TokenLogprob
from foredraft.scheduling.request import Generation
from foredraft.scheduling.stream import Piece
from foredraft.server.errors import RequestError
from foredraft.server.openai.schemas import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    ContentPart,
    ModelWorker,
    NamedTool,
    ResponseFormat,
)
from foredraft.server.pipeline import ANY_JSON
from foredraft.server.schemas import effort, idle_seconds

FINISH = {"eos": "stop", "stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}


def chat_question(body: ChatRequest) -> GenerationRequest:
    """What a chat completion asks for."""
    schema, grammar = wanted_form(body.response_format)
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or ()]
    choice = body.tool_choice.function.name if isinstance(body.tool_choice, NamedTool) else body.tool_choice or "auto"
    if choice == "required" and not tools:
        raise RequestError("tool_choice is required, but there are no tools.", param="tool_choice")
    if isinstance(body.tool_choice, NamedTool) and choice not in [tool["function"]["name"] for tool in tools]:
        raise RequestError(f"There is no tool {choice!r}.", param="tool_choice.function.name")
    variables: dict[str, Any] = dict(body.chat_template_kwargs or {})
    variables = {**effort(body.reasoning_effort), **variables}
    top = (body.top_logprobs or 0) if body.logprobs else None
    if body.top_logprobs and not body.logprobs:
        raise RequestError("top_logprobs needs logprobs: true.", param="top_logprobs")
    most = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    return GenerationRequest(
        model=body.model,
        messages=[template_message(message, f"messages.{i}") for i, message in enumerate(body.messages)],
        max_tokens=most,
        top_logprobs=top,
        schema=schema,
        grammar=grammar,
        tools=tools,
        tool_choice=choice,
        several_calls=body.parallel_tool_calls is not False,
        tool_format=body.tool_format,
        continue_last=body.continue_final_message,
        generation_prompt=body.add_generation_prompt is not False,
        truncate=body.truncation == "auto",
        template_variables=variables or None,
        **_shared(body),
    )


def completion_question(body: CompletionRequest, prompt: str | list[int]) -> GenerationRequest:
    """What a text completion asks for, one prompt of it."""
    scored = body.logprobs if body.echo else None
    if scored is not None and body.suffix:
        raise RequestError("With echo and logprobs there can be no suffix.", param="suffix")
    return GenerationRequest(
        model=body.model,
        prompt=prompt,
        suffix=body.suffix or "",
        max_tokens=body.max_tokens,
        top_logprobs=body.logprobs,
        prompt_logprobs=scored,
        **_shared(body),
    )


def prompts(body: CompletionRequest) -> list[str | list[int]]:
    """The prompts of a text completion, which may be many."""
    given: Any = body.prompt
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        return [given]
    if not given:
        raise RequestError("The prompt is empty.", param="prompt")
    return list(given)


def _shared(body: ModelWorker) -> dict[str, Any]:
    prediction = body.prediction
    stop = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    return {
        "sampling": body.sampling(),
        "speculation": body.speculative.params(),
        "draft": body.draft_model or "auto",
        "draft_required": body.draft_required,
        "stop": tuple(text for text in stop if text),
        "n": body.n or 1,
        "prediction": text_of(prediction.content, "prediction.content") if prediction is not None else "",
        "ttl_s": idle_seconds(body.ttl, body.keep_alive),
        "ignore_eos": body.ignore_eos,
    }


def wanted_form(form: ResponseFormat | None) -> tuple[Any, str]:
    """(JSON schema or None, grammar or "")."""
    if form is None or form.type == "text":
        return None, ""
    if form.type == "grammar":
        if not form.grammar:
            raise RequestError("The grammar is missing.", param="response_format.grammar")
        return None, form.grammar
    schema = form.json_schema.schema_ if form.json_schema is not None else None
    schema = form.schema_ if schema is None else schema
    if schema is None and form.type == "json_schema":
        raise RequestError("The schema is missing.", param="response_format.json_schema.schema")
    return (ANY_JSON if schema is None else schema), ""


def template_message(message: ChatMessage, place: str) -> dict[str, Any]:
    """A message as chat templates expect it."""
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    result: dict[str, Any] = {"role": role, "content": text_of(message.content, f"{place}.content")}
    if message.name is not None:
        result["name"] = message.name
    if message.tool_call_id is not None:
        result["tool_call_id"] = message.tool_call_id
    if message.reasoning_content:
        result["reasoning_content"] = message.reasoning_content
    if message.tool_calls:
        result["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    return result


def text_of(content: str | Sequence[ContentPart] | None, place: str) -> str:
    """The text of a message; parts that are not text are refused by their place."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for i, part in enumerate(content):
        text = part.text if part.text is not None else part.refusal
        if text is None:
            raise RequestError(
                f"Content of the type {part.type!r} cannot be read; only text can.", param=f"{place}.{i}.type"
            )
        texts.append(text)
    return "".join(texts)


# ---- answers ----


def finish_reason(answer: Generation, reader: ResponseParser) -> str:
    """OpenAI's word for how the answer ended."""
    if reader.calls and answer.stop_reason in ("eos", "stop", "length", "context"):
        return "tool_calls" if answer.stop_reason in ("eos", "stop") else "length"
    return FINISH.get(answer.stop_reason, "stop")


def message_of(reader: ResponseParser) -> dict[str, Any]:
    """The assistant's message."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": reader.content if reader.content or not reader.calls else None,
        "refusal": None,
    }
    if reader.reasoning:
        message["reasoning_content"] = reader.reasoning
    if reader.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _closed(call.arguments)}}
            for call in reader.calls
        ]
    return message


def delta_of(deltas: Sequence[Delta]) -> dict[str, Any]:
    """One chunk's delta."""
    delta: dict[str, Any] = {}
    calls: list[dict[str, Any]] = []
    for part in deltas:
        if isinstance(part, Content):
            delta["content"] = delta.get("content", "") + part.text
        elif isinstance(part, Reasoning):
            delta["reasoning_content"] = delta.get("reasoning_content", "") + part.text
        elif isinstance(part, CallStarted):
            call = {"index": part.index, "id": part.id, "type": "function"}
            calls.append({**call, "function": {"name": part.name, "arguments": ""}})
        elif isinstance(part, CallArguments):
            if calls and calls[-1]["index"] == part.index:
                calls[-1]["function"]["arguments"] += part.text
            else:
                calls.append({"index": part.index, "function": {"arguments": part.text}})
    if calls:
        delta["tool_calls"] = calls
    return delta


def chat_logprobs(pieces: Sequence[Piece]) -> dict[str, Any]:
    """OpenAI's logprobs object for some tokens."""
    entries = [
        {**_said(piece.logprob.chosen), "top_logprobs": [_said(other) for other in piece.logprob.top]}
        for piece in pieces
        if piece.logprob is not None
    ]
    return {"content": entries, "refusal": None}


def text_logprobs(pieces: Sequence[Piece], offset: int, end: TokenLogprob | None = None) -> dict[str, list[Any]]:
    """The older form, of text completions. `offset` is where the first token's text begins; `end` is the token that
    ended the answer: clients count on an entry for every token."""
    result = TextLogprobs()
    for piece in pieces:
        if piece.logprob is not None:
            result.add(piece.logprob, offset)
        offset += len(piece.text)
    if end is not None:
        result.add(end, offset)
    return result.as_dict()


class TextLogprobs:
    """OpenAI's older logprobs object: four lists of equal length."""

    def __init__(self) -> None:
        self._tokens: list[str] = []
        self._logprobs: list[float | None] = []
        self._top: list[dict[str, float] | None] = []
        self._offsets: list[int] = []

    def add(self, token: TokenLogprob, offset: int) -> None:
        """One token. Its own log probability is among the top ones, as OpenAI has it, beside those that were asked for.
        Of tokens with the same name, the likeliest counts."""
        top: dict[str, float] = {}
        for other in (*token.top, token.chosen):
            top.setdefault(_named(other.bytes), _finite(other.logprob))
        self._put(_named(token.chosen.bytes), _finite(token.chosen.logprob), top, offset)

    def first(self, piece: bytes) -> None:
        """The first token of a text, before which there is nothing to go by."""
        self._put(_named(piece), None, None, 0)

    def _put(self, name: str, logprob: float | None, top: dict[str, float] | None, offset: int) -> None:
        self._tokens.append(name)
        self._logprobs.append(logprob)
        self._top.append(top)
        self._offsets.append(offset)

    def as_dict(self) -> dict[str, list[Any]]:
        return {
            "tokens": self._tokens,
            "token_logprobs": self._logprobs,
            "top_logprobs": self._top,
            "text_offset": self._offsets,
        }


def _said(token: Alternative) -> dict[str, Any]:
    return {
        "token": token.bytes.decode("utf-8", "replace"),
        "logprob": _finite(token.logprob),
        "bytes": list(token.bytes),
    }


def _named(piece: bytes) -> str:
    """A token in the older form, which has no field for bytes: those of half a character are spelt out."""
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)


def _finite(logprob: float) -> float:
    """JSON has no -inf: OpenAI writes -9999.0 for it."""
    return max(logprob, -9999.0)


def _closed(arguments: str) -> str:
    """Arguments as JSON; those of an answer that was cut are left as they are."""
    text = arguments.strip()
    try:
        json.loads(text)
    except ValueError:
        return arguments
    return text
