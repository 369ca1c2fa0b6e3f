"""Slow work of one kind takes its own threads and its own queue; nobody else waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from foredraft.core.cancellation import GivenUpError, still_wanted
from foredraft.server.context import Services
from foredraft.server.downloads import Downloads
from foredraft.server.pools import BusyError, Pool
from tests.server import toy

CHAT = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}


async def settled(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def test_the_queue_of_a_pool_ends() -> None:
    pool, go = Pool("things", 1, 2, retry_after=7), threading.Event()
    tasks = [asyncio.create_task(pool.run(go.wait)) for _ in range(3)]
    await settled(lambda: pool.waiting == 2)
    with pytest.raises(BusyError, match="2 things are waiting already; at most 2 may") as error:
        await pool.run(go.wait)
    assert error.value.retry_after == 7
    go.set()
    assert await asyncio.gather(*tasks) == [True] * 3
    assert await pool.run(lambda: 5) == 5
    pool.close()


async def test_what_nobody_waits_for_is_given_up() -> None:
    pool, begun, go, seen = Pool("things", 1, 9), threading.Event(), threading.Event(), []

    def long() -> None:
        begun.set()
        go.wait(30)
        try:
            still_wanted()
        except GivenUpError:
            seen.append("long work stopped")
            raise
        seen.append("long work went on")

    task = asyncio.create_task(pool.run(long))
    await asyncio.to_thread(begun.wait)
    never = asyncio.create_task(pool.run(seen.append, "began"))
    await settled(lambda: pool.waiting == 1)
    for given_up in (task, never):
        given_up.cancel()
    await asyncio.gather(task, never, return_exceptions=True)
    go.set()
    await pool.run(seen.append, "next")
    assert seen == ["long work stopped", "next"]
    pool.close()


async def test_a_pool_that_closes_stops_what_runs() -> None:
    pool, begun, closed = Pool("things", 1, 9), threading.Event(), threading.Event()

    def endless() -> None:
        begun.set()
        closed.wait(30)
        still_wanted()

    task = asyncio.create_task(pool.run(endless))
    await asyncio.to_thread(begun.wait)
    pool.close()
    closed.set()
    with pytest.raises(GivenUpError):
        await task


class Gate:
    """Holds calls until it is opened."""

    def __init__(self) -> None:
        self.inside = threading.Semaphore(0)
        self.open = threading.Event()
        self.calls = 0

    def __call__(self, *args: Any) -> bool:
        self.calls += 1
        self.inside.release()
        assert self.open.wait(60)
        return True


@contextmanager
def served(services: Services) -> Iterator[httpx.Client]:
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        assert http.post("/v1/chat/completions", json=CHAT).status_code == 200
        yield http


def others_are_answered(http: httpx.Client) -> None:
    assert http.get("/health").status_code == 200
    assert {entry["id"] for entry in http.get("/v1/models").json()["data"]} >= {"toy"}
    assert "foredraft" in http.get("/metrics").text


def test_many_downloads_hold_up_nothing_else() -> None:
    services, gate = toy.services(), Gate()
    services.downloads = Downloads(gate)
    pool = services.pools.downloads
    with served(services) as http:
        for number in range(pool.threads + pool.most_waiting):
            begun = http.post("/api/v1/models/download", json={"model": f"o/m{number}"})
            assert begun.json()["status"] == "downloading"
        refused = http.post("/api/v1/models/download", json={"model": "o/more"})
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "60"
        others_are_answered(http)
        assert http.post("/v1/chat/completions", json=CHAT).status_code == 200
        assert gate.calls <= pool.threads
        gate.open.set()


def test_prompts_that_wait_hold_up_nothing_else() -> None:
    """One is being written, one waits, the next is told to come again; that of a client who has gone never begins."""
    services, gate = toy.services(), Gate()
    services.pools.prompts.close()
    services.pools = replaced(services, Pool("prompts to write", 1, 1))
    with served(services) as http:
        prepare = services.preparation.prepare

        def slow(*asked: Any) -> Any:
            gate()
            return prepare(*asked)

        services.preparation.prepare = slow  # type: ignore[method-assign]
        answers: list[httpx.Response] = []
        first = threading.Thread(target=lambda: answers.append(http.post("/v1/chat/completions", json=CHAT)))
        first.start()
        gate.inside.acquire(timeout=60)
        with httpx.Client(base_url=http.base_url, timeout=0.5) as impatient, pytest.raises(httpx.TimeoutException):
            impatient.post("/v1/chat/completions", json=CHAT)
        others_are_answered(http)
        second = threading.Thread(target=lambda: answers.append(http.post("/v1/chat/completions", json=CHAT)))
        second.start()
        while services.pools.prompts.waiting < 1:
            threading.Event().wait(0.001)
        refused = http.post("/v1/chat/completions", json=CHAT)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "busy"
        assert int(refused.headers["retry-after"]) > 0
        gate.open.set()
        first.join()
        second.join()
        assert [answer.status_code for answer in answers] == [200, 200]
        assert gate.calls == 2


def replaced(services: Services, prompts: Pool) -> Any:
    from dataclasses import replace

    return replace(services.pools, prompts=prompts)
