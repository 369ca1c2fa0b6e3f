"""Ollama's own client, unmodified: chat and generate, whole and streamed, options, formats, tools, thinking."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from ollama import AsyncClient, Client, ResponseError

from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import ServerSettings, Services
from foredraft.server.downloads import Downloads
from foredraft.server.ollama import routes
from tests.clients.conftest import Node
from tests.clients.saying import leave, saying
from tests.server import toy
from tests.server.test_completions import Coder

ASK = [{"role": "user", "content": "Who?"}]
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>'


def weather(place: str) -> str:
    """The weather.

    Args:
        place: Where.
    """
    return f"rain in {place}"


@pytest.fixture(scope="module")
def services() -> Services:
    made = toy.services()

    def fetch(name: str, quantisation: str, report: Any) -> bool:
        report(0, 10, "ab" * 32)
        report(10, 10)
        return True

    made.downloads = Downloads(fetch)
    return made


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as one:
        yield one


def chat(client: Client, **more: Any) -> Any:
    options = {"num_predict": 40, **more.pop("options", {})}
    return client.chat(**{"model": "toy", "messages": ASK, "options": options, **more})


def test_a_chat_whole_and_streamed_with_and_without_a_draft(client: Client, address: str) -> None:
    said = set()
    for draft in (0, 4, 16):
        options = {"seed": 5, "draft_num_predict": draft}
        whole = chat(client, options=options)
        parts = list(chat(client, options=options, stream=True))
        assert all(part.message.role == "assistant" for part in parts)
        assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
        assert "".join(part.message.content for part in parts) == whole.message.content
        for last in (whole, parts[-1]):
            assert last.done_reason in ("stop", "length")
            assert last.eval_count <= 40
            assert last.total_duration >= last.eval_duration > 0
            assert last.prompt_eval_count > 0
            assert isinstance(last.load_duration, int)
        said.add(whole.message.content)
    assert len(said) == 1
    assert said != {""}
    body = {"model": "toy", "messages": ASK, "stream": False, "options": {"seed": 5, "num_predict": 40}}
    off, bad = (httpx.post(f"{address}/api/chat", json={**body, "draft_model": d}).json() for d in ("off", "bad-draft"))
    assert off["message"]["content"] == bad["message"]["content"] == said.pop()
    assert "draft_model" not in off["stats"]
    assert bad["stats"]["draft_model"] == "bad-draft"
    assert bad["timings"]["predicted_n"] == bad["eval_count"]
    for most in (0, 1):
        options = {"seed": 5, "num_predict": 40, "draft_num_predict": most}
        stats = httpx.post(f"{address}/api/chat", json={**body, "options": options}).json()["stats"]
        assert bool(stats.get("total_draft_tokens_count")) is (most > 0)


def test_lines_are_json_and_nothing_else(address: str) -> None:
    body = {"model": "toy", "messages": ASK, "options": {"num_predict": 10}}
    with httpx.stream("POST", f"{address}/api/chat", json=body) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    assert all(line["created_at"].endswith("Z") and line["model"] == "toy" for line in lines)
    assert lines[-1]["done"]


def test_options_are_understood_or_left_out_aloud(client: Client, address: str) -> None:
    whole = chat(client, options={"seed": 5}).message.content
    stopped = chat(client, options={"seed": 5, "stop": [whole[6:9]]})
    assert stopped.message.content == whole[: whole.index(whole[6:9])]
    assert stopped.done_reason == "stop"
    assert chat(client, options={"seed": 5, "num_predict": 3}).done_reason == "length"
    free = {chat(client, options={"seed": -1, "temperature": 1.5}).message.content for _ in range(4)}
    assert len(free) > 1
    greedy = {chat(client, options={"seed": seed, "temperature": 0}).message.content for seed in (1, 2)}
    assert len(greedy) == 1
    options = {"mirostat": 1, "num_gpu": 3, "num_predict": 3, "draft_num_predict": 50}
    body = {"model": "toy", "messages": ASK, "stream": False, "options": options, "think": "low"}
    warnings = httpx.post(f"{address}/api/chat", json=body).json()["warnings"]
    for name in ("mirostat", "num_gpu", "draft_num_predict", "think"):
        assert any(name in one for one in warnings) is (name != "think"), "the toy's template knows thinking"
    assert "warnings" not in httpx.post(f"{address}/api/chat", json={**body, "options": {}, "think": False}).json()


def test_answers_of_a_form(client: Client) -> None:
    schema = {
        "type": "object",
        "properties": {"size": {"enum": ["small", "large"]}},
        "required": ["size"],
        "additionalProperties": False,
    }
    said = {
        json.loads(chat(client, format=schema, options={"seed": 3, "draft_num_predict": n}).message.content)["size"]
        for n in (0, 8)
    }
    assert len(said) == 1
    anything = client.generate("toy", "Who?", format="json", options={"num_predict": 400, "seed": 2})
    assert anything.response.startswith("{")
    with pytest.raises(ResponseError, match="format"):
        client._request_raw("POST", "/api/generate", json={"model": "toy", "prompt": "a", "format": "yaml"})


def test_thinking_text_and_whole_calls(client: Client) -> None:
    with saying(routes, "Let me see.", "</think>", "\n\n", "I ask.\n", CALL, "\n", CALL):
        whole = chat(client, tools=[weather], think=True, options={"num_predict": 400})
        parts = list(chat(client, tools=[weather], think=True, stream=True, options={"num_predict": 400}))
    assert whole.message.thinking == "Let me see."
    assert whole.message.content == "I ask."
    assert "".join(part.message.thinking or "" for part in parts) == "Let me see."
    assert "".join(part.message.content for part in parts) == "I ask."
    streamed = [call for part in parts for call in part.message.tool_calls or ()]
    for calls in (whole.message.tool_calls, streamed):
        assert [(call.function.name, call.function.arguments) for call in calls] == [("weather", {"place": "Oslo"})] * 2
    assert all(len(part.message.tool_calls or ()) <= 1 for part in parts)
    assert whole.done_reason == "stop"
    history = [*ASK, whole.message, {"role": "tool", "tool_name": "weather", "content": "rain"}]
    assert chat(client, messages=history, tools=[weather], options={"num_predict": 2}).done


def test_generate_goes_on_from_its_context(client: Client) -> None:
    first = client.generate("toy", "one", system="Be short.", options={"num_predict": 5, "seed": 1})
    assert first.response
    assert len(first.context) == first.prompt_eval_count + first.eval_count
    second = client.generate("toy", "two", context=first.context, options={"num_predict": 5, "seed": 1})
    assert second.prompt_eval_count > len(first.context)
    assert second.context[: len(first.context)] == first.context
    raw = client.generate("toy", "a cat", raw=True, options={"num_predict": 5, "seed": 1})
    assert raw.context is None
    assert raw.prompt_eval_count < first.prompt_eval_count
    parts = list(client.generate("toy", "a cat", raw=True, stream=True, options={"num_predict": 5, "seed": 1}))
    assert "".join(part.response for part in parts) == raw.response


def test_a_last_message_of_the_assistant_is_gone_on_with(client: Client) -> None:
    def prompt(*messages: dict[str, str]) -> int:
        return chat(client, messages=list(messages), options={"num_predict": 1}).prompt_eval_count

    assert prompt(*ASK) < prompt(*ASK, {"role": "assistant", "content": "It was"}) <= prompt(*ASK) + len("It was")


def test_a_suffix_is_filled_in_where_the_model_knows_how(client: Client) -> None:
    with pytest.raises(ResponseError, match="fill in"):
        client.generate("toy", "def f(", suffix="return 1", options={"num_predict": 5})
    coder = Coder(("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"))
    with coder.client() as other, Client(str(other.base_url).removesuffix("/v1/")) as able:
        made = able.generate("toy", "def f", suffix=" 1", options={"num_predict": 9, "seed": 1})
        raw = "<|fim_prefix|>def f<|fim_suffix|> 1<|fim_middle|>"  # as editors write it themselves
        same = able.generate("toy", raw, raw=True, options={"num_predict": 9, "seed": 1})
        assert made.response == same.response
        assert made.prompt_eval_count == same.prompt_eval_count
        assert "insert" in able.show("toy").capabilities


def test_log_probabilities(client: Client) -> None:
    whole = chat(client, logprobs=True, top_logprobs=2, options={"num_predict": 5, "seed": 1})
    assert len(whole.logprobs) == whole.eval_count
    assert len(whole.logprobs[0].top_logprobs) == 2
    parts = list(chat(client, logprobs=True, stream=True, options={"num_predict": 5, "seed": 1}))
    tokens = [one.token for part in parts for one in part.logprobs or ()]
    assert tokens == [one.token for one in whole.logprobs]


def test_a_long_conversation_is_shortened(client: Client) -> None:
    chat(client, model="toy-small", options={"num_predict": 1})
    long = [{"role": "user", "content": "a b c d " * 6}, {"role": "assistant", "content": "e"}] * 20 + ASK
    assert chat(client, model="toy-small", messages=long, options={"num_predict": 3}).done
    with pytest.raises(ResponseError):
        client._request_raw("POST", "/api/chat", json={"model": "toy-small", "messages": long, "truncate": False})


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"model": "toi"}, 404, "model 'toi' not found"),
        ({"model": "toy", "messages": [{"role": "user", "content": "a", "images": ["aGk="]}]}, 400, "Images"),
        ({"model": "toy", "messages": [{"role": "king", "content": "a"}]}, 400, "king"),
        ({"model": "toy", "options": {"temperature": "hot"}}, 400, "options.temperature"),
        ({"model": "toy", "options": {"stop": ["x" * 2000]}}, 400, "1,000"),
        ({"model": "toy", "messages": ASK * 10_001}, 400, "10,000"),
        ({"model": "broken"}, 400, "GGUF"),
    ],
)
def test_errors_are_texts(client: Client, address: str, fields: dict[str, Any], status: int, words: str) -> None:
    body = {"messages": ASK, **fields}
    answer = httpx.post(f"{address}/api/chat", json=body)
    assert answer.status_code == status
    assert isinstance(answer.json()["error"], str)
    assert words in answer.json()["error"]
    with pytest.raises(ResponseError) as raised:
        client._request_raw("POST", "/api/chat", json=body)
    assert raised.value.status_code == status
    assert words in raised.value.error


def test_what_generate_cannot_do_is_said(client: Client, address: str) -> None:
    for fields in ({"template": "{{ .Prompt }}"}, {"images": ["aGk="]}, {"raw": True, "system": "a"}):
        answer = httpx.post(f"{address}/api/generate", json={"model": "toy", "prompt": "a", **fields})
        assert answer.status_code == 400
        assert next(iter({"template", "Images", "system"} & set(answer.json()["error"].replace(":", " ").split())))
    nameless = httpx.post(f"{address}/api/generate", json={"prompt": "a"})
    assert (nameless.status_code, nameless.json()) == (400, {"error": "model is required"})


def test_an_error_in_a_stream_is_a_line(client: Client, services: Services) -> None:
    chat(client, options={"num_predict": 1})
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    passes: list[None] = []

    def break_it() -> None:
        passes.append(None)
        if len(passes) > 5:
            raise toy.EngineError("broken on purpose")

    engine.during = break_it
    try:
        with saying(routes, "word " * 200), pytest.raises(ResponseError, match="broken on purpose"):
            list(chat(client, stream=True, options={"num_predict": 900}))
    finally:
        engine.during = None


def test_a_model_is_loaded_and_leaves_by_its_name_alone(client: Client, services: Services, address: str) -> None:
    loaded = client.generate("toy", keep_alive="10m")
    assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
    (model,) = [one for one in client.ps().models if one.model == "toy:latest"]
    assert model.context_length == 4096
    empty = client.chat("toy", messages=[], keep_alive=-1)
    assert (empty.done_reason, empty.message.content) == ("load", "")
    (model,) = [one for one in client.ps().models if one.model == "toy:latest"]
    assert model.expires_at.year == 2300
    assert client.generate("toy", keep_alive=0).done_reason == "unload"
    assert "toy:latest" not in [one.model for one in client.ps().models]
    chat(client, keep_alive=0, options={"num_predict": 2})
    asyncio.run(asyncio.wait_for(_gone(services, "toy"), 30))


async def _gone(services: Services, model_id: str) -> None:
    async for states in services.runtime.watch():
        if model_id not in [state.id for state in states]:
            return


def test_a_larger_context_loads_the_model_again() -> None:
    def load(spec: LoadSpec, progress: Any) -> Any:
        settings = dict(spec.settings)
        context = settings.pop("context", 512)
        model = toy.ToyLLM(toy.engine(spec.id, n_ctx=context, **settings))
        model.set_draft(spec.draft)
        return model

    services = Services(Runtime(load), toy.ToyShelf(), ServerSettings(), default_model="toy")
    with toy.serving(services) as address, Client(address) as client:

        def context_after(wanted: int | None) -> int:
            options = {"num_predict": 2} | ({} if wanted is None else {"num_ctx": wanted})
            chat(client, options=options)
            (model,) = client.ps().models
            return model.context_length

        assert context_after(None) == 512
        assert context_after(300) == 512, "it has so much already"
        assert context_after(2000) == 2000
        body = {"model": "toy", "messages": ASK, "stream": False, "options": {"num_ctx": 5000}}
        assert client.generate("toy", keep_alive=0).done
        said = httpx.post(f"{address}/api/chat", json=body).json()
        assert any("4096" in one for one in said["warnings"]), "it was trained for no more"
        (model,) = client.ps().models
        assert model.context_length == 4096


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_frees_its_slot(client: Client, services: Services, address: str, streamed: bool) -> None:
    chat(client, options={"num_predict": 1})
    body = {"model": "toy", "messages": ASK, "stream": streamed}
    leave(services, address, "/api/chat", body, routes)


def test_many_at_once(address: str) -> None:
    async def all_of_them() -> list[str]:
        client = AsyncClient(address)

        async def one(seed: int) -> str:
            options = {"seed": seed, "num_predict": 20}
            parts = await client.chat("toy", messages=ASK, stream=True, options=options)
            return "".join([part.message.content or "" async for part in parts])

        said = list(await asyncio.gather(*(one(seed % 4) for seed in range(8))))
        await client.close()
        return said

    said = asyncio.run(all_of_them())
    assert said[:4] == said[4:]


def test_the_javascript_client(node: Node, address: str) -> None:
    with saying(routes, "Let me see.", "</think>", "\n\n", "I ask.\n", CALL):
        said = json.loads(node("ollama-0.6", "ollama.cjs", address))
    for got in (said["whole"], said["streamed"]):
        content, thinking, (call,) = got
        assert (content, thinking) == ("I ask.", "Let me see.")
        assert call["function"] == {"name": "weather", "arguments": {"place": "Oslo"}}
    assert said["last"][:2] == [True, "stop"]
    assert said["missing"][0] == 404
    assert "toi" in said["missing"][1]
    assert said["vectors"] == [8, 8]
    assert "toy:latest" in said["listed"]
    assert said["copied"] == "mine"
    assert said["capabilities"][:2] == ["completion", "tools"]
    assert said["pulled"][0] == "pulling manifest"
    assert said["pulled"][-1] == "success"
    assert said["deleted"] == "success"
    assert "toy:latest" in said["running"]
    assert "toy:latest" not in said["after"]
    assert said["version"].count(".") == 2
