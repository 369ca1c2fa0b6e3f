"""Requests of every bad kind against a real server on the loopback, with the corpus of what once failed.

The server is a process of its own with toy models, and watches its event loop. All the time another process asks it
for /health. Said of every run: the median, 99th percentile and longest wait of /health, the longest gap of the event
loop (with the processor time of the server in it: what is lacking of it, others took), and the request that took most
processor time and most memory, children included. What falls: a death, a 5xx other than 503, an answer that is no error
object, a request that takes more than 10 s of a core or 256 MB, a gap of the loop in which the server worked for more
than 100 ms, a wait of more than a second (100 ms are the bar on a quiet machine).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.harden.tally import Tally

LONGEST_CORE_S = 10.0
MOST_BYTES = 256 << 20
LONGEST_GAP_S = 0.1
LONGEST_WAIT_S = 1.0
WATCH = """
import http.client, json, select, sys, time
connection = http.client.HTTPConnection(sys.argv[1].removeprefix("http://"), timeout=60)
waits = []
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.02)[0]:
    began = time.time()
    try:
        connection.request("GET", "/health")
        connection.getresponse().read()
    except OSError:
        break
    waits.append((time.time() - began, began))
print(json.dumps(waits))
"""
ASK = [{"role": "user", "content": "Hi"}]
BLOCK = {"type": "text", "text": "a"}
CHAT, RESPONSES, V1 = "/v1/chat/completions", "/v1/responses", "/api/v1/chat"
MESSAGES, OLLAMA = "/v1/messages", "/api/chat"


def chat(**more: Any) -> dict[str, Any]:
    return {"model": "toy", "messages": ASK, "max_tokens": 2, **more}


def form(schema: Any) -> dict[str, Any]:
    return chat(response_format={"type": "json_schema", "json_schema": {"schema": schema}})


def lark(text: str) -> dict[str, Any]:
    return chat(response_format={"type": "grammar", "grammar": text})


def chain(count: int, link: Callable[[dict[str, str]], Any]) -> dict[str, Any]:
    defs = {f"d{n}": link({"$ref": f"#/$defs/d{n + 1}"}) for n in range(count)}
    return {"$defs": {**defs, f"d{count}": {"type": "null"}}, "$ref": "#/$defs/d0"}


CORPUS: dict[str, tuple[str, Any]] = {
    "object chain": (CHAT, form(chain(1000, lambda ref: {"type": "object", "properties": {"a": ref}}))),
    "items chain": (CHAT, form(chain(1500, lambda ref: {"type": "array", "items": ref}))),
    "anyOf chain": (CHAT, form(chain(2000, lambda ref: {"anyOf": [ref, {"type": "null"}]}))),
    "allOf chain": (CHAT, form(chain(2000, lambda ref: {"allOf": [ref]}))),
    "plain chain": (CHAT, form(chain(3000, lambda ref: ref))),
    "rules": (CHAT, lark("start: r0\n" + "".join(f"r{n}: r{n + 1}\n" for n in range(3000)) + 'r3000: "a"\n')),
    "alternatives": (CHAT, lark("start: " + " | ".join('"a"' for _ in range(200_000)))),
    "parentheses": (CHAT, lark("start: " + "(" * 100_000)),
    "keys": (CHAT, chat(**{f"unknown{n}": 1 for n in range(1_000_000)})),
    "bias": (CHAT, chat(logit_bias={str(n): 1.0 for n in range(200_000)})),
    "wrong bias": (CHAT, chat(logit_bias={f"x{n}": "y" for n in range(90_000)})),
    "const": (CHAT, form({"const": "a" * 5_000_000})),
    "property name": (CHAT, form({"properties": {"a" * 1_000_000: {"type": "null"}}})),
    "special tokens": (CHAT, chat(messages=[{"role": "user", "content": "<s>" * 1_000_000}])),
    "messages": (RESPONSES, {"input": [{"role": "user", "content": "a"}] * 100_000}),
    "truncation": (CHAT, chat(messages=ASK * 10_000, truncation="auto")),
    "parts": (V1, {"input": [{"type": "text", "content": "a"}] * 100_000}),
    "arguments": (
        CHAT,
        chat(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[" * 5000}}]}]),
    ),
    "settings": ("/api/foredraft/load", {"model": "toy", "settings": {"context": "x", "kv_type": "q9"}}),
    "stops": (CHAT, chat(stop=["a"] * 10_000)),
    "texts": ("/v1/embeddings", {"input": ["a"] * 2049}),
    "numbers": ("/v1/embeddings", {"input": [1] * 900_000}),
    "lists": ("/v1/embeddings", {"input": [[1]] * 190_000}),
    "one long text": (CHAT, chat(messages=[{"role": "user", "content": "a" * 15_000_000}])),
    "escapes": (CHAT, chat(messages=[{"role": "user", "content": "\n" * 8_000_000}])),
    "model name": (CHAT, chat(model="m" * 1_000_000)),
    "tools": (CHAT, chat(tools=[{"function": {"name": f"f{n}"}} for n in range(5000)], tool_choice="required")),
    "blocks": (MESSAGES, {"max_tokens": 9, "messages": [{"role": "user", "content": [BLOCK] * 100_000}]}),
    "many messages": (MESSAGES, {"max_tokens": 9, "messages": [{"role": "user", "content": "a"}] * 100_000}),
    "system blocks": (MESSAGES, {"max_tokens": 9, "messages": ASK, "system": [BLOCK] * 100_000}),
    "thinking tools": (MESSAGES, {"max_tokens": 9, "messages": ASK, "tools": [{"name": "f"}] * 50_000}),
    "ollama messages": (OLLAMA, {"messages": [{"role": "user", "content": "a"}] * 100_000}),
    "ollama options": (OLLAMA, {"messages": ASK, "options": {f"x{n}": n for n in range(200_000)}}),
    "ollama format": (OLLAMA, {"messages": ASK, "format": chain(1000, lambda ref: {"type": "array", "items": ref})}),
    "ollama context": ("/api/generate", {"prompt": "a", "context": [1] * 900_000}),
    "items": (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "a", "output": "b"}] * 90_000}),
    "unknown items": (RESPONSES, {"input": [{"type": f"x{n}"} for n in range(90_000)]}),
    "namespaces": (RESPONSES, {"input": "a", "tools": [{"type": "namespace", "tools": [{"name": "f"}] * 900}] * 90}),
    "echo": ("/v1/completions", {"prompt": "a " * 2_000_000, "echo": True, "logprobs": 20, "max_tokens": 0}),
    "suffix": ("/v1/completions", {"prompt": "a", "suffix": "b" * 5_000_000}),
    "to tokens": ("/tokenize", {"content": "<s>" * 1_000_000}),
    "from tokens": ("/detokenize", {"tokens": [1] * 900_000}),
    "prefill": (CHAT, chat(messages=[*ASK, {"role": "assistant", "content": "a" * 5_000_000}])),
    "variables": (CHAT, chat(chat_template_kwargs={"a": "b" * 5_000_000})),
    "one role": (MESSAGES, {"max_tokens": 9, "messages": [{"role": "user", "content": "a" * 1500}] * 9_000}),
    "thoughts": (RESPONSES, {"input": [{"type": "reasoning", "content": "a" * 1500, "summary": []}] * 9_000}),
}
"""Bodies that once killed the server, froze it, or got a 500."""

RAW = {
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    "host [": b"GET /health HTTP/1.1\r\nHost: [\r\n\r\n",
    "origin [": b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://[\r\n\r\n",
    "length": b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "head": b"GET /health HTTP/1.1\r\nX: " + b"a" * 300_000,
    "nothing http": b"\0\1\2\3 nonsense\r\n\r\n",
}
"""Bytes that once got a 500, or were taken without an end."""

LOOKS = ("/v1/nothing", "/docs", "/openapi.json", "/metrics", "/v1/models", "/api/v1/models", "/" + "x" * 60_000)
"""Addresses that cost something, the first time at least."""


def attack(seconds: float) -> list[str]:
    """First the corpus, then changes of it until the time is over; what fell."""
    fell: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", "tests.harden.server"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        bodies, count, name = _bodies(random.Random(16)), 0, "the beginning"
        first = next(bodies)  # writes the whole corpus down, before anybody looks
        watch, used = Watch(address), Used(process.pid)
        ends = time.monotonic() + seconds
        try:
            for name, raw in RAW.items():
                _send_raw(address, name, raw, fell)
            with httpx.Client(base_url=address, timeout=60) as http:
                for path in LOOKS:
                    watch.sent.append((time.time(), path[:60]))
                    if http.get(path).status_code >= 500:
                        fell.append(f"GET {path[:60]}")
                for name, path, body in itertools.chain([first], bodies):
                    if process.poll() is not None or (count >= len(CORPUS) and time.monotonic() > ends):
                        break
                    watch.sent.append((time.time(), name))
                    used.begin()
                    _send(http, name, path, body, fell)
                    used.end(name, fell)
                    count += 1
        finally:
            watch.stop()
            process.stdin.close()
        seen = json.loads(process.stdout.readline() or '{"gaps": [], "left": []}')
        gaps = [Gap(*gap) for gap in seen["gaps"]]
        fell += seen["left"]
        if process.wait(60) != 0:
            fell.append(f"the server ended with {process.returncode} at {name}")
    gaps.sort(key=lambda gap: gap.own, reverse=True)
    fell += [f"the event loop stood still: {said_of(gap, watch)}" for gap in gaps if gap.own > LONGEST_GAP_S]
    if watch.longest > LONGEST_WAIT_S:
        fell.append(f"/health waited {watch.longest:.2f} s at {watch.at(watch.longest_began + watch.longest)}")
    print(f"requests: {count} bodies, {len(RAW)} raw; {watch}; {used}")
    print(f"requests: longest gaps of the event loop: {'; '.join(said_of(gap, watch) for gap in gaps[:5]) or 'none'}")
    return fell


@dataclass(frozen=True, slots=True)
class Gap:
    """Of the event loop. `ended` is Unix time, `thread` what the loop's own thread took of a processor, `process` what
    all threads of the server did. A gap that is longer than the latter is a machine that was busy elsewhere."""

    ended: float = 0.0
    seconds: float = 0.0
    thread: float = 0.0
    process: float = 0.0

    @property
    def own(self) -> float:
        return min(self.seconds, self.process)


def said_of(gap: Gap, watch: Watch) -> str:
    return (
        f"{gap.seconds * 1e3:.0f} ms ({gap.process * 1e3:.0f} of the server's, {gap.thread * 1e3:.0f} of the loop's "
        f"thread) at {watch.at(gap.ended)}"
    )


class Used:
    """Processor time and memory of the server and its children, for one request after the other. Where the system does
    not tell the most memory that was used (Linux does), it is what is left of it."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._seconds, self._bytes = 0.0, 0
        self.dearest, self.largest = (0.0, "nothing"), (0, "nothing")

    def begin(self) -> None:
        with contextlib.suppress(OSError):  # the peak begins anew
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5", encoding="ascii")
        self._seconds, self._bytes = self._spent(), self._held()

    def end(self, name: str, fell: list[str]) -> None:
        try:
            seconds, grew = self._spent() - self._seconds, self._held() - self._bytes
        except psutil.NoSuchProcess:
            return  # a death, told elsewhere
        self.dearest = max(self.dearest, (seconds, name))
        self.largest = max(self.largest, (grew, name))
        if seconds > LONGEST_CORE_S:
            fell.append(f"{name}: {seconds:.1f} s of a core")
        if grew > MOST_BYTES:
            fell.append(f"{name}: {grew / 2**20:.0f} MiB more")

    def _spent(self) -> float:
        family = [self._process, *self._process.children()]
        total = 0.0
        for one in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                total += times.user + times.system
                if one is self._process:  # those that were replaced
                    total += times.children_user + times.children_system
        return total

    def _held(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) * 1024
        return int(self._process.memory_info().rss)

    def __str__(self) -> str:
        (seconds, dear), (grew, large) = self.dearest, self.largest
        return f"at most {seconds:.1f} s of a core ({dear}) and {grew / 2**20:.0f} MiB ({large}) a request"


