"""POST /v1/messages and its count of tokens."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from foredraft.core.errors import ForedraftError
from foredraft.core.stats import GenerationStats
from foredraft.formats.response_parser import ResponseParser
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note
from foredraft.runtime.events import Finished, NewPieces, PromptProgress
from foredraft.scheduling.request import Generation
from foredraft.server import statistics
from foredraft.server.answers import read_whole, results
from foredraft.server.anthropic.blocks import BlockWriter, blocks, stop
from foredraft.server.anthropic.convert import question_of
from foredraft.server.anthropic.models import model_for, with_request_id
from foredraft.server.anthropic.schemas import Conversation, MessageRequest
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import anthropic_body, anthropic_request_id
from foredraft.server.pipeline import Submitted, submit
from foredraft.server.pipeline import count_tokens as counted
from foredraft.server.sessions import of_session
from foredraft.server.sse import EventStream, event, while_connected

router = APIRouter(prefix="/v1", tags=["Anthropic"], route_class=LimitedRoute, dependencies=[Depends(with_request_id)])
PING = event({"type": "ping"}, "ping")


@router.post("/messages", response_model=None)
async def messages(body: MessageRequest, request: Request, services: ServicesOf) -> Response:
    """Answer a conversation in Anthropic's form, at once or as events."""
    asked = await while_connected(request, _ask(services, body, request))
    answer: Response
    if body.stream:
        answer = EventStream(_events(asked, body), ping_s=services.settings.ping_s, ping=lambda: PING)
    else:
        answer = JSONResponse(await _whole(request, asked, body))
    answer.headers["request-id"] = anthropic_request_id()
    return answer


@router.post("/messages/count_tokens")
async def count_tokens(body: Conversation, request: Request, services: ServicesOf) -> dict[str, int]:
    """How many tokens a conversation has, with its tools and all that the model's template writes around it; also one
    that does not fit: clients ask so that they know when to shorten it."""

    async def count() -> int:
        return await counted(services, await _named(services, question_of(body)), beyond=True)

    return {"input_tokens": await while_connected(request, count())}


async def _ask(services: Services, body: MessageRequest, request: Request) -> Submitted:
    return await submit(services, await _named(services, of_session(question_of(body), request)))


async def _named(services: Services, question: GenerationRequest) -> GenerationRequest:
    """The question with the name of a model that is here."""
    name, warning = await model_for(services, question.model)
    if warning:
        note(warning, question.warnings)
        services.event_log.write("model", warning, model=name)
    return dataclasses.replace(question, model=name)


def _form(body: MessageRequest) -> dict[str, bool]:
    """What of an answer is not shown."""
    return {
        "omit_thinking": body.thinking is not None and body.thinking.display == "omitted",
        "one_call": body.tool_choice is not None and bool(body.tool_choice.disable_parallel_tool_use),
    }


async def _whole(request: Request, asked: Submitted, body: MessageRequest) -> dict[str, Any]:
    (answer,) = await results(request, asked)
    choice = asked.choices[0]
    read_whole(choice, answer)
    message = _message(asked, answer.stats, choice.parser)
    message |= {"content": blocks(choice.parser, **_form(body)), **stop(answer, choice.parser)}
    return message | _statistics(answer, body, origins=True)


async def _events(asked: Submitted, body: MessageRequest) -> AsyncGenerator[bytes, None]:
    """message_start as soon as the prompt is being read (it says how much of it was in the cache), the blocks, and
    message_delta with what is known at the end."""
    choice = asked.choices[0]
    reader, writer, started = choice.parser, BlockWriter(**_form(body)), False

    def said(data: dict[str, Any]) -> bytes:
        return event(data, data["type"])

    try:
        async for happened in choice.events():
            if not started and not (isinstance(happened, PromptProgress) and not happened.read):
                started = True
                yield said({"type": "message_start", "message": _message(asked, choice.running.stats, reader)})
                yield PING
            if isinstance(happened, NewPieces):
                for delta in reader.read(happened.pieces):
                    for data in writer.write(delta):
                        yield said(data)
            elif isinstance(happened, Finished):
                answer = happened.generation
                for delta in reader.end():
                    for data in writer.write(delta):
                        yield said(data)
                for data in writer.end():
                    yield said(data)
                last = {"delta": stop(answer, reader), "usage": _usage(asked, answer.stats, reader)}
                yield said({"type": "message_delta", **last, **_statistics(answer, body, origins=False)})
                yield said({"type": "message_stop"})
    except ForedraftError as error:
        yield said(anthropic_body(error))
    finally:
        asked.cancel()


def _message(asked: Submitted, stats: GenerationStats, reader: ResponseParser) -> dict[str, Any]:
    """An answer without content, as a stream begins with it."""
    message: dict[str, Any] = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": asked.model_id,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(asked, stats, reader),
    }
    return message | ({"warnings": list(asked.warnings)} if asked.warnings else {})


def _usage(asked: Submitted, stats: GenerationStats, reader: ResponseParser) -> dict[str, Any]:
    """Anthropic's counts: `input_tokens` are those that were not in the prompt cache."""
    prompt = len(asked.choices[0].running.request.prompt)
    return {
        "input_tokens": prompt - stats.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": stats.cached_tokens,
        "output_tokens": stats.tokens,
        "output_tokens_details": {"thinking_tokens": reader.reasoning_tokens},
    }


def _statistics(answer: Generation, body: MessageRequest, *, origins: bool) -> dict[str, Any]:
    """What the draft did: fields of ours, beside Anthropic's."""
    result = {"stats": statistics.stats(answer), "timings": statistics.timings(answer)}
    if body.speculative.explain:
        result["explain"] = statistics.explanation(answer)
        if origins:
            result["explain"]["origins"] = statistics.origins(answer.pieces)
    return result
