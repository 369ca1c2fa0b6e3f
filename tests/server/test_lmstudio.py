"""LM Studio's REST."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from foredraft.server.app import create_app
from foredraft.server.context import Services
from foredraft.server.downloads import Downloads
from foredraft.server.lmstudio import v1
from tests.server import toy


@pytest.fixture(scope="module")
def services() -> Services:
    made = toy.services()

    def fetch(name, quantisation, report):
        report(0, 10)
        if name == "nobody/nothing":
            raise toy.ModelNotFoundError(name)
        report(10, 10)
        return name != "somebody/old"

    made.downloads = Downloads(fetch)
    return made


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def events(http: httpx.Client, body: dict) -> list[tuple[str, dict]]:
    said = []
    with http.stream("POST", "/api/v1/chat", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                said.append((name, json.loads(line.removeprefix("data: "))))
    return said


def test_chat_loads_the_model_and_says_so(http: httpx.Client) -> None:
    body = {"model": "toy-small", "input": "Hi", "max_output_tokens": 10, "seed": 1, "stream": True}
    said = events(http, body)
    names = [name for name, _ in said]
    assert names[:2] == ["chat.start", "model_load.start"]
    assert said[0][1]["model_instance_id"] == "toy-small"
    assert names.index("model_load.end") < names.index("prompt_processing.start") < names.index("message.start")
    assert names[-2:] == ["message.end", "chat.end"]
    text = "".join(data["content"] for name, data in said if name == "message.delta")
    result = said[-1][1]["result"]
    assert result["output"] == [{"type": "message", "content": text}]
    assert all(data["type"] == name for name, data in said)
    cached = [name for name, _ in events(http, body) if name != "prompt_processing.progress"]
    assert cached[:4] == ["chat.start", "prompt_processing.start", "prompt_processing.end", "message.start"]
    whole = http.post("/api/v1/chat", json={**body, "stream": False}).json()
    assert whole["output"] == result["output"]
    stats = whole["stats"]
    assert stats["total_draft_tokens_count"] == sum(
        stats[f"{kind}_draft_tokens_count"] for kind in ("accepted", "rejected", "ignored")
    )
    assert stats["total_output_tokens"] <= 10
    assert stats["draft_model"] == "toy-draft"
    assert whole["response_id"].startswith("resp_")


def test_models_list_their_instances_with_drafts(http: httpx.Client) -> None:
    loaded = http.post(
        "/api/v1/models/load", json={"model": "toy", "draft_model": "good-draft", "echo_load_config": True}
    ).json()
    assert loaded["status"] == "loaded"
    assert loaded["load_config"]["draft_model"] == loaded["draft_model"] == "good-draft"
    models = {model["key"]: model for model in http.get("/api/v1/models").json()["models"]}
    assert set(models) == set(toy.ToyShelf.NAMES)
    (instance,) = models["toy"]["loaded_instances"]
    assert instance["config"]["draft_model"] == "good-draft"
    assert models["broken"]["loaded_instances"] == []
    other = http.post("/api/v1/models/load", json={"model": "toy", "draft_model": "bad-draft"}).json()
    assert (other["instance_id"], other["draft_model"]) == ("toy", "bad-draft"), "another draft: the model stays"
    again = http.post("/api/v1/models/load", json={"model": "toy", "context_length": 4096})
    assert again.json()["draft_model"] == "bad-draft", "what it has already is no change"
    refused = http.post("/api/v1/models/load", json={"model": "toy", "context_length": 512})
    assert (refused.status_code, refused.json()["error"]["param"]) == (409, "context")
    assert "4096" in refused.json()["error"]["message"]
    assert http.post("/api/v1/models/unload", json={"instance_id": "toy"}).json() == {"instance_id": "toy"}
    gone = http.post("/api/v1/models/unload", json={"instance_id": "toy"})
    assert gone.status_code == 404
    assert gone.json()["error"]["type"] == "model_not_found"


def test_v0_lists_and_answers(http: httpx.Client) -> None:
    assert http.get("/api/v0/models/toy").json()["compatibility_type"] == "gguf"
    messages = [{"role": "user", "content": "Hi"}]
    answer = http.post(
        "/api/v0/chat/completions", json={"model": "toy", "messages": messages, "max_tokens": 8, "seed": 1}
    ).json()
    assert answer["model_info"]["arch"] == "toy"
    assert answer["runtime"]["supported_formats"] == ["gguf"]
    assert answer["stats"]["stop_reason"] in ("eosFound", "maxPredictedTokensReached")
    assert {"tokens_per_second", "time_to_first_token", "generation_time"} <= set(answer["stats"])
    states = {entry["id"]: entry["state"] for entry in http.get("/api/v0/models").json()["data"]}
    assert states["toy"] == "loaded"
    assert states["broken"] == "not-loaded"
    text = http.post("/api/v0/completions", json={"model": "toy", "prompt": "a cat", "max_tokens": 5}).json()
    assert text["choices"][0]["text"]
    assert http.post("/api/v0/embeddings", json={"model": "toy", "input": "a"}).status_code == 400


def test_downloads_are_jobs(http: httpx.Client) -> None:
    job = http.post("/api/v1/models/download", json={"model": "somebody/something"}).json()
    status = job
    while status["status"] == "downloading":
        status = http.get(f"/api/v1/models/download/status/{job['job_id']}").json()
    assert status["status"] == "completed"
    assert status["downloaded_bytes"] == status["total_size_bytes"] == 10
    job = http.post("/api/v1/models/download", json={"model": "somebody/old"}).json()
    while job["status"] == "downloading":
        job = http.get(f"/api/v1/models/download/status/{job['job_id']}").json()
    assert job["status"] == "already_downloaded"
    job = http.post("/api/v1/models/download", json={"model": "nobody/nothing"}).json()
    while job["status"] == "downloading":
        job = http.get(f"/api/v1/models/download/status/{job['job_id']}").json()
    assert job["status"] == "failed"
    assert "nobody/nothing" in job["error"]
    unknown = http.get("/api/v1/models/download/status/none")
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "job_not_found")


@pytest.mark.parametrize(
    "body",
    [
        {"model": "toy"},
        {"model": "toy", "input": []},
        {"model": "toy", "input": [{"type": "image", "data_url": "x"}]},
        {"model": "toy", "input": "a", "previous_response_id": "r"},
        {"model": "toy", "input": "a", "integrations": ["x"]},
    ],
)
def test_what_cannot_be_done_is_said(http: httpx.Client, body: dict) -> None:
    refused = http.post("/api/v1/chat", json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request"
    assert refused.json()["error"]["param"]


def test_a_stream_that_cannot_begin_has_a_status(http: httpx.Client) -> None:
    refused = http.post("/api/v1/chat", json={"model": "toi", "input": "a", "stream": True})
    assert (refused.status_code, refused.json()["error"]["type"]) == (404, "model_not_found")
    failed = events(http, {"model": "broken", "input": "a", "stream": True})
    assert failed[0][0] == "chat.start"
    assert (failed[-1][0], failed[-1][1]["error"]["type"]) == ("error", "invalid_request")


def test_what_a_loaded_model_cannot_give_is_said(http: httpx.Client) -> None:
    assert http.post("/api/v1/models/load", json={"model": "toy", "num_experts": 4}).json()["error"]["param"] == (
        "num_experts"
    )
    http.post("/api/v1/models/load", json={"model": "toy-small"})
    refused = http.post("/api/v1/chat", json={"model": "toy-small", "input": "a", "context_length": 500})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "context_length"
    assert "128" in refused.json()["error"]["message"]
    fits = {"model": "toy-small", "input": "a", "context_length": 100, "max_output_tokens": 2}
    assert http.post("/api/v1/chat", json=fits).status_code == 200


def test_unknown_paths_give_a_hint(http: httpx.Client) -> None:
    refused = http.get("/api/v1/modelz")
    assert refused.status_code == 404
    assert "/api/v1/models" in refused.json()["error"]["hint"]
    assert refused.json()["error"]["type"] == "invalid_request"


async def test_an_app_mounted_beside_the_api_does_not_answer_for_it() -> None:
    """Programs that ask for what is not there get JSON, not a page."""
    services = toy.services()
    app = create_app(services)
    app.mount("/", PlainTextResponse("a page", status_code=404))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        for path in ("/api/v1/nothing", "/v1/nothing/at/all", "/api/foredraft/nothing"):
            refused = await http.get(path)
            assert refused.status_code == 404
            assert path in refused.json()["error"]["message"]
        assert "/api/nothing" in (await http.get("/api/nothing")).json()["error"], "Ollama's: a text"
        wrong = await http.get("/v1/chat/completions")
        assert wrong.status_code == 405
        assert "GET" in wrong.json()["error"]["message"]
        assert (await http.get("/elsewhere")).text == "a page"
    await services.runtime.close(0.0)


async def test_whoever_leaves_while_a_model_loads_leaves_nothing_behind() -> None:
    async def watch() -> AsyncGenerator[list[Any], None]:
        yield []
        await asyncio.Event().wait()

    services: Any = SimpleNamespace(runtime=SimpleNamespace(watch=watch))
    asking: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waiting = asyncio.Event()

    async def follow() -> None:
        waiting.set()
        async for _ in v1._loading(services, asking, lambda *_, **__: b""):
            pass

    following = asyncio.create_task(follow())
    await waiting.wait()
    for _ in range(5):  # until it waits for what happens next
        await asyncio.sleep(0)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    asking.cancel()
    assert asyncio.all_tasks() == {asyncio.current_task()}