class Watch:
    """A process that asks for /health all the time, and knows the waits: no work of this one delays it."""

    def __init__(self, address: str) -> None:
        self.sent: list[tuple[float, str]] = []
        """(Unix seconds, name) of everything that was sent."""
        self.waits: list[float] = []
        self.longest, self.longest_began = 0.0, 0.0
        command = [sys.executable, "-c", WATCH, address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> None:
        said, _ = self._process.communicate()
        waits = json.loads(said)
        self.longest, self.longest_began = max(waits, default=(0.0, 0.0))
        self.waits = sorted(wait for wait, _ in waits)

    def at(self, moment: float) -> str:
        """What was being answered then."""
        before = [name for at, name in self.sent if at <= moment]
        return before[-1] if before else "the beginning"

    def share(self, part: float) -> float:
        """A quantile of the waits."""
        return self.waits[min(len(self.waits) - 1, int(part * len(self.waits)))] if self.waits else math.nan

    def __str__(self) -> str:
        return (
            f"/health {len(self.waits)} times: median {self.share(0.5) * 1e3:.1f} ms, 99 % within "
            f"{self.share(0.99) * 1e3:.0f} ms, longest {self.longest * 1e3:.0f} ms "
            f"({self.at(self.longest_began + self.longest)})"
        )


def _bodies(chance: random.Random) -> Iterator[tuple[str, str, bytes]]:
    """The corpus as it is, then changed: cut, with other bytes, with parts of another, nested."""
    written = {name: (path, json.dumps(body).encode()) for name, (path, body) in CORPUS.items()}
    yield from ((name, path, body) for name, (path, body) in written.items())
    names = list(written)
    while True:
        name = chance.choice(names)
        path, body = written[name]
        changed = bytearray(body[: chance.choice((len(body), 2000, 100_000))])
        for _ in range(chance.randrange(1, 20)):
            at = chance.randrange(len(changed))
            kind = chance.randrange(4)
            if kind == 0:
                changed[at] = chance.randrange(256)
            elif kind == 1:
                del changed[at : at + chance.randrange(1, 50)]
            elif kind == 2:
                changed[at:at] = bytes(chance.choice(b'{}[]",:\\0') for _ in range(chance.randrange(1, 200)))
            else:
                _, other = written[chance.choice(names)]
                start = chance.randrange(len(other))
                changed[at:at] = other[start : start + chance.randrange(1, 5000)]
        yield f"changed {name}", chance.choice((path, CHAT, RESPONSES, V1, "/v1/completions")), bytes(changed)


def _send(http: httpx.Client, name: str, path: str, body: bytes, fell: list[str]) -> None:
    try:
        answer = http.post(path, content=body, headers={"content-type": "application/json"})
    except httpx.TransportError as error:
        fell.append(f"{name}: {type(error).__name__}")
        return
    if answer.status_code >= 500 and answer.status_code != 503:
        fell.append(f"{name}: {answer.status_code} {answer.text[:200]}")
    elif answer.status_code >= 400 and "error" not in answer.json():
        fell.append(f"{name}: {answer.status_code} without an error object")


def _send_raw(address: str, name: str, raw: bytes, fell: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), timeout=60) as connection:
        try:
            connection.sendall(raw)
            said = connection.recv(65536)
        except ConnectionError:
            return  # closed: that is an answer too
    if not said.startswith((b"HTTP/1.1 4", b"HTTP/1.1 503")):
        fell.append(f"{name}: {said[:60]!r}")


def run(tally: Tally, draw: random.Random) -> None:
    """As one of the campaigns of `python -m tests.harden`; what is changed at random is the same in every run."""
    del draw
    tally.begin("requests")
    tally.bad += attack(max(1.0, tally.until - time.monotonic()))
    tally.end("run", seconds=math.inf)
