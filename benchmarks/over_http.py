"""What the way over HTTP costs, on an engine whose passes wait 20 ms, as if another processor computed.

The same requests go through the real server on the loopback (its sockets and its event loop too) and, side by side,
straight to the runtime.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from foredraft.core.params import Request, SamplingParams
from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.pair.llm import LLM
from foredraft.runtime.events import NewPieces
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.app import create_app
from foredraft.server.context import ServerSettings, Services
from foredraft.server.run import serving

PASS_S = 0.02
TOKENS = 50
FIRSTS = 20
"""Answers whose first text is timed."""
FEW = 4
"""Their tokens."""
QUICK_S = 0.001
"""A pass of theirs: behind longer ones, what the connection costs would not be seen."""
CONNECTIONS: Mapping[str, Mapping[str, str]] = {"kept": {}, "new": {"Connection": "close"}}
"""Headers of a request whose connection is kept, as every client's library keeps it, or made anew each time."""
MODEL = "paced"
_TEXT = "a cat"


def measure(repeats: int) -> Iterator[tuple[list[float], str, str]]:
    """(what was found in each repeat, name, bar) of every row."""
    engine = ToyEngine.random(
        1, n_vocab=330, order=1, n_slots=2, n_ctx=8192, tokenizer=ToyTokenizer.of_size(330), name=MODEL
    )
    engine.during = lambda: time.sleep(PASS_S)
    runtime = Runtime(lambda spec, progress: LLM(engine))
    asyncio.run(runtime.load(LoadSpec(MODEL, id=MODEL, ttl_s=None)))
    try:
        with _served(runtime) as address, httpx.Client(base_url=address, timeout=600) as http:
            _over_http(http), asyncio.run(_in_process(runtime))  # warm
            pairs = [(_over_http(http), asyncio.run(_in_process(runtime))) for _ in range(repeats)]
            rates = [theirs[1] / ours[1] for ours, theirs in pairs]
            yield rates, "one stream over HTTP ÷ in-process, tokens/s at 20 ms each", "≥ 0.97"
            engine.during = lambda: time.sleep(QUICK_S)
            for name, headers in CONNECTIONS.items():
                later = [_later(http, headers, runtime) for _ in range(FIRSTS)]
                yield later, f"first text over HTTP, {name} connection: milliseconds later", "≤ 5"
            engine.during = lambda: time.sleep(PASS_S)
            yield (
                [_rounds_after(http, runtime, engine) for _ in range(repeats)],
                "client gone: rounds begun after",
                "≤ 1",
            )
    finally:
        runtime.close_now()


def _body(tokens: int) -> dict[str, Any]:
    return {"prompt": _TEXT, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": True}


def _over_http(
    http: httpx.Client, tokens: int = TOKENS, headers: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """(seconds to the first token, seconds from there to the last)."""
    began = time.perf_counter()
    first = 0.0
    with http.stream("POST", "/v1/completions", json=_body(tokens), headers=headers) as answer:
        for line in answer.iter_lines():
            if not first and line.startswith("data: {") and "choices" in json.loads(line[6:]):
                first = time.perf_counter()
    return first - began, time.perf_counter() - first


def _later(http: httpx.Client, headers: Mapping[str, str], runtime: Runtime) -> float:
    """Milliseconds by which the first text comes later over HTTP."""
    over_http, _ = _over_http(http, FEW, headers)
    in_process, _ = asyncio.run(_in_process(runtime, FEW))
    return (over_http - in_process) * 1e3


async def _in_process(runtime: Runtime, tokens: int = TOKENS) -> tuple[float, float]:
    began, first = time.perf_counter(), 0.0
    with runtime.use(MODEL) as model:
        prompt = tuple(model.scheduler.engine.tokenizer.encode(_TEXT))
    request = Request(prompt, SamplingParams(temperature=0.0), max_tokens=tokens, ignore_eos=True)
    async for happened in runtime.submit(MODEL, request).events():
        if not first and isinstance(happened, NewPieces):
            first = time.perf_counter()
    return first - began, time.perf_counter() - first


def _rounds_after(http: httpx.Client, runtime: Runtime, engine: ToyEngine) -> float:
    """Passes that begin after a client has closed its connection and before the slot is free."""
    with http.stream("POST", "/v1/completions", json=_body(4000)) as answer:
        lines = answer.iter_lines()
        while not next(lines).startswith("data: {"):
            pass
        before = len(engine.passes)
    asyncio.run(_idle(runtime))
    return float(len(engine.passes) - before)


async def _idle(runtime: Runtime) -> None:
    async for states in runtime.watch():
        if not any(state.running or state.waiting for state in states):
            return


@contextmanager
def _served(runtime: Runtime) -> Iterator[str]:
    """The server on a free port of the loopback."""
    services = Services(runtime, settings=ServerSettings(port=0, grace_s=0.0), default_model=MODEL)
    with serving(create_app(services), services) as address:
        yield address
