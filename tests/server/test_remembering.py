"""`--remember-answers`: answers are kept on this machine only where that was asked for, and said wherever one looks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from foredraft.config.folders import data_folder
from foredraft.config.settings import load_settings
from foredraft.models.places import FOLDER, Place
from foredraft.models.store import ModelStore
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import ServerSettings, Services
from foredraft.server.loading import load_pair
from foredraft.server.shelf import StoreShelf
from tests import tiny_gguf
from tests.server import toy


@pytest.mark.parametrize("wanted", [True, False])
def test_answers_are_kept_where_that_is_wanted(tmp_path: Path, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if wanted:
        monkeypatch.setenv("FOREDRAFT_DRAFT__REMEMBER_ANSWERS", "true")
    user = load_settings()
    assert user.draft.remember_answers == wanted
    tiny_gguf.llama(tmp_path / "writer-f32.gguf")
    shelf = StoreShelf(ModelStore([Place(tmp_path, FOLDER)]), user, slots=2)
    services = Services(Runtime(load_pair), shelf, ServerSettings(remember_answers=user.draft.remember_answers))
    kept: dict[str, str] = {}
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=60) as http:
        assert http.get("/health").json()["remembers_answers"] == wanted

        def ask(prompt: str, **speculative: Any) -> str:
            body = {"model": "writer@f32", "prompt": prompt, "max_tokens": 12, "temperature": 0, "ignore_eos": True}
            made = http.post("/v1/completions", json={**body, "speculative": {**speculative, "explain": True}}).json()
            return " ".join(str(origin["token"]) for origin in made["choices"][0]["explain"]["origins"])

        kept["usual"] = ask("a cat")
        kept["plain"] = ask("the dog", enabled=False)
        left_out = ask("my secret is", remember=False)
        assert left_out not in kept.values()
        (state,) = http.get("/api/foredraft/models").json()["models"]
        assert state["remembers_answers"] == wanted
        assert any("Answers are kept in" in note for note in state["notes"]) == wanted
        http.post("/api/foredraft/unload", json={"model": "writer@f32"})
    files = list((data_folder() / "answers").glob("*")) if (data_folder() / "answers").exists() else []
    assert len(files) == wanted
    if files:
        lines = files[0].read_text(encoding="utf-8").splitlines()[1:]
        assert sorted(lines) == sorted(kept.values())
        assert all(re.fullmatch(r"[0-9 ]+", line) for line in lines)
