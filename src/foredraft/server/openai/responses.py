"""POST /v1/responses, without memory: every request brings its whole conversation."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from foredraft.core.errors import ForedraftError
from foredraft.scheduling.answer import Generation
from foredraft.scheduling.events import Finished, NewPieces
from foredraft.server import limits, statistics
from foredraft.server.answers import read_whole, results
from foredraft.server.asking import ANY_JSON, Asked, Question, ask
from foredraft.server.bodies import LimitedRoute
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError, error_body
from foredraft.server.lenient import Lax, Most, Number, Schema, as_field, entries
from foredraft.server.openai.schemas import NamedFunction
from foredraft.server.reading import AnswerReader, CallArguments, CallStarted, Content, Reasoning
from foredraft.server.schemas import DraftControl, Sampling, effort, idle_seconds
from foredraft.server.sessions import Session, of_session
from foredraft.server.sse import EventStream, event, while_connected

router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=LimitedRoute)


class Part(Lax):
    type: str
    text: str | None = None


class Item(Lax):
    """A message, a call of a tool, or what a tool gave."""

    type: str = "message"
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Annotated[str | list[Part] | None, limits.at_most(limits.PARTS, "input.content")] = None
    call_id: str | None = None
    name: str | None = None
    arguments: Annotated[str | None, limits.arguments("input.arguments")] = None
    output: Annotated[str | list[Part] | None, limits.at_most(limits.PARTS, "input.output")] = None


class FunctionTool(Schema):
    type: str = "function"
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class TextFormat(Schema):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: Annotated[dict[str, Any] | bool | None, limits.schema("text.format.schema")] = Field(
        default=None, alias="schema"
    )
    strict: bool | None = None


class TextSettings(Schema):
    format: TextFormat | None = None


class ReasoningSettings(Schema):
    effort: str | bool | None = None


class NamedChoice(NamedFunction):
    type: Literal["function"] = "function"


class ResponsesRequest(Sampling, DraftControl, Session):
    model: str = ""
    input: Annotated[
        str | Annotated[list[Item], Field(min_length=1, fail_fast=True)],
        entries(Item, "input", content=Part, output=Part),
        limits.at_most(limits.MESSAGES, "input"),
    ]
    instructions: str | None = None
    stream: bool | None = False
    max_output_tokens: Most = None
    tools: Annotated[list[FunctionTool] | None, limits.tools()] = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = True
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    previous_response_id: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    ttl: Number | None = None


@router.post("/responses", response_model=None)
async def responses(body: ResponsesRequest, request: Request, services: ServicesOf) -> Response:
    """Answer a conversation in the form of OpenAI's Responses; nothing is kept."""
    asked = await while_connected(request, ask(services, of_session(_question(body), request, body)))
    writer = _Writer(body, asked)
    if body.stream:
        return EventStream(writer.events(), ping_s=services.settings.ping_s)
    (answer,) = await results(request, asked)
    read_whole(asked.choices[0], answer)
    return JSONResponse(writer.finished(answer))


