"""Models through Ollama's own client: listed, shown, fetched, copied, deleted, embedding; and who is there at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from ollama import Client, ResponseError

from foredraft.config.settings import Settings
from foredraft.models import places
from foredraft.models.places import Place
from foredraft.models.store import ModelStore
from foredraft.runtime.runtime import Runtime
from foredraft.server.aliases import Aliases
from foredraft.server.context import ServerSettings, Services
from foredraft.server.downloads import Downloads
from foredraft.server.loading import load_pair
from foredraft.server.shelf import StoreShelf
from tests import tiny_gguf
from tests.server import toy


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    """A shelf of files: two that write, one of them in a folder of another program, and one that embeds."""
    folder = tmp_path_factory.mktemp("shelf")
    own, other = folder / "own", folder / "other"
    own.mkdir()
    other.mkdir()
    tiny_gguf.llama(own / "writer-f32.gguf")
    tiny_gguf.llama(own / "second-f32.gguf", seed=1)
    tiny_gguf.llama(other / "theirs-f32.gguf", seed=2)
    tiny_gguf.bert(own / "embedder-f32.gguf")
    store = ModelStore([Place(own, places.OWN), Place(other, places.FOLDER)])
    shelf = StoreShelf(store, Settings(), slots=1)
    aliases = Aliases({}, folder / "aliases.json")
    return Services(Runtime(load_pair), shelf, ServerSettings(), default_model="", store=store, aliases=aliases)


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Client]:
    with Client(address) as one:
        yield one


def names(client: Client) -> list[str]:
    return [model.model or "" for model in client.list().models]


def test_models_are_listed_with_their_facts(client: Client, services: Services) -> None:
    listed = {model.model: model for model in client.list().models}
    assert set(listed) == {"writer:f32", "second:f32", "theirs:f32", "embedder:f32"}
    writer = listed["writer:f32"]
    assert writer.size == (services.store.own / "writer-f32.gguf").stat().st_size
    assert writer.details.family == "llama"
    assert writer.details.quantization_level == "F32"
    assert writer.modified_at.year >= 2026
    assert len({model.digest for model in listed.values()}) == 4
    assert all(len(model.digest or "") == 64 for model in listed.values())


@pytest.mark.parametrize("name", ["writer:f32", "WRITER:F32", "writer", "writer:latest"])
def test_a_model_is_shown_by_the_names_that_it_is_asked_by(client: Client, name: str) -> None:
    shown = client.show(name)
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["llama.context_length"] > 0
    assert "tools" in shown.capabilities
    assert shown.details.format == "gguf"


def test_an_embedding_model_is_shown_and_embeds(client: Client, address: str) -> None:
    assert client.show("embedder").capabilities == ["embedding"]
    made = client.embed("embedder:f32", ["a cat", "a dog", "a cat"])
    assert made.embeddings[0] == pytest.approx(made.embeddings[2], abs=1e-6)
    assert made.embeddings[0] != pytest.approx(made.embeddings[1], abs=1e-3)
    assert np.linalg.norm(made.embeddings[0]) == pytest.approx(1, abs=1e-5)
    assert made.prompt_eval_count > 0
    old = client.embeddings("embedder:f32", "a cat")
    assert old.embedding == pytest.approx(made.embeddings[0], abs=1e-6)
    assert client.embed("embedder:f32", []).embeddings == []
    long = "cat " * 5000
    cut = client.embed("embedder:f32", long)
    (running,) = [model for model in client.ps().models if model.model == "embedder:f32"]
    assert cut.prompt_eval_count == running.context_length
    assert client.embed("embedder:f32", long + "dog").embeddings[0] == pytest.approx(cut.embeddings[0], abs=1e-6)
    with pytest.raises(ResponseError):
        client.embed("embedder:f32", long, truncate=False)
    refused = httpx.post(f"{address}/api/embed", json={"model": "writer:f32", "input": "a"})
    assert refused.status_code == 400
    assert "embedder" in refused.json()["error"]


def test_a_copy_is_one_more_name_and_is_kept(client: Client, services: Services, address: str) -> None:
    client.copy("writer:f32", "mine")
    assert "mine:latest" in names(client)
    assert client.generate("mine", "a", options={"num_predict": 2}).model == "mine"
    assert client.show("mine:latest").modelinfo["general.architecture"] == "llama"
    again = Aliases({}, services.store.own.parent / "aliases.json")
    assert again.of("Mine") == "writer@f32", "after the next start too"
    with pytest.raises(ResponseError, match="already"):
        client.copy("writer:f32", "second:f32")
    with pytest.raises(ResponseError, match="not found"):
        client.copy("nobody", "mine")
    client.delete("mine")
    assert "mine:latest" not in names(client)
    assert "writer:f32" in names(client)
    with pytest.raises(ResponseError, match="not found"):
        client.delete("mine")


def test_only_whole_names_of_own_files_are_deleted(client: Client, services: Services) -> None:
    for part in ("second", "secon:f32", "second:latest"):
        with pytest.raises(ResponseError, match="not found"):
            client.delete(part)
    with pytest.raises(ResponseError, match="own folder"):
        client.delete("theirs:f32")
    client.generate("second:f32", "a", options={"num_predict": 2})
    assert client.delete("second:f32").status == "success"
    assert "second:f32" not in names(client)
    assert "second:f32" not in [model.model for model in client.ps().models]
    assert not (services.store.own / "second-f32.gguf").exists()
    assert "theirs:f32" in names(client)


# ---- fetching ----


def test_a_pull_tells_how_far_it_is(client: Client, services: Services) -> None:
    asked: list[str] = []

    def fetch(name: str, quantisation: str, report: Any) -> bool:
        asked.append(name)
        if name == "nobody/nothing":
            raise toy.ModelNotFoundError(name)
        report(0, 10, "ab" * 32)
        report(10, 10)
        return True

    services.downloads = Downloads(fetch)
    steps = list(client.pull("hf.co/somebody/something:Q4_K_M", stream=True))
    assert [step.status for step in (steps[0], *steps[-3:])] == [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    pulling = steps[1]
    assert (pulling.status, pulling.digest, pulling.total) == (f"pulling {'ab' * 6}", f"sha256:{'ab' * 32}", 10)
    assert client.pull("somebody/something:latest").status == "success"
    assert asked == ["hf.co/somebody/something:Q4_K_M", "somebody/something"]
    with pytest.raises(ResponseError, match="nobody/nothing"):
        list(client.pull("nobody/nothing", stream=True))
    with pytest.raises(ResponseError, match="nobody/nothing"):
        client.pull("nobody/nothing")


def test_who_leaves_stops_the_pull(services: Services, address: str) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def fetch(name: str, quantisation: str, report: Any) -> bool:
        try:
            while True:  # blocks of a slow line
                report(1, 10)
                begun.set()
                stopped.wait(0.01)
        finally:
            stopped.set()

    services.downloads = Downloads(fetch)
    with httpx.stream("POST", f"{address}/api/pull", json={"model": "a/b"}, timeout=30) as answer:
        lines = answer.iter_lines()  # kept: the connection is closed with it
        next(lines)
        assert begun.wait(30)
    assert stopped.wait(30)


@pytest.mark.parametrize("path", ["create", "push"])
def test_what_is_not_served_is_said(address: str, path: str) -> None:
    answer = httpx.post(f"{address}/api/{path}", json={"model": "a"})
    assert answer.status_code == 400
    assert "not served" in answer.json()["error"]
    nothing = httpx.post(f"{address}/api/blobs/x", json={})
    assert (nothing.status_code, type(nothing.json()["error"])) == (404, str)


# ---- who is there ----


def test_programs_see_ollama_and_browsers_the_app() -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    with toy.serving(toy.services(ServerSettings(app_secret=b"secret"))) as address:
        probe = httpx.get(f"{address}/")
        assert (probe.status_code, probe.text) == (200, "Ollama is running")
        assert httpx.head(f"{address}/").status_code == 200
        assert httpx.get(f"{address}/", headers=browser).status_code == 403, "the app's door is closed"
        assert httpx.get(f"{address}/?token=x").status_code == 403
        assert httpx.get(f"{address}/models").status_code == 403
        assert httpx.post(f"{address}/").status_code == 403
        assert httpx.head(f"{address}/api/version").status_code == 200
        assert httpx.head(f"{address}/api/tags").status_code == 200
        parts = httpx.get(f"{address}/api/version").json()["version"].split(".")
        assert tuple(map(int, parts)) >= (0, 6, 4), "what clients ask for at least"
        assert httpx.get(f"{address}/api/version", headers={"host": "evil.example"}).json() == {
            "error": "This server is not called evil.example. Allow the name with --allowed-host."
        }


def test_the_other_dialects_keep_their_paths(address: str) -> None:
    assert "models" in httpx.get(f"{address}/api/v1/models").json()
    assert httpx.get(f"{address}/api/v0/models").json()["object"] == "list"
    paths = httpx.get(f"{address}/openapi.json").json()["paths"]
    for name in ("chat", "generate", "tags", "show", "ps", "embed", "embeddings", "pull", "delete", "copy", "version"):
        assert f"/api/{name}" in paths
    assert "/v1/messages" in paths
    assert "/v1/messages/count_tokens" in paths


def test_a_damaged_file_of_names_is_none(tmp_path: Path) -> None:
    file = tmp_path / "aliases.json"
    file.write_text("{", encoding="utf-8")
    aliases = Aliases({"gpt-*": "toy"}, file)
    assert (aliases.of("GPT-4o"), aliases.of("other")) == ("toy", "other")
    aliases.give("Mine", "toy")
    assert Aliases({}, file).given() == {"mine": "toy"}
    assert not aliases.take("gpt-4o")
