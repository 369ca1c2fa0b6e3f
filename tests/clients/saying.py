"""Words for the toy model: what it says is forced by a grammar, so that thinking and calls can be told apart."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from foredraft.requests.generation_request import GenerationRequest
from foredraft.server.context import Services
from foredraft.server.pipeline import Submitted, submit
from tests.server.test_streams import settled


@contextlib.contextmanager
def saying(routes: ModuleType, *parts: str) -> Iterator[None]:
    """For as long as the block runs, the model's answers to a dialect's routes are these parts. One that stands in
    angle brackets alone (`</think>`) may be a token of its own."""

    async def told(services: Services, request: GenerationRequest, **more: Any) -> Submitted:
        grammar = "start: " + " ".join(json.dumps(part) for part in parts)
        return await submit(services, replace(request, grammar=grammar, schema=None, tool_choice="auto"), **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "submit", told)
        yield


def leave(services: Services, address: str, path: str, body: dict[str, Any], routes: ModuleType) -> None:
    """A client asks for a long answer and is gone while a pass is being made: the answer ends, its slot is free."""
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    reached, left, gone, ended = (threading.Event() for _ in range(4))
    passes: list[None] = []
    outcomes: list[str] = []

    def during() -> None:
        passes.append(None)
        if len(passes) == 3:
            reached.set()
            assert left.wait(30)

    services.runtime.listeners.append(lambda model_id, outcome: (outcomes.append(outcome.stop_reason), ended.set()))
    services.event_log.listeners.append(lambda entry: gone.set() if entry.kind == "request" else None)
    engine.during = during
    sent = json.dumps(body).encode()
    try:
        with saying(routes, "word " * 600):
            with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as raw:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sent)}\r\n"
                raw.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + sent)
                assert reached.wait(30)
            assert gone.wait(30), "the server has noticed, while a pass is being made"
        left.set()
        assert ended.wait(30)
    finally:
        left.set()
        engine.during = None
        services.runtime.listeners.pop()
        services.event_log.listeners.pop()
    assert outcomes == ["cancelled"]
    settled(services, lambda state: state.id == "toy" and state.running == 0)
