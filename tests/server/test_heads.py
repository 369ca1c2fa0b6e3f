"""Drafts that read hidden rows, over HTTP: listed, asked for by name, named in answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.random_kinds import write_random_kind
from foredraft.config.load_settings import LoadSettings
from foredraft.config.settings import load_settings
from foredraft.models.cache import ShelfCache
from foredraft.models.places import OWN, Place
from foredraft.models.store import ModelStore
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.server.shelf import StoreShelf
from tests import known_heads
from tests.server import toy

MAIN, ASSISTANT, HELPED = "circle@f32", "gemma4-assistant@f32", "gemma4@f32"


def load(spec: LoadSpec, progress: Any) -> LLM:
    settings = LoadSettings(
        context=256, slots=2, probe=False, remember=False, controller="fixed", fixed_look_ahead=3, threads=1
    )
    return LLM.load(Path(spec.model), spec.draft, settings=settings, draft_required=spec.draft_required)


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("shelf")
    known_heads.circle(folder / "circle.gguf")
    for kind in ("gemma4", "gemma4-assistant"):
        write_random_kind(folder / f"{kind}.gguf", kind)
    shelf = StoreShelf(ModelStore([Place(folder, OWN)], ShelfCache(None)), load_settings())
    services = Services(Runtime(load, auto_evict=False), shelf, default_model=MAIN)
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def complete(http: httpx.Client, model: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "prompt": "the cat", "max_tokens": 12, "temperature": 0, "ignore_eos": True, **more}
    answer = http.post("/v1/completions", json=body)
    made: dict[str, Any] = answer.json()
    assert answer.status_code == 200, made
    return made


def test_the_draft_inside_is_asked_for_and_named(http: httpx.Client) -> None:
    with_draft = complete(http, MAIN, draft_model="builtin", draft_required=True)
    assert with_draft["stats"]["draft_model"] == "builtin"
    assert with_draft["stats"]["accepted_draft_tokens_count"] >= 8
    assert with_draft["stats"]["rejected_draft_tokens_count"] == 0
    without = complete(http, MAIN, draft_model="off")
    assert without["choices"][0]["text"] == with_draft["choices"][0]["text"]
    (entry,) = [one for one in http.get("/v1/models").json()["data"] if one["id"] == MAIN]
    assert entry["draft_model"] == "builtin"


def test_an_assistant_is_asked_for_by_its_name(http: httpx.Client) -> None:
    answer = complete(http, HELPED, draft_model=ASSISTANT, draft_required=True)
    assert answer["stats"]["draft_model"] == ASSISTANT
    changed = http.post("/api/foredraft/draft", json={"model": HELPED, "draft": "builtin", "required": True})
    assert changed.status_code in (400, 409, 422)
    assert "no built-in draft" in changed.text
    again = complete(http, HELPED, draft_model="builtin")
    assert again["stats"]["speculation"]["status"] != "active"


def test_drafts_are_listed_as_drafts(http: httpx.Client) -> None:
    models = {one["key"]: one for one in http.get("/api/v1/models").json()["models"]}
    assert models[ASSISTANT]["type"] == "drafter"
    assert models[ASSISTANT]["fits"] == [HELPED]
    assert models[ASSISTANT]["made_for"] == "gemma4 models with hidden rows of 64 numbers"
    assert models[MAIN]["own_draft"] is True
    assert models[HELPED]["own_draft"] is False
    assert ASSISTANT not in [one["id"] for one in http.get("/v1/models").json()["data"]]
