"""POST /api/chat and /api/generate."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note
from foredraft.runtime.managed_model import LoadedModel
from foredraft.server.answers import results
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.ollama import memory
from foredraft.server.ollama.answers import Lines
from foredraft.server.ollama.catalogue import thinks
from foredraft.server.ollama.convert import chat_question, generate_question, keep_seconds
from foredraft.server.ollama.names import asked as asked_name
from foredraft.server.ollama.schemas import Asking, ChatRequest, GenerateRequest
from foredraft.server.pipeline import Submitted, submit, with_model
from foredraft.server.sessions import of_session
from foredraft.server.sse import LineStream, while_connected

router = APIRouter(prefix="/api", tags=["Ollama"], route_class=LimitedRoute)


@router.post("/chat", response_model=None)
async def chat(body: ChatRequest, request: Request, services: ServicesOf) -> Response:
    """Answer a conversation, as lines of JSON or (`stream: false`) at once."""
    lines = _lines(body, chat=True)
    if not body.messages:
        return await _only_memory(request, services, body, lines)
    return await _answer(request, services, body, lines, chat_question(body))


@router.post("/generate", response_model=None)
async def generate(body: GenerateRequest, request: Request, services: ServicesOf) -> Response:
    """Answer one prompt, or continue a text (`raw`)."""
    raw = bool(body.raw or body.suffix)
    lines = dataclasses.replace(_lines(body, chat=False), context=not raw)
    if not body.prompt and not body.suffix:
        return await _only_memory(request, services, body, lines)
    question = generate_question(body)
    if body.context and not raw:
        question = await while_connected(request, _after(services, question, body.context))
    return await _answer(request, services, body, lines, question)


def _lines(body: Asking, *, chat: bool) -> Lines:
    return Lines(
        model=body.model or body.name,
        chat=chat,
        began=time.perf_counter_ns(),
        logprobs=bool(body.logprobs),
        explain=body.speculative.explain,
    )


async def _only_memory(request: Request, services: Services, body: Asking, lines: Lines) -> Response:
    """Without a prompt the model is loaded, or leaves."""
    ttl_s, name = keep_seconds(body.keep_alive), asked_name(body)
    if ttl_s == 0:
        await memory.unload(services, name)
        return JSONResponse(lines.empty("unload"))
    await while_connected(request, memory.load(services, name, ttl_s, body.draft_model or "auto"))
    return JSONResponse(lines.empty("load"))


async def _answer(
    request: Request, services: Services, body: Asking, lines: Lines, question: GenerationRequest
) -> Response:
    asked = await while_connected(request, _ask(services, body, of_session(question, request)))
    ttl_s = keep_seconds(body.keep_alive)
    if body.stream is not False:
        return LineStream(_kept(services, asked, lines, ttl_s))
    (answer,) = await results(request, asked)
    await memory.keep(services, asked.model_id, ttl_s)
    return JSONResponse(lines.whole(asked, answer))


async def _ask(services: Services, body: Asking, question: GenerationRequest) -> Submitted:
    wanted = body.options.num_ctx if body.options is not None else None
    question = await memory.with_context(services, question, wanted)
    asked = await submit(services, question)
    state = services.runtime.state(asked.model_id)
    template = state.info.chat_template if state is not None and state.info is not None else None
    if body.think and not thinks(template or ""):
        note(f"think: left out, the template of {asked.model_id} does not know it.", question.warnings)
    return asked


async def _kept(services: Services, asked: Submitted, lines: Lines, ttl_s: float | None) -> AsyncGenerator[bytes, None]:
    stream = lines.stream(asked)
    try:
        async for one in stream:
            yield one
    finally:
        await stream.aclose()
        await memory.keep(services, asked.model_id, ttl_s)


async def _after(services: Services, question: GenerationRequest, context: list[int]) -> GenerationRequest:
    """The question's tokens behind those of an earlier answer."""

    def prompt(model: LoadedModel) -> list[Any]:
        tokens = list(services.preparation.prepare(model.engine, question).request.prompt)
        tokenizer = model.engine.tokenizer
        return tokens[1:] if tokenizer.add_bos and tokens and tokens[0] == tokenizer.bos else tokens

    tokens = await with_model(services, question.model, prompt, draft=question.draft, ttl_s=question.ttl_s)
    return dataclasses.replace(question, messages=None, prompt=[*context, *tokens])
