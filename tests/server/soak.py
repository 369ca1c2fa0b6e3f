"""Mixed load for a long time, with the hostile table beside it: `python -m tests.server.soak --minutes 20`.

Eight clients ask for everything (streams, several choices, tools, schemas, grammars, log probabilities, three dialects,
drafts by name), others cut connections at random bytes, change drafts, load and unload models, embed texts, and send
every body that once failed (`tests/harden/requests.py`). The server is a process of its own with toy models; each whole
answer is compared with its single run, without a draft, on a second server that does nothing else.

Ends with an error when an answer was wrong, a slot, an answer or a descriptor was left behind, memory grew by more than
2 % after the first fifth, the event loop stood still for 100 ms of the server's own work, or /health needed more than
100 ms more often than once in a hundred times.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import psutil

from foredraft.server.limits import BODY
from tests.harden.requests import ASK, CORPUS, LONGEST_GAP_S, Gap, Watch, said_of

CHAT = "/v1/chat/completions"
GROWTH, HEALTH_S = 0.02, 0.1
SCHEMA = {"type": "array", "items": {"type": "boolean"}, "maxItems": 5}
TOOL = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"enum": [1, 2]}}}},
}
LARK = 'start: ("ab" | "c")+ "."\n'


def wish(random_: random.Random) -> dict[str, Any]:
    """A chat request, one of many thousand different ones."""
    words = " ".join(random_.choice(["a", "cat", "the", "b", "x"]) for _ in range(random_.choice([3, 10, 60, 300])))
    body: dict[str, Any] = {
        "model": "toy",
        "messages": [{"role": "user", "content": words}],
        "max_tokens": random_.choice([1, 8, 30, 80]),
        "seed": random_.randrange(20),
        "temperature": random_.choice([0, 1]),
        "stream": random_.random() < 0.5,
        "n": random_.choice([1, 1, 1, 2, 3]),
        "speculative": random_.choice([{}, {"enabled": False}, {"max_draft": 1}]),
    }
    kind = random_.randrange(10)
    if kind < 2:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    elif kind == 2:
        body["response_format"] = {"type": "grammar", "grammar": LARK}
    elif kind == 3:
        body |= {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}
    elif kind == 4:
        body |= {"logprobs": True, "top_logprobs": 2}
    if random_.random() < 0.1:
        body["draft_model"] = random_.choice(["good-draft", "bad-draft", "off", "no-such-draft"])
    return body


def _said(message: dict[str, Any]) -> tuple[str, str]:
    calls = message.get("tool_calls") or []
    return message.get("content") or "", "".join(call["function"].get("arguments") or "" for call in calls)


async def texts_of(http: httpx.AsyncClient, body: dict[str, Any]) -> list[str]:
    """What each choice says, calls of tools by their arguments, behind the content."""
    if not body["stream"]:
        answer = await http.post(CHAT, json=body)
        answer.raise_for_status()
        return ["".join(_said(choice["message"])) for choice in answer.json()["choices"]]
    texts, arguments = [""] * body["n"], [""] * body["n"]
    async with http.stream("POST", CHAT, json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                chunk = json.loads(line.removeprefix("data: "))
                assert "error" not in chunk, chunk
                for choice in chunk["choices"]:
                    text, argument = _said(choice["delta"])
                    texts[choice["index"]] += text
                    arguments[choice["index"]] += argument
    return [text + argument for text, argument in zip(texts, arguments, strict=True)]


@dataclass
class Soak:
    """What happens, and what came of it."""

    http: httpx.AsyncClient
    alone: httpx.AsyncClient
    port: int
    deadline: float
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Those that are not as they should be, each told when it happens."""
    known: dict[str, list[str]] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tell(self, what: str) -> None:
        self.wrong.append(what)
        print(f"  {what}", flush=True)

    @property
    def over(self) -> bool:
        return time.monotonic() > self.deadline

    async def client(self, number: int) -> None:
        own = random.Random(number)
        while not self.over:
            body = wish(own)
            try:
                said = await texts_of(self.http, body)
                expected = await self.single(body)
            except (httpx.HTTPError, AssertionError) as error:
                self.tell(f"{type(error).__name__} {str(error)[:200]} at {json.dumps(body)[:200]}")
                continue
            self.counts["answers"] += body["n"]
            if said != expected:
                self.tell(f"{said} instead of {expected} at {json.dumps(body)[:300]}")

    async def single(self, body: dict[str, Any]) -> list[str]:
        """The same answers, each by itself, whole, without a draft, where nothing else is done."""
        texts = []
        for number in range(body["n"]):
            plain = {**body, "stream": False, "draft_model": "off", "n": 1, "seed": body["seed"] + number}
            key = json.dumps(plain, sort_keys=True)
            if key not in self.known:
                async with self.lock:
                    self.known[key] = await texts_of(self.alone, plain)
                if len(self.known) > 20_000:
                    self.known.pop(next(iter(self.known)))
            texts += self.known[key]
        return texts

    async def cutter(self, number: int) -> None:
        """Open a connection, send some of a request, read some of the answer, leave."""
        own = random.Random(1000 + number)
        while not self.over:
            body = json.dumps({**wish(own), "max_tokens": 500, "ignore_eos": True}).encode()
            head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
            whole = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            sent = own.choice([own.randrange(1, len(whole)), len(whole), len(whole)])
            writer.write(whole[:sent])
            await writer.drain()
            if sent == len(whole):
                await reader.read(own.randrange(1, 4000))
            writer.transport.abort()
            self.counts["cut connections"] += 1
            await asyncio.sleep(0.05)

    async def keeper(self) -> None:
        """Changes drafts, loads and unloads other models, embeds, asks in the other dialects."""
        own, last = random.Random(5), ""
        while not self.over:
            kind = own.randrange(9)
            if kind == 0:
                path, body = (
                    "/api/foredraft/draft",
                    {"model": "toy", "draft": own.choice(["auto", "good-draft", "off"])},
                )
            elif kind == 1:
                path, body = "/api/foredraft/load", {"model": "toy-small"}
            elif kind == 2:
                path, body = "/v1/embeddings", {"model": "toy-embed", "input": ["a cat", "the cat"]}
            elif kind == 3:
                path, body = "/api/v1/chat", {"model": "toy-small", "input": "a", "max_output_tokens": 5}
            elif kind == 4:
                path, body = "/v1/messages", {"model": "toy", "messages": ASK, "max_tokens": 9, "stream": True}
            elif kind == 5:
                path, body = "/api/chat", {"model": "toy", "messages": ASK, "options": {"num_predict": 9}}
            elif kind == 6:
                path, body = "/v1/completions", {"model": "toy", "prompt": "a cat", "echo": True, "logprobs": 1}
            elif kind == 7:
                path, body = "/tokenize", {"model": "toy", "content": "a cat"}
            else:
                path, body = "/v1/responses", {"model": "toy", "input": "a cat", "max_output_tokens": 9}
                body |= {"previous_response_id": last} if last else {}
            answer = await self.http.post(path, json=body)
            self.counts[path] += 1
            if path == "/v1/responses" and answer.status_code == 200:
                last = answer.json()["id"] if own.random() < 0.8 else ""  # else a new conversation
            if answer.status_code != 200:
                self.tell(f"{path}: {answer.status_code} {answer.text[:200]}")
            if kind in (1, 3):
                gone = await self.http.post("/api/foredraft/unload", json={"model": "toy-small"})
                if gone.status_code not in (200, 404):
                    self.tell(f"unload: {gone.status_code} {gone.text[:200]}")
            await asyncio.sleep(0.2)

    async def enemy(self, watch: Watch, pause: float) -> None:
        """Every body that once failed, again and again."""
        written = [(name, path, json.dumps(body).encode()) for name, (path, body) in CORPUS.items()]
        for name, path, content in itertools.cycle(written):
            if self.over:
                return
            watch.sent.append((time.time(), name))
            self.counts["hostile bodies"] += 1
            try:
                answer = await self.http.post(path, content=content, headers={"content-type": "application/json"})
            except httpx.TransportError as error:
                if len(content) <= BODY.most:  # else it is refused, and the connection closed, while it is being sent
                    self.tell(f"{name}: {error!r}")
                continue
            if answer.status_code >= 500 and answer.status_code != 503:
                self.tell(f"{name}: {answer.status_code} {answer.text[:200]}")
            await asyncio.sleep(pause)

    async def settled(self) -> None:
        """Until nothing runs or waits any more."""
        while True:
            states = (await self.http.get("/api/foredraft/models")).json()["models"]
            if all(state["running"] == state["waiting"] == 0 for state in states):
                return
            await asyncio.sleep(0.05)


