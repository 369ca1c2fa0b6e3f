"""Mixed load for a long time: connections cut at random bytes, each whole answer compared with its single-run text.

    python -m tests.server.soak --minutes 20 --requests 10000 --cuts 500

Ends with an error when an answer was wrong, when a slot or an answer was left behind, or when memory grew by more than
5 % after the first tenth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from typing import Any

import httpx
import psutil

from foredraft.server.services import ServerSettings
from tests.server import toy


def wish(random_: random.Random) -> dict[str, Any]:
    """A request, one of a few thousand different ones."""
    words = " ".join(random_.choice(["a", "cat", "the", "b", "x"]) for _ in range(random_.choice([3, 10, 60, 300])))
    body: dict[str, Any] = {
        "model": "toy",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": random_.choice([1, 8, 30, 80]),
        "seed": random_.randrange(20),
        "temperature": random_.choice([0, 1]),
        "stream": random_.random() < 0.5,
        "speculative": random_.choice([{}, {"enabled": False}, {"max_draft": 1}]),
    }
    if random_.random() < 0.2:
        schema = {"type": "array", "items": {"type": "boolean"}, "maxItems": 5}
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return body


async def text_of(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    if not body["stream"]:
        answer = await http.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        return answer.json()["choices"][0]["message"]["content"]
    text = ""
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                assert "error" not in chunk, chunk
                text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return text


async def cut(port: int, random_: random.Random) -> None:
    """Open a connection, send some of a request, read some of the answer, leave."""
    body = json.dumps({**wish(random_), "max_tokens": 500, "ignore_eos": True}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    whole = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = random_.choice([random_.randrange(1, len(whole)), len(whole), len(whole)])
    writer.write(whole[:sent])
    await writer.drain()
    if sent == len(whole):
        await reader.read(random_.randrange(1, 4000))
    writer.transport.abort()


async def load(address: str, deadline: float, count: int, cuts: int, services: Any) -> None:
    random_ = random.Random(1)
    port, process = int(address.rsplit(":", 1)[1]), psutil.Process()
    left = iter(range(count))
    done, wrong, memory = 0, 0, []
    async with httpx.AsyncClient(base_url=address, timeout=300) as http:

        async def client(number: int) -> None:
            nonlocal done, wrong
            own = random.Random(number)
            for _ in left:
                if time.monotonic() > deadline:
                    return
                body = wish(own)
                said = await text_of(http, body)
                plain = {**body, "stream": False, "draft_model": "off"}
                wrong += said != await text_of(http, plain)
                done += 1
                if done % max(1, count // 20) == 0:
                    memory.append(process.memory_info().rss)
                    print(f"{done} requests, {wrong} wrong, {memory[-1] / 1e6:.0f} MB", flush=True)

        async def cutter() -> None:
            for _ in range(cuts):
                if time.monotonic() > deadline:
                    return
                await cut(port, random_)

        await asyncio.gather(*(client(number) for number in range(8)), cutter(), cutter())
        async for states in services.runtime.watch():
            if all(state.running == state.waiting == 0 for state in states):
                break
    with services.runtime.use("toy") as model:
        assert model.scheduler.slots.free == len(model.scheduler.slots), "a slot was left behind"
    assert wrong == 0, f"{wrong} answers differ from their single run"
    settled = memory[len(memory) // 10 :] or memory
    growth = settled[-1] / settled[0] - 1 if settled else 0.0
    print(f"done: {done} requests, each compared with its plain run; {2 * cuts} connections cut; memory {growth:+.1%}")
    assert growth <= 0.05, "memory grew"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--cuts", type=int, default=500)
    asked = parser.parse_args()
    toy.ORDER = 1  # else the engine's memory of its rows grows for an hour
    services = toy.services(ServerSettings(), queue_limit=1000)
    with toy.serving(services) as address:
        deadline = time.monotonic() + asked.minutes * 60
        asyncio.run(load(address, deadline, asked.requests, asked.cuts // 2, services))


if __name__ == "__main__":
    main()
