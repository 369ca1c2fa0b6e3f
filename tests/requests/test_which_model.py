"""Server, app and commands agree which of several loaded models answers where none is named."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from typer.testing import CliRunner

from foredraft.chats import ChatStore
from foredraft.cli import remote
from foredraft.cli.main import app
from foredraft.pair.llm import LLM
from foredraft.server.client import Client
from foredraft.ui.app import app_state
from tests.server import toy


@pytest.mark.parametrize(
    ("default", "loaded", "answers"),
    [
        ("toy", ("toy", "toy-small"), "toy"),
        ("toy-small", ("toy-small", "toy"), "toy-small"),
        ("", ("toy", "toy-small"), "toy-small"),
        ("", ("toy-small", "toy"), "toy"),
        ("broken", ("toy-small", "toy"), "toy"),
        ("toy-embed", ("toy-small", "toy-embed"), "toy-small"),
    ],
)
def test_who_answers(default: str, loaded: tuple[str, ...], answers: str) -> None:
    services = toy.services(auto_evict=False)
    services.default_model = default
    services.chats = ChatStore(None)
    with toy.serving(services) as address, pytest.MonkeyPatch.context() as patch:
        for name in loaded:
            httpx.post(f"{address}/api/foredraft/load", json={"model": name}, timeout=60).raise_for_status()
        answer = httpx.post(f"{address}/v1/completions", json={"prompt": "a", "max_tokens": 1}, timeout=60).json()
        assert answer["model"] == answers
        state = app_state(services)
        shown = state.loaded()
        assert shown is not None
        assert (shown.id, state.generations.model_id()) == (answers, answers)
        assert state.generations.model_id(loaded[0]) == loaded[0], "the chat's own, where it is ready"
        patch.setattr(remote, "find_server", lambda *_: Client(address))
        patch.delattr(LLM, "load")  # the server answers
        result = CliRunner().invoke(app, ["run", "--json", "-n", "1", "a"])
        assert json.loads(result.stdout)["model"] == answers, result.output
    services.chats.close()
    asyncio.run(services.runtime.close(0.0))
