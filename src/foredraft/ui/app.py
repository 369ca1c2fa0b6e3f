"""The chat app on the server's application: `mount(app, services)`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from nicegui import core, ui

from foredraft.chats import open_or_set_aside
from foredraft.config.folders import data_folder
from foredraft.server.context import Services
from foredraft.server.event_log import Entry
from foredraft.ui import pages
from foredraft.ui.downloads import Downloads
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.laboratory import Laboratory
from foredraft.ui.measuring import Measuring
from foredraft.ui.policy import ContentPolicy
from foredraft.ui.routes import add_routes
from foredraft.ui.shelf import ShelfView
from foredraft.ui.state import AppState

RECONNECT_S = 60.0
"""How long a page's server side waits for its browser: a phone that slept for a minute goes on where it was."""
LARGEST_MESSAGE = 16 << 20
"""Bytes a page may send at once over its connection."""


def app_state(services: Services) -> AppState:
    """The app's own living parts, around the server's."""
    chats = services.chats or open_or_set_aside(data_folder() / "chats.db")
    services.chats = chats
    hub = Hub()
    shelf = ShelfView(services.store, hub)
    measuring = Measuring(services, shelf, hub)
    services.event_log.listeners.append(lambda entry: _models_told(entry, hub))
    return AppState(
        services=services,
        chats=chats,
        hub=hub,
        generations=Generations(services, chats, hub),
        shelf=shelf,
        measuring=measuring,
        laboratory=Laboratory(measuring, chats, hub),
        downloads=Downloads(shelf, hub, services.pools.downloads),
    )


def _models_told(entry: Entry, hub: Hub) -> None:
    """A load at the start may fail before any page is there, or while one looks on."""
    if entry.kind == "model":
        with contextlib.suppress(RuntimeError):  # written on another thread: the runtime's own news will follow
            asyncio.get_running_loop().call_soon(hub.publish, "ready")


def mount(app: FastAPI, services: Services) -> AppState:
    """Put the app's pages on the server's application, at `/`. Its API keeps its paths."""
    state = app_state(services)
    add_routes(app, state)
    pages.register(state)
    app.add_middleware(ContentPolicy)
    _run_with(app)
    _around(app, state)
    return state


def _run_with(app: FastAPI) -> None:
    ui.run_with(
        app,
        title="Foredraft",
        favicon="⚡",
        dark=None,
        language="en-US",
        reconnect_timeout=RECONNECT_S,
        tailwind=False,
        show_welcome_message=False,
    )
    core.sio.eio.max_http_buffer_size = LARGEST_MESSAGE
    core.sio.eio.cors_allowed_origins = None  # pages of this server only


def _around(app: FastAPI, state: AppState) -> None:
    """Follow the runtime for as long as the application runs, and end what is running with it."""
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        async with inner(application):
            await asyncio.to_thread(state.shelf.models)
            await asyncio.to_thread(state.machine.gpus)
            watching = asyncio.get_running_loop().create_task(watch_models(state))
            try:
                yield
            finally:
                watching.cancel()
                await state.generations.close()
                state.chats.close()

    app.router.lifespan_context = lifespan


async def watch_models(state: AppState) -> None:
    """Tell pages when models come, go, or change their status; and, more rarely, how far loading is."""
    known: object = None
    drafting: object = None
    async for models in state.services.runtime.watch():
        now = [(m.id, m.status, m.part, m.draft_info.path if m.draft_info else "", m.info is not None) for m in models]
        statuses = [m.speculation for m in models]
        if now != known:
            known, drafting = now, statuses
            state.hub.publish("ready")
        elif statuses != drafting:
            drafting = statuses
            state.hub.publish("speculation")
        elif any(m.status == "loading" for m in models):
            state.hub.publish("progress")
        await asyncio.sleep(0.1)  # ten times a second is often enough to look at
