"""Names as people bring them, wherever the server takes one; and a draft that is off for one request alone."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import openai
import pytest

ASK = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def unload(http: httpx.Client, name: str = "toy") -> None:
    """Out of memory, where it is in it."""
    if name in [model["id"] for model in http.get("/api/foredraft/models").json()["models"]]:
        assert http.post("/api/foredraft/unload", json={"model": name}).status_code == 200


BROUGHT = ["toy", "TOY", "acme/toy", "acme/Toy-GGUF", "hf.co/acme/Toy-GGUF", "Acme/Toy-GGUF/toy-f64.gguf",
           "toy-f64.gguf", "https://huggingface.co/acme/Toy-GGUF", "toy:latest"]  # fmt: skip


@pytest.mark.parametrize("name", BROUGHT)
@pytest.mark.parametrize("loaded", [True, False])
def test_a_name_is_known_to_every_door(client: openai.OpenAI, http: httpx.Client, name: str, loaded: bool) -> None:
    if not loaded:
        unload(http)
    else:
        client.chat.completions.create(model="toy", messages=ASK, max_tokens=1)
    assert client.models.retrieve(name).id == "toy"
    assert http.get(f"/api/v0/models/{name}").json()["id"] == "toy"
    answer = client.chat.completions.create(model=name, messages=ASK, max_tokens=1)
    assert answer.model == "toy"
    assert http.post("/api/foredraft/draft", json={"model": name, "draft": "auto"}).json()["id"] == "toy"
    assert http.post("/api/v1/models/unload", json={"instance_id": name}).json() == {"instance_id": "toy"}


def test_a_name_of_several_is_refused_with_the_candidates(http: httpx.Client) -> None:
    name = "acme/Toy-Small-GGUF"
    for answer in (
        http.post("/v1/chat/completions", json={"model": name, "messages": ASK}),
        http.get(f"/v1/models/{name}"),
        http.post("/v1/completions", json={"model": name, "prompt": "Hi"}),
        http.post("/api/v1/chat", json={"model": name, "input": "Hi"}),
    ):
        assert answer.status_code == 400
        said = answer.json()["error"]
        assert said["message"].startswith(f"'{name}' could be: toy-small, broken.")
        assert said["param"] == "model"


def test_of_several_the_one_that_is_loaded_is_unloaded(http: httpx.Client) -> None:
    http.post("/v1/chat/completions", json={"model": "toy-small", "messages": ASK, "max_tokens": 1})
    gone = http.post("/api/v1/models/unload", json={"instance_id": "acme/Toy-Small-GGUF"})
    assert gone.json() == {"instance_id": "toy-small"}
    missing = http.post("/api/v1/models/unload", json={"instance_id": "acme/Toy-Small-GGUF"})
    assert missing.status_code == 404


def test_an_unknown_name_is_not_found_and_gets_the_nearest(http: httpx.Client) -> None:
    for path in ("/v1/models/toi", "/api/v0/models/toi"):
        answer = http.get(path)
        assert answer.status_code == 404
        assert "toy" in answer.json()["error"]["hint"]


@pytest.mark.parametrize("door", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/api/v1/chat"])
def test_the_first_request_without_a_draft_is_that_request_alone(http: httpx.Client, door: str) -> None:
    """Also where it loads the model: whoever comes next has a draft, and the same text."""
    unload(http)
    given = {"/v1/chat/completions": {"messages": ASK, "max_tokens": 20}, "/v1/completions": {"prompt": "Hi"}}
    body = {"model": "toy", "seed": 1, **given.get(door, {"input": "Hi", "max_output_tokens": 20})}
    first = http.post(door, json={**body, "draft_model": "off"}).json()
    assert first["stats"]["speculation"] == {
        "status": "off",
        "reason": "Switched off for this request.",
        "why": {"code": "off_for_request", "numbers": {}, "message": "Switched off for this request."},
    }
    then = http.post(door, json=body).json()
    assert then["stats"]["speculation"]["status"] == "active"
    assert then["stats"]["total_draft_tokens_count"] > 0
    for key in ("choices", "output"):
        if key in first:
            assert _texts(first[key]) == _texts(then[key])


def _texts(part: object) -> list[str]:
    """Every text of an answer."""
    if isinstance(part, dict):
        own = [part[key] for key in ("content", "text") if isinstance(part.get(key), str)]
        return own + [text for inner in part.values() for text in _texts(inner)]
    return [text for inner in part for text in _texts(inner)] if isinstance(part, list) else []
