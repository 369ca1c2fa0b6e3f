"""The same wish becomes the same `Request`, field by field, at every door: library, command line (with a model of its
own and through the running server), server, app. What is compared is what the scheduler gets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from foredraft.chats import ChatStore
from foredraft.cli import remote
from foredraft.cli.main import app
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.pair.llm import LLM
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.scheduling.scheduler import Scheduler
from foredraft.server.client import Client
from foredraft.server.context import ServerSettings, Services
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from tests.server import toy

Wish = Mapping[str, Any]
QUESTION = [{"role": "user", "content": "aab"}]
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}
SCHEMA = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
SAMPLING = tuple(field.name for field in dataclasses.fields(SamplingParams))
SPECULATION = tuple(field.name for field in dataclasses.fields(SpeculationParams))


@dataclasses.dataclass(frozen=True)
class Got:
    """What the scheduler was given."""

    request: Request
    constrained: bool


def settings(wish: Wish, names: Sequence[str]) -> dict[str, Any]:
    return {name: wish[name] for name in names if name in wish}


# ---- the doors: each asks a toy for the wish ----


def library(wish: Wish) -> None:
    with toy.load(LoadSpec("toy", id="toy"), lambda *_: None) as llm:
        assert isinstance(llm, LLM)
        own = {key: wish[key] for key in ("max_tokens", "prompt", "schema", "prediction") if key in wish}
        messages = None if "prompt" in wish else wish.get("messages", QUESTION)
        if "system" in wish:
            messages = [{"role": "system", "content": wish["system"]}, *messages]
        request = GenerationRequest(
            messages=messages,
            sampling=SamplingParams(**settings(wish, SAMPLING)),
            speculation=SpeculationParams(**settings(wish, SPECULATION)),
            stop=tuple(wish.get("stop", ())),
            tools=wish.get("tools", ()),
            draft=wish.get("draft", "auto"),
            **own,
        )
        llm.stream(request).cancel()


def chat(wish: Wish) -> None:
    """`LLM.chat` and `LLM.generate`, by keywords."""
    with toy.load(LoadSpec("toy", id="toy"), lambda *_: None) as llm:
        assert isinstance(llm, LLM)
        more = {key: wish[key] for key in ("max_tokens", "stop", "prediction") if key in wish}
        more |= settings(wish, SAMPLING)
        more["speculation"] = SpeculationParams(**settings(wish, SPECULATION))
        if "prompt" in wish:
            llm.stream(wish["prompt"], **more).cancel()
            return
        system = [{"role": "system", "content": wish["system"]}] if "system" in wish else []
        llm.chat([*system, *wish.get("messages", QUESTION)], tools=wish.get("tools"), **more).cancel()


def openai(wish: Wish) -> None:
    body = {key: wish[key] for key in (*SAMPLING, "max_tokens", "tools", "stop") if key in wish}
    body |= {"model": "toy", "speculative": settings(wish, SPECULATION)}
    body["speculative"].setdefault("explain", False)
    if "draft" in wish:
        body["draft_model"] = wish["draft"]
    if "prediction" in wish:
        body["prediction"] = {"type": "content", "content": wish["prediction"]}
    with toy.serving(toy.services()) as address:
        if "prompt" in wish:
            answer = httpx.post(f"{address}/v1/completions", json={**body, "prompt": wish["prompt"]}, timeout=60)
        else:
            system = [{"role": "system", "content": wish["system"]}] if "system" in wish else []
            body["messages"] = [*system, *wish.get("messages", QUESTION)]
            if "schema" in wish:
                form = {"type": "json_schema", "json_schema": {"name": "x", "schema": wish["schema"]}}
                body["response_format"] = form
            answer = httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60)
        assert answer.status_code == 200, answer.text


def responses(wish: Wish) -> None:
    body: dict[str, Any] = {key: wish[key] for key in SAMPLING if key in wish}
    body |= {"model": "toy", "speculative": settings(wish, SPECULATION), "input": list(wish.get("messages", QUESTION))}
    if "system" in wish:
        body["instructions"] = wish["system"]
    if "max_tokens" in wish:
        body["max_output_tokens"] = wish["max_tokens"]
    if "tools" in wish:
        body["tools"] = [{"type": "function", **tool["function"]} for tool in wish["tools"]]
    if "schema" in wish:
        body["text"] = {"format": {"type": "json_schema", "name": "x", "schema": wish["schema"]}}
    with toy.serving(toy.services()) as address:
        answer = httpx.post(f"{address}/v1/responses", json=body, timeout=60)
        assert answer.status_code == 200, answer.text


def line_of(wish: Wish) -> list[str]:
    """`foredraft run …`."""
    words = ["run"]
    for key in (*SAMPLING, "max_tokens", "method", "max_draft", "min_draft", "p_min", "acceptance", "system", "draft"):
        if key in wish:
            words += [f"--{key.replace('_', '-')}", str(wish[key])]
    for text in wish.get("stop", ()):
        words += ["--stop", text]
    if "prompt" in wish:
        return [*words, "--raw", "--json", wish["prompt"]]
    return [*words, "--json", wish.get("messages", QUESTION)[0]["content"]]


def command(wish: Wish) -> None:
    """`foredraft run`, with a model of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOREDRAFT_NO_SERVER", "1")
        patch.setattr(LLM, "load", lambda *_, **__: toy.load(LoadSpec("toy", id="toy"), lambda *_: None))
        result = CliRunner().invoke(app, line_of(wish))
    assert result.exit_code == 0, result.output


