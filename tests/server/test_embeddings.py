"""Embeddings as OpenAI's and LM Studio's clients ask for them, with a real model file made on the spot."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from foredraft.config.settings import Settings
from foredraft.engines.llamacpp import LlamaCppEmbedder, LoadOptions
from foredraft.models.places import FOLDER, Place
from foredraft.models.store import ModelStore
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.server.loading import load_pair
from foredraft.server.shelf import StoreShelf
from tests import tiny_gguf

TEXTS = ["a cat", "the cat and the dog", "b"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shelf with a model that writes and two that embed; one of them was trained to be cut."""
    made = tmp_path_factory.mktemp("shelf")
    tiny_gguf.llama(made / "writer-f32.gguf")
    tiny_gguf.bert(made / "bert-f32.gguf")
    tiny_gguf.bert(made / "nested-f32.gguf", seed=1, name="Qwen3 Embedding 0.0B")
    return made


@pytest.fixture(scope="module")
def services(folder: Path) -> Services:
    shelf = StoreShelf(ModelStore([Place(folder, FOLDER)]), Settings(), slots=1)
    return Services(Runtime(load_pair), shelf)


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


@pytest.fixture(scope="module")
def vectors(folder: Path) -> np.ndarray:
    """What the engine itself gives for `TEXTS`."""
    engine = LlamaCppEmbedder(folder / "bert-f32.gguf", LoadOptions(n_threads=1))
    try:
        return engine.embed([engine.tokenizer.encode(text) for text in TEXTS])
    finally:
        engine.close()


def test_openai(client: openai.OpenAI, vectors: np.ndarray) -> None:
    made = client.embeddings.create(model="bert@f32", input=TEXTS)  # the client asks for base64
    assert made.object == "list"
    assert made.model == "bert@f32"
    assert [entry.index for entry in made.data] == [0, 1, 2]
    assert np.array([entry.embedding for entry in made.data]) == pytest.approx(vectors, abs=1e-6)
    assert made.usage.prompt_tokens == made.usage.total_tokens > 0
    plain = client.embeddings.create(model="bert@f32", input=TEXTS[1], encoding_format="float")
    assert np.array(plain.data[0].embedding) == pytest.approx(vectors[1], abs=1e-6)
    raw = client.embeddings.with_raw_response.create(model="bert@f32", input=TEXTS[:1], encoding_format="base64")
    coded = raw.http_response.json()["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), dtype="<f4") == pytest.approx(vectors[0], abs=1e-6)


def test_token_ids(client: openai.OpenAI, http: httpx.Client, folder: Path, vectors: np.ndarray) -> None:
    engine = LlamaCppEmbedder(folder / "bert-f32.gguf", LoadOptions(n_threads=1))
    tokens = [engine.tokenizer.encode(text) for text in TEXTS]
    engine.close()
    one: Any = client.embeddings.create(model="bert@f32", input=tokens[0])
    assert np.array(one.data[0].embedding) == pytest.approx(vectors[0], abs=1e-6)
    several: Any = client.embeddings.create(model="bert@f32", input=tokens)
    assert np.array([entry.embedding for entry in several.data]) == pytest.approx(vectors, abs=1e-6)
    assert several.usage.prompt_tokens == sum(map(len, tokens))


def test_fewer_dimensions_where_the_model_was_trained_for_it(client: openai.OpenAI) -> None:
    whole = np.array(client.embeddings.create(model="nested@f32", input="a cat").data[0].embedding)
    cut = np.array(client.embeddings.create(model="nested@f32", input="a cat", dimensions=8).data[0].embedding)
    assert cut == pytest.approx(whole[:8] / np.linalg.norm(whole[:8]), abs=1e-6)
    assert len(client.embeddings.create(model="bert@f32", input="a", dimensions=32).data[0].embedding) == 32
    for model, dimensions in (("bert@f32", 8), ("nested@f32", 33)):
        with pytest.raises(openai.BadRequestError) as refused:
            client.embeddings.create(model=model, input="a cat", dimensions=dimensions)
        assert refused.value.param == "dimensions"


def test_a_model_that_writes_is_refused_by_naming_those_that_embed(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=r"makes no embeddings.*nested@f32, bert@f32") as refused:
        client.embeddings.create(model="writer@f32", input="a cat")
    assert refused.value.param == "model"
    with pytest.raises(openai.BadRequestError, match=r"writes none.*/v1/embeddings") as refused:
        client.chat.completions.create(model="bert@f32", messages=[{"role": "user", "content": "Hi"}])
    assert refused.value.param == "model"
    with pytest.raises(openai.NotFoundError, match="bert@f32"):
        client.embeddings.create(model="berd@f32", input="a cat")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ["a", "w " * 300]}, "input.1"),
        ({"input": ""}, "input.0"),
        ({"input": ["a", ""]}, "input.1"),
        ({"input": [999]}, "input.0"),
        ({"input": []}, None),
        ({"input": [[]]}, "input.0"),
        ({"input": ["a", 1]}, None),
        ({"input": ["a"] * 2049}, None),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({}, "input"),
    ],
)
def test_bad_input(http: httpx.Client, body: dict, param: str | None) -> None:
    answer = http.post("/v1/embeddings", json={"model": "bert@f32", **body})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert param is None or error["param"] == param
    if "w " * 9 in str(body):
        assert error["code"] == "context_length_exceeded"
        assert "128" in error["message"]


