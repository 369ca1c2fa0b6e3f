"""OpenAI's endpoints."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.core.errors import ForedraftError
from foredraft.runtime.events import Finished, NewPieces, PromptScored
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation
from foredraft.server import statistics
from foredraft.server.answers import read_whole, results
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError, error_body
from foredraft.server.lenient import as_field
from foredraft.server.merging import merged
from foredraft.server.naming import named_model
from foredraft.server.openai.convert import (
    chat_logprobs,
    chat_question,
    completion_question,
    delta_of,
    finish_reason,
    message_of,
    prompts,
    text_logprobs,
)
from foredraft.server.openai.echo import NO_ECHO, Echo
from foredraft.server.openai.schemas import ChatRequest, CompletionRequest
from foredraft.server.pipeline import Completion, Submitted, count_tokens, submit
from foredraft.server.pools import Pool
from foredraft.server.sessions import of_session
from foredraft.server.sse import DONE, EventStream, event, while_connected

router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=LimitedRoute)
FINGERPRINT = "foredraft"


# ---- models ----


@router.get("/models")
async def list_models(services: ServicesOf) -> dict[str, Any]:
    """Every model that can be asked for: those that are loaded, and (with loading on request) those on the shelf. Who
    sends `anthropic-version` gets Anthropic's form, in pages (`limit`, `after_id`, `before_id`)."""
    return {"object": "list", "data": await model_objects(services)}


@router.get("/models/{model:path}")
async def get_model(model: str, services: ServicesOf) -> dict[str, Any]:
    """One model, by any name that a chat knows it by."""
    model_id, _ = await named_model(services, model, kind=None)
    for entry in await model_objects(services):
        if entry["id"] == model_id:
            return entry
    raise RequestError(f"{model_id} is not loaded.", param="model", status=404)


async def model_objects(services: Services) -> list[dict[str, Any]]:
    """OpenAI's model objects, with what clients ask of local servers beside them."""
    loaded = {state.id: state for state in services.runtime.models()}
    names, embedders = list(loaded), {state.id for state in loaded.values() if state.kind == "embedding"}
    if services.shelf is not None and services.settings.load_on_demand:
        names += [name for name in await asyncio.to_thread(services.shelf.names) if name not in loaded]
        embedders |= set(await asyncio.to_thread(services.shelf.embedding_names))
    entries = []
    for name in names:
        state = loaded.get(name)
        entry: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": "local"}
        entry["type"] = "embeddings" if name in embedders else "llm"
        entry["state"] = "loaded" if state is not None and state.info is not None else "not-loaded"
        if state is not None and state.info is not None:
            entry["created"] = int(state.loaded_at)
            entry["max_context_length"] = state.info.n_ctx
        if state is not None and state.info is not None and state.kind == "text":
            entry["draft_model"] = services.name_of(state.draft_info)
            entry["speculation"] = state.speculation.as_dict()
        entries.append(entry)
    return entries


# ---- chat ----


