"""Clients that leave, other dialects of OpenAI's, our own client, and the end of the program."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from foredraft.runtime.managed_model import ModelState
from foredraft.server.client import Client, NoServerError, ServerError
from foredraft.server.context import Services

ASK: list[Any] = [{"role": "user", "content": "Say something."}]


def settled(services: Services, condition) -> ModelState:
    """Wait, on the runtime's own condition, until a model's state fulfils a condition."""
    import asyncio

    async def wait() -> ModelState:
        async for states in services.runtime.watch():
            for state in states:
                if condition(state):
                    return state
        raise AssertionError

    return asyncio.run(asyncio.wait_for(wait(), 30))


def passes(services: Services) -> int:
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
        return len(engine.passes)


def test_a_client_that_leaves_ends_its_answer_within_a_round(services: Services, client: openai.OpenAI) -> None:
    client.chat.completions.create(model="toy", messages=ASK, max_tokens=1)
    done = threading.Event()
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    first, left = threading.Event(), threading.Event()
    count = 0

    def during() -> None:
        nonlocal count
        count += 1
        if count == 3:
            first.set()
            assert left.wait(30)

    engine.during = during
    totals: list[str] = []
    services.runtime.listeners.append(lambda model_id, outcome: (totals.append(outcome.stop_reason), done.set()))
    stream = client.chat.completions.create(
        model="toy", messages=ASK, max_tokens=3000, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    assert first.wait(30)
    ended = threading.Event()
    services.event_log.listeners.append(lambda entry: ended.set() if entry.kind == "request" else None)
    stream.close()
    assert ended.wait(30), "the server has noticed, while a pass is being made"
    left.set()
    assert done.wait(30)
    services.runtime.listeners.pop()
    services.event_log.listeners.pop()
    engine.during = None
    assert totals == ["cancelled"]
    settled(services, lambda state: state.id == "toy" and state.running == 0)
    assert count == 3, "no pass begins after the client has gone"


def test_a_client_that_leaves_before_the_answer_is_whole(services: Services, address: str) -> None:
    body = '{"model": "toy", "messages": [{"role": "user", "content": "a"}], "max_tokens": 4000, "ignore_eos": true}'
    ended = threading.Event()
    services.runtime.listeners.append(lambda model_id, outcome: ended.set())
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as raw:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        raw.sendall(f"{head}Content-Type: application/json\r\n\r\n{body}".encode())
        settled(services, lambda state: state.running > 0)
    assert ended.wait(30)
    services.runtime.listeners.pop()
    settled(services, lambda state: state.id == "toy" and state.running == 0)


def test_text_completions(client: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "prompt": ["a cat", "the"], "max_tokens": 12, "seed": 1, "logprobs": 2, "echo": True}
    whole = client.completions.create(**asked)
    assert [choice.index for choice in whole.choices] == [0, 1]
    assert whole.choices[0].text.startswith("a cat")
    first = whole.choices[0].logprobs
    assert len(first.tokens) == len(first.token_logprobs) == len(first.text_offset)
    assert first.text_offset[first.tokens.index(" cat")] == len("a")
    streamed = ["", ""]
    for chunk in client.completions.create(**asked, stream=True):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == [choice.text for choice in whole.choices]
    assert whole.usage.completion_tokens <= 24
    assert whole.stats["draft_model"] == "toy-draft"


def test_responses(client: openai.OpenAI) -> None:
    asked: Any = {"model": "toy", "input": "Hi", "max_output_tokens": 30, "extra_body": {"seed": 1}}
    whole = client.responses.create(**asked)
    assert whole.status in ("completed", "incomplete")
    assert whole.output_text
    assert whole.usage.output_tokens_details.model_extra["accepted_prediction_tokens"] >= 0
    assert whole.stats["draft_model"] == "toy-draft"
    events = list(client.responses.create(**asked, stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == f"response.{whole.status}"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    tool: Any = {
        "type": "function",
        "name": "clock",
        "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    }
    called = client.responses.create(model="toy", input="Hi", tools=[tool], tool_choice="required")
    (call,) = called.output
    assert (call.type, call.name, call.arguments) == ("function_call", "clock", "{}")
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(model="toy", input="Hi", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


def test_our_own_client(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    with Client.connect(port=port) as one:
        answer = one.chat(ASK, model="toy", max_tokens=25, seed=1)
        pieces = list(answer)
        generation = answer.result
        assert generation.text == "".join(piece.text for piece in pieces)
        stats = generation.stats
        assert stats.drafted == stats.accepted + stats.rejected + stats.ignored > 0
        assert stats.tokens >= len(pieces) - 1
        assert generation.draft == "toy-draft"
        assert generation.stop_reason in ("eos", "length")
        assert generation.speculation.status == "active"
        assert one.load("toy-small", draft="off")["draft"] is None
        assert {"toy", "toy-small"} <= {model["id"] for model in one.models()}
        assert one.unload("toy-small") == "toy-small"
        with pytest.raises(ServerError) as refused:
            one.unload("toy-small")
        assert refused.value.status == 404
        assert any(entry["kind"] == "answer" for entry in one.log())
    assert Client.find(port=1) is None
    with pytest.raises(NoServerError):
        Client.connect(port=1)


# ---- the program itself, on a real pair ----


@pytest.fixture
def served(chat_pair: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`foredraft serve` with a real pair."""
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"FOREDRAFT_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "foredraft", "serve", "--port", str(port), "--no-ui", "--parallel", "2"]
    process = subprocess.Popen(
        [*command, "--model", str(main), "--draft", str(draft)],
        env=environment,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "oaded" in line:  # or "could not be loaded"
            assert line.startswith("Loaded"), line
            break
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_sigterm_lets_running_answers_end(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    with httpx.Client(base_url=address, timeout=120) as http:
        body = {"messages": ASK, "max_tokens": 100, "seed": 1, "ignore_eos": True, "stream": True}
        plain = http.post("/v1/chat/completions", json={**body, "stream": False, "draft_model": "off"}).json()
        with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line.startswith("data: ")]
    assert rest[-1] == "data: [DONE]"
    assert process.wait(30) in (0, -signal.SIGTERM)
    text = "".join(
        choice["delta"].get("content", "")
        for line in rest[:-1]
        for choice in json.loads(line.removeprefix("data: "))["choices"]
    )
    assert text == plain["choices"][0]["message"]["content"]
