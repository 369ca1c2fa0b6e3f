"""What the server costs and brings: HTTP against the library, several requests against one after another.

    python -m foredraft.bench.serving --main MAIN.gguf --draft DRAFT.gguf

Paired: the two sides of each row take turns, and the row is the median of the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import httpx
import uvicorn

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.llm import LLM, LoadSettings
from foredraft.scheduling.hosted import LoadSpec
from foredraft.scheduling.runtime import Runtime
from foredraft.server.app import create_app
from foredraft.server.services import ServerSettings, Services

PROMPTS = ("Count from 1 to 30.", "Repeat: one two three four five.", "Say the days of the week.", "What is 2 + 3?")


def ratio(ours: Callable[[], float], theirs: Callable[[], float], rounds: int) -> tuple[float, float, float]:
    """Median of ours ÷ theirs over paired rounds, with the smallest and the largest."""
    ours(), theirs()  # warm
    found = []
    for i in range(rounds):
        pair = (ours(), theirs()) if i % 2 == 0 else (theirs(), ours())[::-1]
        found.append(pair[0] / pair[1])
    return statistics.median(found), min(found), max(found)


def say(name: str, found: tuple[float, float, float]) -> None:
    """Print one row."""
    median, low, high = found
    print(f"{name:40} {median:6.3f}   ({low:.3f} to {high:.3f})", flush=True)


def speed(work: Callable[..., Coroutine[Any, Any, float]], *how: Any) -> float:
    """Tokens per second of some asynchronous work."""
    return asyncio.run(work(*how))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main", required=True)
    parser.add_argument("--draft", required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--context", type=int, default=8192)
    asked = parser.parse_args()
    settings = LoadSettings(slots=8, context=asked.context, remember=False)
    loaded = LLM.load(asked.main, asked.draft, settings=settings)
    runtime = Runtime(lambda spec, progress: loaded)
    asyncio.run(runtime.load(LoadSpec("main", id="main", ttl_s=None)))
    with runtime.use("main") as model:
        llm: Any = model
        prompts = [tuple(llm.engine.tokenizer.encode(llm.render(text))) for text in PROMPTS]

    def request(i: int, *, draft: bool) -> Request:
        speculation = SpeculationParams(enabled=draft)
        sampling = SamplingParams(temperature=0.0, seed=i)
        return Request(prompts[i % len(prompts)], sampling, speculation, max_tokens=asked.tokens, ignore_eos=True)

    async def together(count: int, draft: bool) -> float:
        began = time.perf_counter()
        running = [runtime.submit("main", request(i, draft=draft)) for i in range(count)]
        written = sum([(await one.result()).stats.tokens for one in running])
        return written / (time.perf_counter() - began)

    async def in_turn(count: int) -> float:
        began = time.perf_counter()
        written = 0
        for i in range(count):
            written += (await runtime.submit("main", request(i, draft=True)).result()).stats.tokens
        return written / (time.perf_counter() - began)

    with _served(runtime) as address, httpx.Client(base_url=address, timeout=3600) as http:

        def over_http() -> float:
            body = {"messages": [{"role": "user", "content": PROMPTS[0]}], "max_tokens": asked.tokens, "stream": True}
            began, written = time.perf_counter(), 0
            more = {"temperature": 0, "seed": 0, "ignore_eos": True, "draft_model": "off"}
            with http.stream("POST", "/v1/chat/completions", json={**body, **more}) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: {"):
                        written = json.loads(line[6:]).get("timings", {}).get("predicted_n", written)
            return written / (time.perf_counter() - began)

        def in_process() -> float:
            return asyncio.run(together(1, False))

        say("one stream over HTTP ÷ in-process", ratio(over_http, in_process, asked.rounds))
        at_once, in_turns = partial(speed, together, 4, True), partial(speed, in_turn, 4)
        say("4 at once ÷ 4 in turn", ratio(at_once, in_turns, asked.rounds))
        for count in (1, 4, 8):
            on, off = partial(speed, together, count, True), partial(speed, together, count, False)
            say(f"{count} at once, speculation on ÷ off", ratio(on, off, asked.rounds))
    runtime.close_now()


class _served:  # noqa: N801 - reads as a phrase after `with`
    """The server on a free port of the loopback."""

    def __init__(self, runtime: Runtime) -> None:
        services = Services(runtime, settings=ServerSettings(grace_s=0.0), default_model="main")
        config = uvicorn.Config(create_app(services), port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)


if __name__ == "__main__":
    main()
