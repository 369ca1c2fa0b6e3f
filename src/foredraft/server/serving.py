"""Run the application on a socket until somebody stops it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.server.guard import is_loopback
from foredraft.server.services import ServerSettings, Services

logger = logging.getLogger(__name__)


def check_address(settings: ServerSettings) -> None:
    """Refuse to be reached from other machines without a key. Raises `ParameterError`."""
    if not settings.api_key and not is_loopback(settings.host):
        raise ParameterError(
            "host", settings.host, "an address of this machine alone (127.0.0.1), unless --api-key is given"
        )


class _Server(uvicorn.Server):
    """Says that it is stopping before it waits for connections, so that endless streams end."""

    def __init__(self, config: uvicorn.Config, services: Services, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._services = services
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.stopping()
        await super().shutdown(sockets)


def serve(app: FastAPI, services: Services, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM. Running answers may end within the grace time; then they are cancelled. `ready` is
    called when requests are taken."""
    settings = services.settings
    check_address(settings)
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
        timeout_keep_alive=30,
        ws="auto",
    )
    with listener:
        asyncio.run(_Server(config, services, ready).serve([listener]))


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is said in words before any model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ForedraftError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Another program may use the port: choose one with --port.",
        ) from None
    return listener
