"""The app without a browser: pages are built and used in Python, on a runtime and a shelf by decree."""

import sys
from contextlib import asynccontextmanager

import pytest
from nicegui.testing.user_simulation import user_simulation

from foredraft.chats import ChatStore
from foredraft.server.context import Services
from foredraft.ui import pages
from foredraft.ui.app import app_state
from tests.ui.fakes import SHELF, FakeRuntime, FakeStore


@pytest.fixture(autouse=True)
def modules_stay():
    """NiceGUI's simulation takes the packages of its pages out of `sys.modules`: who imports them next gets others,
    and a test that runs later in this process would patch what nobody uses."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "foredraft"}
    yield
    sys.modules.update(ours)


@pytest.fixture
def app():
    """`async with app(state, …) as (user, state)`: the app's pages with these models loaded and these on the shelf."""

    @asynccontextmanager
    async def run(*states, shelf=SHELF, mode="power", language="en"):
        chats = ChatStore(None)
        chats.set_preference("mode", mode)
        chats.set_preference("language", language)
        services = Services(FakeRuntime(*states), store=FakeStore(*shelf), chats=chats)
        async with user_simulation() as user:
            state = app_state(services)
            pages.register(state)
            yield user, state
        chats.close()

    return run
