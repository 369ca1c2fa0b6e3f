"""Run the application on a socket until somebody stops it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from foredraft.core.errors import ParameterError
from foredraft.server.address import BACKLOG, listen, url
from foredraft.server.connections import AT_ONCE, protocol
from foredraft.server.context import ServerSettings, Services
from foredraft.server.origins import is_loopback

LAST_WORDS_S = 5
"""Seconds for the errors that end answers at the end of the grace time."""
TURN_S = 0.001
"""How long another thread (one that reads a large body, say) may keep the interpreter from the event loop and from the
thread that owns the models when they come back from a call that let it go. Python's own is 0.005."""
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
        for listener in sockets or ():
            listener.listen(BACKLOG)  # asyncio has made it as short as its batches
        if not self.should_exit:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._services.stopping()
        finishing = asyncio.create_task(self._services.finish())
        try:
            await super().shutdown(sockets)
        finally:
            finishing.cancel()

    def run_on(self, listeners: list[socket.socket]) -> None:
        """Until it is told to stop, in an event loop of its own."""
        with contextlib.ExitStack() as open_ones:
            for listener in listeners:
                open_ones.enter_context(listener)
            runner = open_ones.enter_context(asyncio.Runner(loop_factory=event_loop()))
            runner.run(self.serve(listeners))


def serve(app: FastAPI, services: Services, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM. Running answers may end within the grace time; then they end with an error.
    `ready` is called when requests are taken."""

    def begin() -> None:
        settle()
        sys.setswitchinterval(TURN_S)
        ready()

    settings = services.settings
    check_address(settings)
    listeners = _listen(services)
    _Server(_config(app, settings), services, begin).run_on(listeners)


@contextlib.contextmanager
def serving(app: FastAPI, services: Services) -> Iterator[str]:
    """The same server on a thread of its own, for as long as the block runs; its address. Port 0 takes a free one."""
    settings = services.settings
    check_address(settings)
    listeners = _listen(services)
    started = threading.Event()
    server = _Server(_config(app, settings), services, started.set)

    def run() -> None:
        try:
            server.run_on(listeners)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="foredraft-server", daemon=True)
    thread.start()
    started.wait()
    try:
        yield url(settings.host, services.settings.port)
    finally:
        server.should_exit = True
        thread.join()


def _listen(services: Services) -> list[socket.socket]:
    """Listen where the settings say; they know the port then."""
    listeners, said = listen(services.settings.host, services.settings.port)
    services.settings = dataclasses.replace(services.settings, port=listeners[0].getsockname()[1])
    if said:
        logger.warning(said)
        services.event_log.write("server", said)
    return listeners


def settle() -> None:
    """Take what lives as long as the process out of the garbage collector's sight. It holds up every thread while it
    looks at all of it, and does so again and again while a large body is read: 190,000 lists took 98 ms, and now 30."""
    gc.collect()
    gc.freeze()


def _config(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.grace_s) + LAST_WORDS_S,
        timeout_keep_alive=30,
        http=protocol(),
        ws="auto",
        ws_max_size=settings.max_body,
        backlog=AT_ONCE,
    )


def event_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is there (it is not on Windows): less time a request and a chunk than asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
