"""The application: routers of every dialect around one `Services`."""

from __future__ import annotations

from fastapi import FastAPI

from foredraft.server.services import Services


def create_app(services: Services) -> FastAPI:
    """The HTTP API. `app.state.services` holds the services; the chat app is mounted on it by whoever has one."""
    app = FastAPI(title="Foredraft", docs_url="/docs", redoc_url=None)
    app.state.services = services
    return app