def command_at_server(wish: Wish) -> None:
    """`foredraft run`, beside a running server."""
    services = toy.services()
    with toy.serving(services) as address, pytest.MonkeyPatch.context() as patch:
        httpx.post(f"{address}/v1/completions", json={"model": "toy", "prompt": "a", "max_tokens": 0}, timeout=60)
        patch.setattr(remote, "find_server", lambda *_: Client(address))
        patch.delattr(LLM, "load")  # the server answers
        result = CliRunner().invoke(app, line_of(wish))
    assert result.exit_code == 0, result.output


def chat_app(wish: Wish) -> None:
    """The app: a chat with these settings."""
    stored = {key: wish[key] for key in (*SAMPLING, *SPECULATION, "max_tokens") if key in wish}
    if "schema" in wish:
        stored |= {"structured": True, "schema": json.dumps(wish["schema"])}
    stored |= {"enabled": False} if wish.get("draft") == "off" else {}

    async def answer() -> None:
        runtime, chats = Runtime(toy.load), ChatStore(None)
        generations = Generations(Services(runtime, settings=ServerSettings()), chats, Hub())
        await runtime.load(LoadSpec("toy", id="toy"))
        chat = chats.create(settings=stored, system_prompt=wish.get("system", ""))
        below = None
        for message in wish.get("messages", QUESTION):
            below = chats.add(chat.id, message["role"], message["content"], parent=below)
        assert below is not None
        message_id = generations.answer(chat.id, below)
        assert message_id is not None
        writing = generations.of(message_id)
        assert writing is not None
        assert writing.task is not None
        await writing.task
        kept = chats.message(message_id)
        assert kept is not None
        assert kept.status == "done", kept.meta
        await generations.close()
        await runtime.close(0.0)
        chats.close()

    asyncio.run(answer())


DOORS: dict[str, Callable[[Wish], None]] = {
    door.__name__: door for door in (library, chat, openai, responses, command, command_at_server, chat_app)
}
SHORT = {"max_tokens": 6, "seed": 5}
ALL = tuple(DOORS)
WISHES: dict[str, tuple[Wish, tuple[str, ...]]] = {
    "plain": (SHORT, ALL),
    "nothing but a limit": ({"max_tokens": 3}, ALL),
    "a system prompt": ({**SHORT, "system": "cab"}, ALL),
    "sampling": (
        {
            **SHORT,
            "temperature": 0.7,
            "top_k": 11,
            "top_p": 0.8,
            "min_p": 0.02,
            "repeat_penalty": 1.1,
            "seed": 77,
        },
        ALL,
    ),
    "greedy": ({**SHORT, "temperature": 0.0}, ALL),
    "penalties": (
        {**SHORT, "presence_penalty": 0.5, "frequency_penalty": 0.25},
        ("library", "chat", "openai", "command", "command_at_server"),
    ),
    "guessing": (
        {**SHORT, "method": "model", "min_draft": 2, "p_min": 0.25, "acceptance": "block"},
        ALL,
    ),
    "few guesses": (  # `run --max-draft` leaves the running server aside
        {**SHORT, "max_draft": 5},
        tuple(door for door in ALL if door != "command_at_server"),
    ),
    "no draft": ({**SHORT, "draft": "off"}, ("library", "openai", "command_at_server", "chat_app")),
    "stop": ({**SHORT, "stop": ["zz", "yy"]}, ("library", "chat", "openai", "command", "command_at_server")),
    "turns": (
        {
            **SHORT,
            "messages": [*QUESTION, {"role": "assistant", "content": "b"}, {"role": "user", "content": "cc"}],
        },
        ("library", "chat", "openai", "responses", "chat_app"),
    ),
    "tools": ({**SHORT, "tools": [WEATHER]}, ("library", "chat", "openai", "responses")),
    "a schema": ({**SHORT, "max_tokens": 30, "schema": SCHEMA}, ("library", "openai", "responses", "chat_app")),
    "the beginning of the answer": (
        {**SHORT, "messages": [*QUESTION, {"role": "assistant", "content": "abc"}]},
        ("library", "chat", "openai"),
    ),
    "a prediction": ({**SHORT, "prediction": "abcabc"}, ("library", "chat", "openai")),
    "a text to go on with": (
        {**SHORT, "prompt": "abba"},
        ("library", "chat", "openai", "command", "command_at_server"),
    ),
}


@contextlib.contextmanager
def listening(got: list[Got]) -> Iterator[None]:
    """Collect what schedulers are given."""
    submit = Scheduler.submit

    def noted(self: Scheduler, request: Request, **more: Any) -> Any:
        got.append(Got(request, more.get("constraint") is not None))
        return submit(self, request, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scheduler, "submit", noted)
        yield


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    empty = tmp_path / "config.toml"
    empty.write_text("", encoding="utf-8")
    monkeypatch.setenv("FOREDRAFT_CONFIG", str(empty))


@pytest.mark.parametrize("wish", WISHES)
def test_every_door_makes_the_same_request(wish: str) -> None:
    wanted, doors = WISHES[wish]
    made: dict[str, Got] = {}
    for name in doors:
        got: list[Got] = []
        with listening(got):
            DOORS[name](wanted)
        made[name] = got[-1]
    first, *rest = made
    for field in dataclasses.fields(Request):
        if field.name == "session":  # who asks, which is for the slots alone
            continue
        values = {name: getattr(one.request, field.name) for name, one in made.items()}
        assert all(values[name] == values[first] for name in rest), (field.name, values)
    assert len({one.constrained for one in made.values()}) == 1
    assert made[first].constrained == ("schema" in wanted)
    request = made[first].request
    for name in SAMPLING:
        if name in wanted:
            assert getattr(request.sampling, name) == wanted[name]
    for name in SPECULATION:
        if name in wanted:
            assert getattr(request.speculation, name) == wanted[name]
    assert request.max_tokens == wanted["max_tokens"]
    assert request.stop == tuple(wanted.get("stop", ()))
    assert request.speculation.enabled == (wanted.get("draft") != "off")
