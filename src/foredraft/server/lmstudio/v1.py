"""LM Studio's current REST: chat with its events, models, load, unload, download."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.core.errors import ForedraftError
from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Delta, Reasoning
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.events import Finished, NewPieces, PromptProgress
from foredraft.runtime.managed_model import ModelState
from foredraft.scheduling.request import Generation
from foredraft.server import control, statistics
from foredraft.server.answers import read_whole, results
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError, lmstudio_body
from foredraft.server.lenient import as_field
from foredraft.server.lmstudio.catalogue import described, drafters, load_config, v1_object
from foredraft.server.lmstudio.conversation import Turn, going_on
from foredraft.server.lmstudio.schemas import ChatRequest, DownloadRequest, InputItem, LoadRequest, UnloadRequest
from foredraft.server.naming import named_model
from foredraft.server.pipeline import Submitted, submit
from foredraft.server.schemas import effort, idle_seconds
from foredraft.server.sessions import of_session
from foredraft.server.sse import EventStream, event, while_connected

router = APIRouter(prefix="/api/v1", tags=["LM Studio v1"], route_class=LimitedRoute)


@router.get("/models")
async def list_models(services: ServicesOf) -> dict[str, Any]:
    """Every model, with its loaded instances and their drafts."""
    models = [v1_object(*entry) for entry in await described(services)]
    return {"models": [*models, *await drafters(services)]}


# ---- chat ----


@router.post("/chat", response_model=None)
async def chat(body: ChatRequest, request: Request, services: ServicesOf) -> Response:
    """Answer one input, at once or as events. With `previous_response_id` the conversation goes on from a kept
    response; the answer is kept in turn, unless `store` is false."""
    question = of_session(_question(body), request, body)
    turn = await while_connected(request, going_on(body, question, services.responses))
    if body.stream:
        # what is wrong with the name is said with a status; what comes later, as an event
        model_id, _ = await named_model(services, question.model, question.draft)
        events = _events(services, turn, model_id, body.speculative.explain)
        return EventStream(events, ping_s=services.settings.ping_s)
    asked = await while_connected(request, submit(services, turn.question))
    (answer,) = await results(request, asked)
    read_whole(asked.choices[0], answer)
    result = _result(asked, answer, body.speculative.explain)
    return JSONResponse(await turn.keep(result, asked.choices[0].parser))


def _question(body: ChatRequest) -> GenerationRequest:
    if body.integrations:
        raise RequestError("Integrations (plugins, MCP) are not served here.", param="integrations")
    messages: list[dict[str, Any]] = []
    if body.system_prompt:
        messages.append({"role": "system", "content": body.system_prompt})
    items: list[str | InputItem] = [body.input] if isinstance(body.input, str) else [*body.input]
    texts = []
    for i, item in enumerate(items):
        if isinstance(item, str):
            texts.append(item)
        elif item.type in ("message", "text") and (item.content or item.text) is not None:
            texts.append(item.content or item.text or "")
        else:
            raise RequestError(
                f"Input of the type {item.type!r} cannot be read; only text can.", param=f"input.{i}.type"
            )
    messages.append({"role": "user", "content": "\n".join(texts)})
    return GenerationRequest(
        model=body.model,
        messages=messages,
        sampling=body.sampling(),
        speculation=body.speculative.params(),
        draft=body.draft_model or "auto",
        draft_required=body.draft_required,
        max_tokens=body.max_output_tokens,
        context=body.context_length,
        template_variables=effort(body.reasoning) or None,
        ttl_s=idle_seconds(body.ttl, None),
    )


def _result(asked: Submitted, answer: Generation, explain: bool) -> dict[str, Any]:
    reader = asked.choices[0].parser
    output: list[dict[str, Any]] = []
    if reader.reasoning:
        output.append({"type": "reasoning", "content": reader.reasoning})
    output.append({"type": "message", "content": reader.content})
    said = statistics.stats(answer)
    stats = {
        "input_tokens": answer.stats.prompt_tokens,
        "total_output_tokens": answer.stats.tokens,
        "reasoning_output_tokens": reader.reasoning_tokens,
        "tokens_per_second": said["tokens_per_second"],
        "time_to_first_token_seconds": said["time_to_first_token"],
        "stop_reason": said["stop_reason"],
        "speculation": said["speculation"],
        "seed": said["seed"],
        **{name: value for name, value in said.items() if "draft" in name},
    }
    if asked.load_s is not None:
        stats["model_load_time_seconds"] = round(asked.load_s, 3)
    if explain:
        stats["explain"] = {**statistics.explanation(answer), "origins": statistics.origins(answer.pieces)}
    return {"model_instance_id": asked.model_id, "output": output, "stats": stats} | as_field(asked.warnings)


async def _events(services: Services, turn: Turn, model_id: str, explain: bool) -> AsyncGenerator[bytes, None]:
    """LM Studio's events: chat.start … chat.end, with the whole result in the last."""

    def said(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)

    asked: Submitted | None = None
    try:
        yield said("chat.start", model_instance_id=model_id)
        asking = asyncio.ensure_future(submit(services, turn.question))
        try:
            async for chunk in _loading(services, asking, said):
                yield chunk
            asked = await asking
        finally:
            asking.cancel()
        if asked.load_s is not None:
            yield said("model_load.end", model_instance_id=asked.model_id, load_time_seconds=round(asked.load_s, 3))
        async for chunk in _one_answer(asked, turn, explain, said):
            yield chunk
    except ForedraftError as error:
        yield said("error", **lmstudio_body(error))
    finally:
        if asked is not None:
            asked.cancel()