def _question(body: ResponsesRequest) -> Question:
    if body.previous_response_id is not None:
        raise RequestError(
            "Responses are not kept here.", param="previous_response_id", hint="Send the whole conversation as input."
        )
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    items: list[Item] = [Item(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    for i, item in enumerate(items):
        messages.append(_message(item, f"input.{i}"))
    tools = []
    for i, tool in enumerate(body.tools or ()):
        if tool.type != "function" or not tool.name:
            raise RequestError(f"Tools of the type {tool.type!r} are not served here.", param=f"tools.{i}.type")
        function = tool.model_dump(exclude={"type"}, exclude_none=True)
        tools.append({"type": "function", "function": function})
    choice = body.tool_choice.name if isinstance(body.tool_choice, NamedChoice) else body.tool_choice or "auto"
    if choice == "required" and not tools:
        raise RequestError("tool_choice is required, but there are no tools.", param="tool_choice")
    variables = effort(body.reasoning.effort) if body.reasoning is not None else {}
    return Question(
        model=body.model,
        messages=messages,
        sampling=body.sampling(),
        speculation=body.speculative.params(),
        draft=body.draft_model or "auto",
        draft_required=body.draft_required,
        max_tokens=body.max_output_tokens,
        schema=_schema(body.text),
        tools=tools,
        tool_choice=choice,
        several_calls=body.parallel_tool_calls is not False,
        truncate=body.truncation == "auto",
        template_variables=variables or None,
        ttl_s=idle_seconds(body.ttl, None),
    )


def _schema(text: TextSettings | None) -> Any:
    form = text.format if text is not None else None
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return ANY_JSON
    if form.schema_ is None:
        raise RequestError("The schema is missing.", param="text.format.schema")
    return form.schema_


def _message(item: Item, place: str) -> dict[str, Any]:
    """An item as a message of the chat template."""
    if item.type == "function_call":
        function = {"name": item.name or "", "arguments": item.arguments or "{}"}
        call = {"id": item.call_id or "", "type": "function", "function": function}
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    if item.type == "function_call_output":
        return {"role": "tool", "content": _text(item.output, f"{place}.output"), "tool_call_id": item.call_id or ""}
    if item.type == "reasoning":
        return {"role": "assistant", "content": ""}
    if item.type != "message" or item.role is None:
        raise RequestError(f"Items of the type {item.type!r} cannot be read.", param=f"{place}.type")
    role = "system" if item.role == "developer" else item.role
    return {"role": role, "content": _text(item.content, f"{place}.content")}


def _text(content: str | list[Part] | None, place: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    texts = []
    for i, part in enumerate(content):
        if part.text is None:
            raise RequestError(
                f"Content of the type {part.type!r} cannot be read; only text can.", param=f"{place}.{i}.type"
            )
        texts.append(part.text)
    return "".join(texts)


class _Writer:
    """Writes one response: whole, or as OpenAI's events."""

    def __init__(self, body: ResponsesRequest, asked: Asked) -> None:
        self._body, self._asked = body, asked
        self._id = f"resp_{secrets.token_hex(16)}"
        self._created = int(time.time())
        self._number = 0
        self._ids = {kind: f"{kind}_{secrets.token_hex(12)}" for kind in ("rs", "msg")}

    def finished(self, answer: Generation) -> dict[str, Any]:
        """The whole response."""
        cut = answer.stop_reason in ("length", "context")
        spent = statistics.usage([answer], reasoning_tokens=self._reader.reasoning_tokens)
        details = spent["completion_tokens_details"]
        result = self._head("incomplete" if cut else "completed", self._output(self._reader, cut))
        result["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        result["usage"] = {
            "input_tokens": spent["prompt_tokens"],
            "input_tokens_details": spent["prompt_tokens_details"],
            "output_tokens": spent["completion_tokens"],
            "output_tokens_details": details,
            "total_tokens": spent["total_tokens"],
        }
        result["stats"], result["timings"] = statistics.stats(answer), statistics.timings(answer)
        result |= as_field(self._asked.warnings)
        if self._body.speculative.explain:
            result["explain"] = {**statistics.explanation(answer), "origins": statistics.origins(answer.pieces)}
        return result

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The response as it is written."""
        open_items: dict[str, int] = {}
        try:
            yield self._event("response.created", response=self._head("in_progress", []))
            yield self._event("response.in_progress", response=self._head("in_progress", []))
            async for happened in self._asked.choices[0].events():
                if isinstance(happened, NewPieces):
                    for delta in self._reader.read(happened.pieces):
                        for chunk in self._delta(delta, open_items):
                            yield chunk
                elif isinstance(happened, Finished):
                    for delta in self._reader.end():
                        for chunk in self._delta(delta, open_items):
                            yield chunk
                    answer = happened.generation
                    whole = self.finished(answer)
                    for chunk in self._closing(whole["output"], open_items):
                        yield chunk
                    yield self._event(f"response.{whole['status']}", response=whole)
        except ForedraftError as error:
            said = error_body(error)["error"]
            yield self._event("error", message=said["message"], code=said["code"], param=said["param"])
        finally:
            self._asked.cancel()

    @property
    def _reader(self) -> AnswerReader:
        return self._asked.choices[0].reader

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **fields}, kind)

    def _head(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "model": self._asked.model_id,
            "output": output,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "tool_choice": "auto" if body.tool_choice is None else body.model_dump()["tool_choice"],
            "tools": body.model_dump()["tools"] or [],
            "store": False,
            "usage": None,
        }

    def _output(self, reader: AnswerReader, cut: bool) -> list[dict[str, Any]]:
        status = "incomplete" if cut else "completed"
        output: list[dict[str, Any]] = []
        if reader.reasoning:
            content = [{"type": "reasoning_text", "text": reader.reasoning}]
            output.append({"id": self._ids["rs"], "type": "reasoning", "summary": [], "content": content})
        if reader.content or not reader.calls:
            output.append(self._message_item(reader.content, status))
        output += [
            {
                "id": f"fc_{call.id}",
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "status": status,
            }
            for call in reader.calls
        ]
        return output

    def _message_item(self, text: str, status: str) -> dict[str, Any]:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        content = [part] if status != "in_progress" else []
        return {"id": self._ids["msg"], "type": "message", "role": "assistant", "status": status, "content": content}

    def _delta(self, delta: object, open_items: dict[str, int]) -> list[bytes]:
        """The events of one piece, opening its item first where it is new."""
        chunks: list[bytes] = []
        if isinstance(delta, Content):
            key = self._ids["msg"]
            if key not in open_items:
                open_items[key] = len(open_items)
                item = self._message_item("", "in_progress")
                chunks.append(self._added(open_items[key], item))
                part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
                chunks.append(self._at("response.content_part.added", key, open_items, content_index=0, part=part))
            more = {"content_index": 0, "delta": delta.text, "logprobs": []}
            chunks.append(self._at("response.output_text.delta", key, open_items, **more))
        elif isinstance(delta, Reasoning):
            key = self._ids["rs"]
            if key not in open_items:
                open_items[key] = len(open_items)
                chunks.append(self._added(open_items[key], {"id": key, "type": "reasoning", "summary": []}))
            more = {"content_index": 0, "delta": delta.text}
            chunks.append(self._at("response.reasoning_text.delta", key, open_items, **more))
        elif isinstance(delta, CallStarted):
            key = f"fc_{delta.id}"
            open_items[key] = len(open_items)
            item = {"id": key, "type": "function_call", "call_id": delta.id, "name": delta.name, "arguments": ""}
            chunks.append(self._added(open_items[key], {**item, "status": "in_progress"}))
        elif isinstance(delta, CallArguments):
            key = f"fc_{self._reader.calls[delta.index].id}"
            chunks.append(self._at("response.function_call_arguments.delta", key, open_items, delta=delta.text))
        return chunks

    def _closing(self, output: list[dict[str, Any]], open_items: dict[str, int]) -> list[bytes]:
        """The events that end every open item."""
        chunks = []
        for item in output:
            key = item["id"]
            if key not in open_items:
                open_items[key] = len(open_items)
                chunks.append(self._added(open_items[key], item))
            if item["type"] == "message":
                part = item["content"][0]
                text = {"content_index": 0, "text": part["text"], "logprobs": []}
                chunks.append(self._at("response.output_text.done", key, open_items, **text))
                chunks.append(self._at("response.content_part.done", key, open_items, content_index=0, part=part))
            elif item["type"] == "function_call":
                done = {"arguments": item["arguments"], "name": item["name"]}
                chunks.append(self._at("response.function_call_arguments.done", key, open_items, **done))
            index = open_items[key]
            chunks.append(self._event("response.output_item.done", output_index=index, item=item))
        return chunks

    def _added(self, index: int, item: dict[str, Any]) -> bytes:
        return self._event("response.output_item.added", output_index=index, item=item)

    def _at(self, kind: str, item_id: str, open_items: dict[str, int], **fields: Any) -> bytes:
        return self._event(kind, item_id=item_id, output_index=open_items[item_id], **fields)