async def look(server: psutil.Process, soak: Soak, memory: list[tuple[float, int]], every: float) -> None:
    """Memory (of the server alone), all the time."""
    said = time.monotonic()
    while not soak.over:
        memory.append((time.monotonic(), server.memory_info().rss))
        if time.monotonic() - said > 60:
            said = time.monotonic()
            print(
                f"{soak.counts['answers']} answers, {len(soak.wrong)} wrong, {memory[-1][1] / 1e6:.0f} MB", flush=True
            )
        await asyncio.sleep(every)


async def load(asked: argparse.Namespace, address: str, alone: str, server: psutil.Process, watch: Watch) -> list[str]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    memory: list[tuple[float, int]] = []
    seconds = asked.minutes * 60
    async with (
        httpx.AsyncClient(base_url=address, timeout=300, limits=limits) as http,
        httpx.AsyncClient(base_url=alone, timeout=300) as other,
    ):
        port = int(address.rsplit(":", 1)[1])
        # The model that everybody uses is loaded for good; the others come and go.
        (await http.post("/api/foredraft/load", json={"model": "toy"})).raise_for_status()
        warm = Soak(http, other, port, time.monotonic() + min(20.0, seconds / 5))
        await asyncio.gather(*(warm.client(n) for n in range(8)), warm.cutter(0), warm.keeper(), warm.enemy(watch, 0.1))
        await warm.settled()
        await asyncio.sleep(1)
        descriptors = server.num_fds()
        soak = Soak(http, other, port, time.monotonic() + seconds)
        await asyncio.gather(
            *(soak.client(number) for number in range(8)),
            *(soak.cutter(number) for number in range(2)),
            soak.keeper(),
            soak.enemy(watch, asked.pause),
            look(server, soak, memory, 1.0),
        )
        await soak.settled()
    await asyncio.sleep(1)  # connections that were closed are closed
    fell = warm.wrong + soak.wrong
    began, ended = memory[0][0], memory[-1][0]
    share = [((at - began) / (ended - began), size) for at, size in memory]
    first = statistics.median(size for at, size in share if 0.2 <= at < 0.4)
    last = statistics.median(size for at, size in share if at >= 0.8)
    growth = last / first - 1
    print(
        f"{', '.join(f'{count:,} {what}' for what, count in sorted(soak.counts.items()))}; {len(fell)} wrong; memory "
        f"{first / 1e6:.0f} MB, at the end {last / 1e6:.0f} MB ({growth:+.1%})"
    )
    if growth > GROWTH:
        fell.append(f"memory grew by {growth:.1%}")
    with httpx.Client(base_url=address, timeout=60) as one:  # as many connections as before: one
        one.get("/health")
        left = server.num_fds()
    print(f"descriptors: {descriptors} after the beginning, {left} at the end")
    if left > descriptors:
        fell.append(f"{left} descriptors instead of {descriptors}")
    return fell


