"""Many requests at once: a long queue, a time to come back, and sessions that keep to their own cached prefix."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from foredraft.runtime.managed_model import LoadSpec
from foredraft.server.context import Services
from tests.server import toy

ASK = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
LONG = {**ASK, "max_tokens": 40, "ignore_eos": True}


class Held:
    """The model thread inside its first pass, until it is let go."""

    def __init__(self, services: Services) -> None:
        asyncio.run(services.runtime.load(LoadSpec("toy", id="toy")))
        with services.runtime.use("toy") as model:
            self._engine: Any = model.scheduler.engine
        self.reached, self._open, self.submitted = threading.Event(), threading.Event(), 0
        self._engine.during = self._wait
        submit = services.runtime.submit

        def counted(*args: Any, **more: Any) -> Any:
            self.submitted += 1
            return submit(*args, **more)

        services.runtime.submit = counted  # type: ignore[method-assign]

    def _wait(self) -> None:
        self.reached.set()
        assert self._open.wait(60)

    def open(self) -> None:
        self._engine.during = None
        self._open.set()


def test_the_queue_takes_512_and_the_others_are_told_when_to_come_back() -> None:
    services = toy.services()
    held = Held(services)

    async def all_at_once(address: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=120, limits=limits) as http:
            first = asyncio.create_task(http.post("/v1/chat/completions", json=LONG))
            assert await asyncio.to_thread(held.reached.wait, 30)
            others = [asyncio.create_task(http.post("/v1/chat/completions", json=ASK)) for _ in range(3 + 512 + 5)]
            while held.submitted < 1 + len(others):
                await asyncio.sleep(0.01)
            held.open()
            return [await first, *await asyncio.gather(*others)]

    with toy.serving(services) as address:
        answers = asyncio.run(all_at_once(address))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == 5, "one has its slot, three are free"
    assert {answer.status_code for answer in answers} == {200, 503}
    assert sorted(int(answer.headers["retry-after"]) for answer in refused) == [1, 1, 1, 1, 2]
    assert refused[0].json()["error"]["code"] == "queue_full"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASK),
        ("/v1/responses", {"model": "toy", "input": "Hi"}),
        ("/v1/messages", ASK),
        ("/api/chat", {"model": "toy", "messages": ASK["messages"], "stream": False}),
        ("/api/v1/chat", {"model": "toy", "input": "Hi"}),
        ("/api/v1/chat", {"model": "toy", "input": "Hi", "stream": True}),
    ],
)
def test_every_dialect_says_when_to_come_back(path: str, body: dict[str, Any]) -> None:
    services = toy.services(queue_limit=0)
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        held = Held(services)
        running = [threading.Thread(target=http.post, args=["/v1/chat/completions"], kwargs={"json": LONG})]
        running[0].start()
        assert held.reached.wait(30)
        for _ in range(3):
            running.append(threading.Thread(target=http.post, args=["/v1/chat/completions"], kwargs={"json": LONG}))
            running[-1].start()
        while held.submitted < 4:
            threading.Event().wait(0.01)
        managed = services.runtime._manager.loaded("toy")
        managed.answer_s = 20.0
        asked = threading.Thread(target=lambda: said.append(http.post(path, json=body)))
        said: list[httpx.Response] = []
        asked.start()
        while held.submitted < 5:
            threading.Event().wait(0.01)
        held.open()
        for thread in (*running, asked):
            thread.join(60)
    (refused,) = said
    if body.get("stream"):
        last = json.loads(refused.text.strip().rsplit("data: ", 1)[1])
        assert (last["error"]["code"], last["error"]["retry_after"]) == ("queue_full", 5)
    else:
        assert refused.headers["retry-after"] == "5"
        assert refused.status_code in (503, 529), "Anthropic has a status of its own"
        if path not in ("/v1/messages", "/api/chat"):  # they have forms of their own
            assert refused.json()["error"]["retry_after"] == 5


@pytest.fixture
def two_slots() -> Iterator[str]:
    services = toy.services()
    asyncio.run(services.runtime.load(LoadSpec("toy", id="toy", settings={"n_slots": 2})))
    with toy.serving(services) as address:
        yield address


def cached_tokens(address: str, named: bool) -> list[int]:
    """Of three conversations that take turns on two slots: cached tokens of each turn. Each says who it is in another
    way."""
    names: list[dict[str, Any]] = [
        {"extra_body": {"prompt_cache_key": "one"}},
        {"extra_headers": {"x-session-affinity": "two"}},
        {"extra_body": {"session_id": "three"}},
    ]
    talks: list[list[Any]] = [[{"role": "user", "content": f"{i} " * 60}] for i in range(3)]
    cached = []
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        for _ in range(5):
            for talk, name in zip(talks, names, strict=True):
                answer = client.chat.completions.create(
                    model="toy", messages=talk, max_tokens=8, seed=1, **(name if named else {})
                )
                cached.append(answer.usage.prompt_tokens_details.cached_tokens)
                text = answer.choices[0].message.content
                talk += [{"role": "assistant", "content": text}, {"role": "user", "content": "Go on."}]
    return cached


def test_three_sessions_on_two_slots_find_their_own_prefix(two_slots: str) -> None:
    named = cached_tokens(two_slots, named=True)
    assert sum(count > 100 for count in named[3:]) >= 5, "about every other turn"


def test_three_that_say_nothing_lose_theirs_every_time(two_slots: str) -> None:
    assert not any(count > 100 for count in cached_tokens(two_slots, named=False))
