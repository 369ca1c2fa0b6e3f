"""The application: routers of every dialect around one `Services`."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import Response
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from foredraft.server import errors
from foredraft.server.guard import Guard
from foredraft.server.openai import routes as openai
from foredraft.server.services import Services
from foredraft.server.sse import ClientGoneError

DESCRIPTION = """Lossless speculative decoding for GGUF models: the same text in less time.

OpenAI's API is at `/v1`, LM Studio's at `/api/v0` and `/api/v1`. Every answer carries its draft's statistics."""


def create_app(services: Services) -> FastAPI:
    """The HTTP API. `app.state.services` holds the services; the chat app is mounted on it by whoever has one."""
    app = FastAPI(title="Foredraft", description=DESCRIPTION, docs_url="/docs", redoc_url=None)
    app.state.services = services
    for router in (openai.router,):
        app.include_router(router)
    errors.install(app)

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_middleware(Guard, settings=services.settings)
    if services.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(services.settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
        )
    return app
