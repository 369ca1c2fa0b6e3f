"""The application: routers of every dialect around one `Services`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match

from foredraft.core.errors import ForedraftError
from foredraft.runtime.embedder import Embeddings
from foredraft.runtime.errors import ModelGivenUpError
from foredraft.runtime.managed_model import Death
from foredraft.runtime.restart_policy import DEATHS, WITHIN_S
from foredraft.runtime.worker import Outcome
from foredraft.server import control, errors
from foredraft.server.accesslog import AccessLog
from foredraft.server.anthropic import models as anthropic_models
from foredraft.server.anthropic import routes as anthropic
from foredraft.server.context import Services
from foredraft.server.description import Described
from foredraft.server.docs import add_docs
from foredraft.server.guard import Guard
from foredraft.server.lmstudio import v0, v1
from foredraft.server.lmstudio.sdk import routes as lmstudio_sdk
from foredraft.server.metrics import Metrics
from foredraft.server.ollama import alive, catalogue, embed, manage
from foredraft.server.ollama import routes as ollama
from foredraft.server.openai import embeddings, tokens
from foredraft.server.openai import routes as openai
from foredraft.server.openai.responses import routes as responses
from foredraft.server.origins import Cors
from foredraft.server.sse import ClientGoneError

DESCRIPTION = """Lossless speculative decoding for GGUF models: the same text in less time.

OpenAI's API is at `/v1`, Anthropic's at `/v1/messages`, LM Studio's at `/api/v0` and `/api/v1`, and its SDKs connect to
the address itself; Ollama's is at `/api`. Every answer carries its draft's statistics."""


def create_app(services: Services) -> FastAPI:
    """The HTTP API. `app.state.services` holds the services; the chat app is mounted on it by whoever has one."""

    def write_down(model: str, outcome: Outcome) -> None:
        message, fields = _log_entry(outcome)
        services.event_log.write("answer", message, model=model, **fields)

    @contextlib.asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        yield
        services.stopping()
        await services.runtime.close(services.settings.grace_s)
        services.pools.close()
        services.responses.close()

    app = Described(title="Foredraft", description=DESCRIPTION, openapi_url=None, lifespan=living)
    app.state.services = services
    app.state.metrics = Metrics(services.runtime)
    services.runtime.on_death.append(lambda death: _died(services, death))
    services.runtime.on_lost.append(lambda model, error: _lost(services, model, error))
    services.runtime.listeners.append(write_down)
    for router in (anthropic_models.router, openai.router, embeddings.router, responses.router, tokens.router):
        app.include_router(router)
    for router in (anthropic.router, v0.router, v1.router, lmstudio_sdk.router, control.router):
        app.include_router(router)
    for router in (alive.probes, alive.router, catalogue.router, ollama.router, embed.router, manage.router):
        app.include_router(router)
    add_docs(app)
    errors.install(app)
    _close_off(app)

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_middleware(Guard, settings=services.settings)
    app.add_middleware(AccessLog, event_log=services.event_log)
    if services.settings.cors_origins:
        app.add_middleware(Cors, words=services.settings.cors_origins)
    return app


def _died(services: Services, death: Death) -> None:
    services.event_log.write("model", str(death), model=death.model, part=death.part, died=True)
    if death.part == "main" and not death.again:
        services.load_failure = ModelGivenUpError(death.model, DEATHS, round(WITHIN_S), death.error.reason_or_words)


def _lost(services: Services, model: str, error: Exception) -> None:
    services.load_failure = error
    services.event_log.write("model", f"{model} could not be loaded again: {error}", model=model)


def _close_off(app: FastAPI) -> None:
    """Answer unknown paths of the API as an API does, whatever is mounted behind it: the app has pages for its own."""

    async def nothing_here(request: Request) -> Response:
        known = any(route.matches(request.scope)[0] is Match.PARTIAL for route in app.router.routes)
        raise HTTPException(405 if known else 404)

    for prefix in ("/v1", "/api"):
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
        app.router.add_route(prefix + "/{path:path}", nothing_here, methods=methods, include_in_schema=False)


def _log_entry(outcome: Outcome) -> tuple[str, dict[str, Any]]:
    """An answer's end for the log: figures, never text."""
    if isinstance(outcome, ForedraftError):
        return outcome.message, {"error": outcome.code}
    if isinstance(outcome, Embeddings):
        said = f"{len(outcome.vectors)} texts embedded, {outcome.tokens} tokens in {outcome.seconds:.2f} s"
        return said, {"texts": len(outcome.vectors), "prompt_tokens": outcome.tokens}
    stats = outcome.stats
    said = f"{stats.tokens} tokens, {stats.tokens_per_second:.1f} tok/s, ended by {outcome.stop_reason}"
    if stats.drafted:
        said += f", {stats.accepted}/{stats.drafted} draft tokens accepted"
    return said, {
        "stop_reason": outcome.stop_reason,
        "draft": outcome.draft,
        "prompt_tokens": stats.prompt_tokens,
        "cached_tokens": stats.cached_tokens,
        "tokens": stats.tokens,
        "tokens_per_second": round(stats.tokens_per_second, 2),
        "time_to_first_token_s": round(stats.time_to_first_token_s, 4),
        "drafted": stats.drafted,
        "accepted": stats.accepted,
        "rounds": stats.rounds,
        "saved_s": stats.saved_s,
        "speculation": outcome.speculation.status,
    }
