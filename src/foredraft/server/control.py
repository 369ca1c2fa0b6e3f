"""Our own endpoints: health, metrics, and what the commands ps, load, unload and log ask for."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import Field

from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.managed_model import LoadSpec, ModelState
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.description import EVENT
from foredraft.server.errors import RequestError
from foredraft.server.lenient import Number, Schema
from foredraft.server.loading import load_settings, settings_by_name
from foredraft.server.naming import answering, loaded_name
from foredraft.server.proof import LONGEST_CHALLENGE, proofs
from foredraft.server.schemas import idle_seconds
from foredraft.server.sse import EventStream, event
from foredraft.server.status import model_status

router = APIRouter(tags=["Foredraft"], route_class=LimitedRoute)


class LoadRequest(Schema):
    model: str = ""
    draft: str = "auto"
    draft_required: bool = False
    force: bool = Field(default=False, description="Take a draft whose vocabulary only looks different.")
    ttl: Number | None = None
    keep_alive: Number | str | None = None
    settings: dict[str, Any] = Field(default={}, description="context, slots, gpu_layers, kv_type, numerics, threads …")


class UnloadRequest(Schema):
    model: str


class DraftRequest(Schema):
    model: str
    draft: str = Field(default="auto", description="A name, auto, or off.")
    required: bool = False


@router.get("/health", responses={503: {"description": "Loading, with `progress`; or shutting down."}})
async def health(
    request: Request,
    services: ServicesOf,
    challenge: Annotated[str, Query(max_length=LONGEST_CHALLENGE, description="Asks for proofs (`proof.py`).")] = "",
) -> Response:
    """200 when requests can be answered; 503 with progress while the first model is loading, or at the end."""
    states = services.runtime.models()
    loading = [state for state in states if state.status == "loading"]
    ready = [state for state in states if state.status in ("ready", "changing")]
    body: dict[str, Any] = {"status": "ok", "name": "foredraft", "version": foredraft_version()}
    body["remembers_answers"] = services.settings.remember_answers
    body["keeps_responses"] = services.responses.enabled
    if challenge:
        _, port = request.scope.get("server") or ("", services.settings.port)
        body["proofs"] = proofs(challenge, port, services.settings.api_key)
    if services.runtime.closing:
        return JSONResponse({**body, "status": "shutting down"}, 503, {"Retry-After": "10"})
    if loading and not ready:
        body |= {"status": "loading", "progress": round(loading[0].progress, 4)}
        return JSONResponse(body, 503, {"Retry-After": "1"})
    return JSONResponse(body)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    page = await asyncio.to_thread(request.app.state.metrics.text)
    return PlainTextResponse(page, media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/api/foredraft/models")
async def loaded_models(services: ServicesOf) -> dict[str, Any]:
    """What `foredraft ps` shows; `default` is the model that answers where none is named."""
    default = answering(services)
    return {
        "models": [
            {
                **model_status(state, services.name_of(state.draft_info)),
                "default": default is not None and state.id == default.id,
            }
            for state in services.runtime.models()
        ]
    }


@router.post("/api/foredraft/load")
async def load(body: LoadRequest, services: ServicesOf) -> dict[str, Any]:
    """Load a model and its draft."""
    model_id = await load_model(services, body)
    state = services.runtime.state(model_id)
    if state is None:
        raise ModelUnloadedError(model_id)
    return model_status(state, services.name_of(state.draft_info))


async def load_model(services: Services, body: LoadRequest) -> str:
    """Load by name, with settings; returns the id. One that is loaded already gets the draft and the time to live that
    were asked for; other settings than it has are refused."""
    load_settings(body.settings)  # words a wrong name before anything is opened
    name, draft = services.aliases.of(body.model) or services.default_model, _draft(body.draft)
    if services.shelf is None:
        spec = LoadSpec(name, draft=draft)
    else:
        spec = await asyncio.to_thread(services.shelf.spec, name, draft)
    ttl = idle_seconds(body.ttl, body.keep_alive)
    state = services.runtime.state(spec.id)
    if state is not None and state.status in ("ready", "changing"):
        _check_settings(state, body.settings)
        if draft != "auto" and state.kind == "text" and spec.draft != state.spec.draft:
            await services.runtime.set_draft(spec.id, spec.draft, required=body.draft_required, force=body.force)
    spec = dataclasses.replace(
        spec,
        settings={**spec.settings, **body.settings},
        draft_required=body.draft_required,
        force=body.force,
        ttl_s=None if ttl == -1.0 else ttl,
    )
    services.event_log.write("model", f"Loading {spec.id or spec.model}", model=spec.id or spec.model)
    model_id = await services.runtime.load(spec)
    services.load_failure = None
    return model_id


def _draft(said: str) -> str | None:
    """A draft as the shelf wants it."""
    return None if said == "off" else said or "auto"


def _check_settings(state: ModelState, wanted: dict[str, Any]) -> None:
    """Raises `RequestError` when a loaded model has other settings than those that are wanted."""
    now = load_settings(dict(state.spec.settings))
    for name, value in settings_by_name(wanted).items():
        has = getattr(now, name)
        if name == "context" and state.info is not None:
            has = state.info.n_ctx
        if value is not None and value != has:
            raise RequestError(
                f"{state.id} is loaded already, with {name} {has}; {value} is asked for.",
                param=name,
                hint="Unload it first.",
                status=409,
            )


@router.post("/api/foredraft/unload")
async def unload(body: UnloadRequest, services: ServicesOf) -> dict[str, Any]:
    """Take a model and its draft out of memory."""
    model_id = await unload_model(services, body.model)
    return {"model": model_id}


async def unload_model(services: Services, name: str) -> str:
    """Unload by name or id; returns the id. Raises `ModelNotFoundError` with the names that are loaded."""
    name = await loaded_name(services, name)
    await services.runtime.unload(name)
    services.event_log.write("model", f"Unloaded {name}", model=name)
    return name


@router.post("/api/foredraft/draft")
async def change_draft(body: DraftRequest, services: ServicesOf) -> dict[str, Any]:
    """Change a loaded model's draft, or take it out; the main model stays in memory."""
    model_id = await loaded_name(services, body.model)
    draft = _draft(body.draft)
    if draft not in (None, "auto") and services.shelf is not None:
        draft = await asyncio.to_thread(services.shelf.draft, draft)
    state = await services.runtime.set_draft(model_id, draft, required=body.required)
    return model_status(state, services.name_of(state.draft_info))