@router.post("/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request, services: ServicesOf) -> Response:
    """Answer a conversation, at once or as a stream of chunks."""
    question = of_session(chat_question(body), request, body)
    asked = await while_connected(request, submit(services, question))
    explain = body.speculative.explain
    if body.stream:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        chunks = _chat_chunks(asked, explain=explain, include_usage=include_usage, logprobs=bool(body.logprobs))
        return EventStream(chunks, ping_s=services.settings.ping_s)
    return JSONResponse(await _whole_chat(request, asked, explain=explain, logprobs=bool(body.logprobs)))


async def _whole_chat(request: Request, asked: Submitted, *, explain: bool, logprobs: bool) -> dict[str, Any]:
    answers = await results(request, asked)
    choices: list[dict[str, Any]] = []
    for choice, answer in zip(asked.choices, answers, strict=True):
        read_whole(choice, answer)
        entry: dict[str, Any] = {
            "index": choice.index,
            "message": message_of(choice.parser),
            "finish_reason": finish_reason(answer, choice.parser),
            "logprobs": chat_logprobs(answer.pieces) if logprobs else None,
        }
        if explain:
            entry["explain"] = {**statistics.explanation(answer), "origins": statistics.origins(answer.pieces)}
        choices.append(entry)
    result = head(asked, "chat.completion")
    result["choices"] = choices
    reasoning = sum(choice.parser.reasoning_tokens for choice in asked.choices)
    result["usage"] = statistics.usage(answers, reasoning_tokens=reasoning, predicted=asked.choices[0].predicted)
    return result | statistics_of(answers) | as_field(asked.warnings)


async def _chat_chunks(
    asked: Submitted, *, explain: bool, include_usage: bool, logprobs: bool
) -> AsyncGenerator[bytes, None]:
    """The chunks of a chat completion: one for each round, the last of each choice with its statistics."""
    base = head(asked, "chat.completion.chunk")
    if include_usage:
        base["usage"] = None

    def chunk(choice: Completion, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        entry: dict[str, Any] = {"index": choice.index, "delta": delta, "finish_reason": finish}
        entry["logprobs"] = more.pop("logprobs", None)
        return event({**base, "choices": [entry], **more})

    answers: dict[int, Generation] = {}
    try:
        for choice in asked.choices:
            yield chunk(choice, {"role": "assistant", "content": ""})
        async for choice, happened in merged(asked.choices):
            reader = choice.parser
            if isinstance(happened, NewPieces):
                delta = delta_of(reader.read(happened.pieces))
                if delta or logprobs or explain:
                    more: dict[str, Any] = (
                        {"explain": {"origins": statistics.origins(happened.pieces)}} if explain else {}
                    )
                    if logprobs:
                        more["logprobs"] = chat_logprobs(happened.pieces)
                    yield chunk(choice, delta, **more)
            elif isinstance(happened, Finished):
                answer = answers[choice.index] = happened.generation
                rest = delta_of(reader.end())
                if rest:
                    yield chunk(choice, rest)
                last = statistics_of([answer]) | as_field(asked.warnings)
                if explain:
                    last["explain"] = statistics.explanation(answer)
                yield chunk(choice, {}, finish_reason(answer, reader), **last)
        if include_usage:
            done = [answers[choice.index] for choice in asked.choices]
            reasoning = sum(choice.parser.reasoning_tokens for choice in asked.choices)
            spent = statistics.usage(done, reasoning_tokens=reasoning, predicted=asked.choices[0].predicted)
            yield event({**base, "choices": [], "usage": spent})
    except ForedraftError as error:
        yield event(error_body(error))
    finally:
        asked.cancel()
    yield DONE


# ---- text ----


@router.post("/completions", response_model=None)
async def completions(body: CompletionRequest, request: Request, services: ServicesOf) -> Response:
    """Continue a text (no chat template), at once or as a stream."""
    given = prompts(body)
    if len(given) * (body.n or 1) > services.settings.max_answers:
        raise RequestError(f"At most {services.settings.max_answers} answers at once.", param="prompt")
    parts: list[Submitted] = []
    try:
        for prompt in given:
            question = of_session(completion_question(body, prompt), request, body)
            part = await while_connected(request, submit(services, question))
            parts += [part]
        echoes = await _echoes(services, body, given, parts)
    except BaseException:
        for part in parts:
            part.cancel()
        raise
    asked = _joined(parts)
    if body.stream:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        chunks = _text_chunks(asked, body, echoes, services.pools.prompts, include_usage)
        return EventStream(chunks, ping_s=services.settings.ping_s)
    answers = await results(request, asked)
    result = head(asked, "text_completion")
    result["usage"] = _usage_of_parts(parts, answers)
    result |= statistics_of(answers) | as_field(asked.warnings)
    if answers[0].prompt_logprobs is None:
        return _whole_texts(result, asked, body, answers, echoes)
    return await services.pools.prompts.run(_whole_texts, result, asked, body, answers, echoes)  # megabytes, perhaps


def _whole_texts(
    result: dict[str, Any],
    asked: Submitted,
    body: CompletionRequest,
    answers: Sequence[Generation],
    echoes: Sequence[Echo],
) -> Response:
    result["choices"] = choices = []
    for choice, answer in zip(asked.choices, answers, strict=True):
        echo = echoes[choice.index]
        entry: dict[str, Any] = {"index": choice.index, "text": echo.text + answer.text}
        entry["finish_reason"] = finish_reason(answer, choice.parser)
        entry["logprobs"] = None
        if body.logprobs is not None:
            entry["logprobs"] = written = text_logprobs(answer.pieces, len(echo.text), answer.end_logprob)
            if answer.prompt_logprobs is not None:
                before = echo.logprobs(answer.prompt_logprobs)
                entry["logprobs"] = {name: [*before[name], *written[name]] for name in before}
        if body.speculative.explain:
            entry["explain"] = _explained(answer)
        choices.append(entry)
    return JSONResponse(result)


async def _text_chunks(
    asked: Submitted, body: CompletionRequest, echoes: Sequence[Echo], pool: Pool, include_usage: bool
) -> AsyncGenerator[bytes, None]:
    base = head(asked, "text_completion")
    if include_usage:
        base["usage"] = None
    explain = body.speculative.explain
    offsets = [len(echo.text) for echo in echoes]
    answers: dict[int, Generation] = {}

    def chunk(choice: Completion, text: str, finish: str | None = None, **more: Any) -> bytes:
        entry = {"index": choice.index, "text": text, "finish_reason": finish, "logprobs": more.pop("logprobs", None)}
        return event({**base, "choices": [entry], **more})

    def echoed(choice: Completion, scored: Sequence[TokenLogprob]) -> bytes:
        echo = echoes[choice.index]
        return chunk(choice, echo.text, logprobs=echo.logprobs(scored))

    try:
        for choice in asked.choices:
            echo = echoes[choice.index]
            if echo.text and body.logprobs is None:
                yield chunk(choice, echo.text)
        async for choice, happened in merged(asked.choices):
            if isinstance(happened, PromptScored):
                yield await pool.run(echoed, choice, happened.tokens)
            elif isinstance(happened, NewPieces):
                more: dict[str, Any] = {"explain": {"origins": statistics.origins(happened.pieces)}} if explain else {}
                if body.logprobs is not None:
                    more["logprobs"] = text_logprobs(happened.pieces, offsets[choice.index])
                offsets[choice.index] += len(happened.text)
                yield chunk(choice, happened.text, **more)
            elif isinstance(happened, Finished):
                answer = answers[choice.index] = happened.generation
                last = statistics_of([answer]) | as_field(asked.warnings)
                if explain:
                    last["explain"] = statistics.explanation(answer)
                if answer.end_logprob is not None:
                    last["logprobs"] = text_logprobs((), offsets[choice.index], answer.end_logprob)
                yield chunk(choice, "", finish_reason(answer, choice.parser), **last)
        if include_usage:
            done = [answers[choice.index] for choice in asked.choices]
            yield event({**base, "choices": [], "usage": statistics.usage(done)})
    except ForedraftError as error:
        yield event(error_body(error))
    finally:
        asked.cancel()
    yield DONE


def _joined(parts: Sequence[Submitted]) -> Submitted:
    choices = [choice for part in parts for choice in part.choices]
    for index, choice in enumerate(choices):
        choice.index = index
    return Submitted(parts[0].model_id, choices, parts[0].load_s, parts[0].tokenized, parts[0].warnings)


async def _echoes(
    services: Services, body: CompletionRequest, given: Sequence[str | list[int]], parts: Sequence[Submitted]
) -> list[Echo]:
    """What each choice begins with."""
    if not body.echo:
        return [NO_ECHO for part in parts for _ in part.choices]
    echoes: list[Echo] = []
    for prompt, part in zip(given, parts, strict=True):
        with services.runtime.use(part.model_id) as model:
            tokenizer, tokens = model.engine.tokenizer, part.choices[0].running.request.prompt
            echo = await services.pools.prompts.run(Echo.of, tokenizer, prompt, tokens)
        echoes += [echo] * len(part.choices)
    return echoes


def _usage_of_parts(parts: Sequence[Submitted], answers: Sequence[Generation]) -> dict[str, Any]:
    spent = statistics.usage(answers, predicted=parts[0].choices[0].predicted)
    firsts = [part.choices[0].index for part in parts]
    spent["prompt_tokens"] = sum(answers[i].stats.prompt_tokens for i in firsts)
    spent["prompt_tokens_details"]["cached_tokens"] = sum(answers[i].stats.cached_tokens for i in firsts)
    spent["total_tokens"] = spent["prompt_tokens"] + spent["completion_tokens"]
    return spent


def _explained(answer: Generation) -> dict[str, Any]:
    return {**statistics.explanation(answer), "origins": statistics.origins(answer.pieces)}


# ---- the rest ----


@router.post("/chat/completions/input_tokens")
async def input_tokens(body: ChatRequest, services: ServicesOf) -> dict[str, Any]:
    """How many tokens a conversation has, without answering it."""
    count = await count_tokens(services, chat_question(body))
    return {"object": "response.input_tokens", "input_tokens": count}


# ---- shared ----


def head(asked: Submitted, kind: str) -> dict[str, Any]:
    """What every object of an answer begins with."""
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": asked.model_id,
        "system_fingerprint": FINGERPRINT,
    }


def statistics_of(answers: Sequence[Generation]) -> dict[str, Any]:
    """`stats` and `timings`: of the answer, or of the first of several."""
    return {"stats": statistics.stats(answers[0]), "timings": statistics.timings(answers[0])}