async def _loading(services: Services, asking: asyncio.Future[Submitted], said: Any) -> AsyncGenerator[bytes, None]:
    """The events of loading the model, if the request has to wait for that. What was too quick to be seen is said
    afterwards: who counts on the events gets them in order."""
    began = False
    shown = -1.0
    watching = services.runtime.watch()
    try:
        while not asking.done():
            coming = asyncio.ensure_future(anext(watching))
            both: set[asyncio.Future[Any]] = {asking, coming}
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:  # a client that leaves, too: the watch is closed below, and nobody may be waiting in it then
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
            if coming.cancelled():
                break
            loading = [state for state in coming.result() if state.status == "loading"]
            if loading and not began:
                began = True
                yield said("model_load.start", model_instance_id=loading[0].id)
            if loading and loading[0].progress != shown:
                shown = loading[0].progress
                yield said("model_load.progress", model_instance_id=loading[0].id, progress=round(shown, 4))
    finally:
        await watching.aclose()
    failed = asking.cancelled() or asking.exception() is not None if asking.done() else False
    if not began and not failed and (await asking).load_s is not None:
        yield said("model_load.start", model_instance_id=(await asking).model_id)


async def _one_answer(asked: Submitted, turn: Turn, explain: bool, said: Any) -> AsyncGenerator[bytes, None]:
    choice = asked.choices[0]
    reader, open_part, prompt = choice.parser, "", ""
    async for happened in choice.events():
        if isinstance(happened, PromptProgress):
            if not prompt:
                prompt = "started"
                yield said("prompt_processing.start")
            yield said("prompt_processing.progress", progress=round(happened.read / happened.total, 4))
        elif isinstance(happened, NewPieces):
            if not prompt:  # all of it was in the cache
                yield said("prompt_processing.start")
            if prompt != "ended":
                prompt = "ended"
                yield said("prompt_processing.end")
            for delta in reader.read(happened.pieces):
                for chunk, now in _part(delta, open_part, reader.calls[-1].name if reader.calls else "", said):
                    open_part = now
                    yield chunk
            if explain:
                yield said("tokens", origins=statistics.origins(happened.pieces))
        elif isinstance(happened, Finished):
            for delta in reader.end():
                for chunk, now in _part(delta, open_part, "", said):
                    open_part = now
                    yield chunk
            if open_part:
                yield said(f"{open_part}.end")
            result = _result(asked, happened.generation, explain)
            yield said("chat.end", result=await turn.keep(result, reader))


def _part(delta: Delta, open_part: str, tool: str, said: Any) -> list[tuple[bytes, str]]:
    """The events of one delta, with the part that is open after each."""
    if isinstance(delta, CallStarted):
        return [(said("tool_call.start", tool=delta.name), open_part)]
    if isinstance(delta, CallArguments):
        return [(said("tool_call.arguments", tool=tool, arguments=delta.text), open_part)]
    assert isinstance(delta, (Content, Reasoning))
    part = "message" if isinstance(delta, Content) else "reasoning"
    events: list[tuple[bytes, str]] = []
    if open_part != part:
        if open_part:
            events.append((said(f"{open_part}.end"), ""))
        events.append((said(f"{part}.start"), part))
    return [*events, (said(f"{part}.delta", content=delta.text), part)]


# ---- models ----


@router.post("/models/load")
async def load(body: LoadRequest, services: ServicesOf) -> dict[str, Any]:
    """Load a model, and its draft."""
    if body.num_experts is not None:
        raise RequestError(
            "The number of experts cannot be changed here.", param="num_experts", hint="Leave num_experts out."
        )
    wanted: dict[str, Any] = {
        "context": body.context_length,
        "batch": body.eval_batch_size,
        "slots": body.parallel,
        "flash_attention": None if body.flash_attention is None else "on" if body.flash_attention else "off",
        "numerics": body.numerics,
        "gpu_layers": 0 if body.offload_kv_cache_to_gpu is False else None,
    }
    asked = control.LoadRequest(
        model=body.model,
        draft=body.draft_model or "auto",
        draft_required=body.draft_required,
        ttl=body.ttl,
        settings={name: value for name, value in wanted.items() if value is not None},
    )
    began = time.perf_counter()
    state = _state(services, await control.load_model(services, asked))
    result: dict[str, Any] = {
        "type": "embedding" if state.kind == "embedding" else "llm",
        "instance_id": state.id,
        "load_time_seconds": round(time.perf_counter() - began, 3),
        "status": "loaded",
    }
    if state.kind == "text":
        result["draft_model"] = services.name_of(state.draft_info)
        result["speculation"] = state.speculation.as_dict()
    if body.echo_load_config:
        result["load_config"] = load_config(state, services.name_of(state.draft_info))
    return result


def _state(services: Services, model_id: str) -> ModelState:
    state = services.runtime.state(model_id)
    if state is None or state.info is None:
        raise ModelUnloadedError(model_id)
    return state


@router.post("/models/unload")
async def unload(body: UnloadRequest, services: ServicesOf) -> dict[str, Any]:
    """Unload an instance; its draft leaves with it."""
    return {"instance_id": await control.unload_model(services, body.instance_id)}


@router.post("/models/download")
async def download(body: DownloadRequest, services: ServicesOf) -> dict[str, Any]:
    """Begin a download from Hugging Face; ask for its status by the job's id."""
    return await services.downloads.begin(body.model, body.quantization or "", services.pools.downloads)


@router.get("/models/download/status/{job_id}")
async def download_status(job_id: str, services: ServicesOf) -> dict[str, Any]:
    """How far a download is."""
    return services.downloads.status(job_id)