def _server() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.harden.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between two hostile bodies")
    asked = parser.parse_args()
    with _server() as process, _server() as quiet:
        assert process.stdout is not None
        assert quiet.stdout is not None
        address, alone = process.stdout.readline().strip(), quiet.stdout.readline().strip()
        watch = Watch(address)
        try:
            fell = asyncio.run(load(asked, address, alone, psutil.Process(process.pid), watch))
        finally:
            watch.stop()
            for one in (process, quiet):
                assert one.stdin is not None
                one.stdin.close()
        seen = json.loads(process.stdout.readline())
        process.wait(60)
    gaps = sorted((Gap(*gap) for gap in seen["gaps"]), key=lambda gap: gap.own, reverse=True)
    fell += seen["left"]
    fell += [f"the event loop stood still: {said_of(gap, watch)}" for gap in gaps if gap.own > LONGEST_GAP_S]
    print(f"{watch}; longest gaps of the event loop: {'; '.join(said_of(gap, watch) for gap in gaps[:3]) or 'none'}")
    if watch.share(0.99) > HEALTH_S:
        fell.append(f"/health: 99 % within {watch.share(0.99) * 1e3:.0f} ms")
    for what in fell[:20]:
        print(f"  {what}")
    return int(bool(fell))


if __name__ == "__main__":
    sys.exit(main())