@router.delete("/api/foredraft/responses")
async def forget_responses(services: ServicesOf) -> dict[str, Any]:
    """Forget every response that was kept for `previous_response_id`."""
    return {"forgotten": await services.responses.forget()}


@router.get("/api/foredraft/log", responses={200: {"content": {"text/event-stream": {"schema": EVENT}}}})
async def log(
    services: ServicesOf,
    count: Annotated[int, Query(ge=0, le=2000)] = 100,
    follow: bool = False,
) -> Response:
    """The last entries of the server's log; with `follow` also what comes, as events."""
    recent = services.event_log.recent(count) if count else []
    if not follow:
        return JSONResponse({"entries": [entry.as_dict() for entry in recent]})

    async def entries() -> AsyncGenerator[bytes, None]:
        last = services.event_log.last
        for entry in recent:
            yield event(entry.as_dict())
        async for entry in services.event_log.follow(last):
            yield event(entry.as_dict())

    return EventStream(entries(), ping_s=services.settings.ping_s)


@router.api_route("/api/foredraft/{rest:path}", methods=["GET", "POST", "DELETE"], include_in_schema=False)
async def unknown(rest: str) -> Response:
    raise RequestError(f"There is nothing at /api/foredraft/{rest}.", status=404, hint="/docs lists everything.")


def foredraft_version() -> str:
    try:
        return version("foredraft")
    except PackageNotFoundError:
        return "0"