def test_lm_studio(http: httpx.Client, vectors: np.ndarray) -> None:
    made = http.post("/api/v0/embeddings", json={"model": "bert@f32", "input": TEXTS}).json()
    assert np.array([entry["embedding"] for entry in made["data"]]) == pytest.approx(vectors, abs=1e-6)
    listed = {model["id"]: model for model in http.get("/api/v0/models").json()["data"]}
    assert listed["bert@f32"]["type"] == "embeddings"
    assert (listed["bert@f32"]["state"], listed["bert@f32"]["loaded_context_length"]) == ("loaded", 128)
    assert listed["writer@f32"]["type"] == "llm"
    current = {model["key"]: model for model in http.get("/api/v1/models").json()["models"]}
    assert current["bert@f32"]["type"] == "embedding"
    assert current["bert@f32"]["loaded_instances"] == [{"id": "bert@f32", "config": {"context_length": 128}}]
    openais = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert (openais["nested@f32"]["type"], openais["writer@f32"]["type"]) == ("embeddings", "llm")
    loaded = http.post("/api/v1/models/load", json={"model": "nested@f32", "context_length": 64}).json()
    assert (loaded["type"], loaded["status"]) == ("embedding", "loaded")
    assert http.post("/v1/embeddings", json={"model": "nested@f32", "input": "w " * 50}).status_code == 400
    assert http.post("/api/v1/models/unload", json={"instance_id": "nested@f32"}).json()["instance_id"] == "nested@f32"


def test_without_a_name_it_is_the_one_that_is_loaded(http: httpx.Client) -> None:
    for model in http.get("/api/foredraft/models").json()["models"]:
        http.post("/api/foredraft/unload", json={"model": model["id"]})
    refused = http.post("/v1/embeddings", json={"input": "a"})
    assert refused.status_code == 400
    assert "bert@f32, nested@f32" in refused.json()["error"]["hint"]
    http.post("/api/foredraft/load", json={"model": "nested@f32"})
    assert http.post("/v1/embeddings", json={"input": "a"}).json()["model"] == "nested@f32"
    state = http.get("/api/foredraft/models").json()["models"][0]
    assert (state["kind"], state["totals"]["answers"]) == ("embedding", 1)
    assert 'foredraft_answers_total{model="nested@f32",outcome="embedded"}' in http.get("/metrics").text
