"""The server is told to stop: what has begun may end, the rest is told so in its own form. No 500, nothing just cut."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import httpx
import pytest

from foredraft.server.context import ServerSettings
from tests.server import toy

ENDLESS = {"logit_bias": {"1": -100}, "temperature": 0}
"""The toy's end token is never chosen."""


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], **ENDLESS, **more}


class Asked(threading.Thread):
    """A request on a thread of its own."""

    def __init__(self, address: str, path: str, body: dict[str, Any]) -> None:
        super().__init__()
        self.url, self.body = address + path, body
        self.status, self.text, self.headers = 0, "", httpx.Headers()
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        with httpx.stream("POST", self.url, json=self.body, timeout=60) as answer:
            self.status, self.headers = answer.status_code, answer.headers
            for part in answer.iter_text():
                self.text += part
                self.begun.set()
        self.begun.set()


def running(http: httpx.Client, count: int, waiting: int) -> None:
    while True:
        (state,) = http.get("/api/foredraft/models").json()["models"]
        if (state["running"], state["waiting"]) == (count, waiting):
            return


def last_event(text: str) -> dict[str, Any]:
    events = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return json.loads([event for event in events if event != "[DONE]"][-1])


@pytest.mark.timeout(120)
def test_what_does_not_end_in_time_ends_with_a_typed_error(caplog: pytest.LogCaptureFixture) -> None:
    services = toy.services(ServerSettings(grace_s=0.5))
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        with services.runtime.use("toy") as model:
            model.scheduler.engine.during = lambda: threading.Event().wait(0.01)
        long = {"max_tokens": 3000}
        streams = [
            Asked(address, "/v1/chat/completions", chat(stream=True, **long)),
            Asked(address, "/v1/responses", {"model": "toy", "input": "Hi", "stream": True, **ENDLESS}),
            Asked(address, "/api/v1/chat", {"model": "toy", "input": "Hi", "stream": True, **ENDLESS}),
        ]
        for stream in streams:
            assert stream.begun.wait(60)
        whole = Asked(address, "/v1/chat/completions", chat(**long))
        running(http, 4, 0)
        queued = Asked(address, "/v1/chat/completions", chat(**long))
        streamed = Asked(address, "/v1/chat/completions", chat(stream=True, **long))
        running(http, 4, 2)
    for asked in (*streams, whole, queued, streamed):
        asked.join(60)
        assert not asked.is_alive()
    completion, responses, lmstudio = streams
    assert last_event(completion.text)["error"]["code"] == "shutting_down"
    assert completion.text.rstrip().endswith("data: [DONE]")
    assert last_event(responses.text)["code"] == "shutting_down"
    assert last_event(lmstudio.text)["error"]["code"] == "shutting_down"
    assert last_event(streamed.text)["error"]["code"] == "shutting_down"
    for refused in (whole, queued):
        assert refused.status == 503
        assert refused.headers["retry-after"]
        assert json.loads(refused.text)["error"]["code"] == "shutting_down"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_what_waits_is_told_at_once_and_what_has_begun_may_end() -> None:
    services = toy.services(ServerSettings(grace_s=60.0))
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        http.post("/v1/chat/completions", json=chat(max_tokens=1))
        go = threading.Event()
        with services.runtime.use("toy") as model:
            model.scheduler.engine.during = lambda: go.wait(0.05)
        begun = [Asked(address, "/v1/chat/completions", chat(max_tokens=300)) for _ in range(4)]
        running(http, 4, 0)
        queued = Asked(address, "/v1/chat/completions", chat(max_tokens=5))
        running(http, 4, 1)
        services.stopping()
        go.set()
        queued.join(60)
        assert queued.status == 503
        refused = http.post("/v1/chat/completions", json=chat(max_tokens=5))
        assert refused.status_code == 503
        for asked in begun:
            asked.join(60)
            assert asked.status == 200
