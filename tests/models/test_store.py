"""The shelf: names, several places, the cache, and everything that can go wrong with files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from foredraft.core.errors import (
    AmbiguousModelError,
    ForedraftError,
    ModelError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from foredraft.core.reasons import Reason
from foredraft.models import places
from foredraft.models import store as store_module
from foredraft.models.cache import Measured, ShelfCache
from foredraft.models.names import find_name, model_name, split_quantisation, unique_names
from foredraft.models.places import Place, default_places, huggingface_cache
from foredraft.models.store import ModelStore
from tests.models.gguf_bytes import model, write
from tests.models.test_facts import split


@pytest.fixture
def shelf(tmp_path: Path) -> ModelStore:
    """An empty shelf with an own folder, one further folder, and a cache on disk."""
    where = [Place(tmp_path / "own", places.OWN), Place(tmp_path / "more", places.FOLDER)]
    return ModelStore(where, ShelfCache(tmp_path / "cache" / "shelf.sqlite"))


def names(shelf: ModelStore) -> list[str]:
    return [found.name for found in shelf.scan()]


# ---- names ----


@pytest.mark.parametrize(
    ("stem", "quantisation", "folder", "name"),
    [
        ("Qwen2.5-14B-Instruct-Q4_K_M", "Q4_K_M", "", "qwen2.5-14b-instruct@q4_k_m"),
        ("qwen2.5-7b-instruct.q8_0", "", "", "qwen2.5-7b-instruct@q8_0"),
        ("Llama-3.2-1B-Instruct-UD-Q4_K_XL", "Q4_K_M", "", "llama-3.2-1b-instruct@q4_k_m"),
        ("ggml-model-f16", "F16", "TinyLlama-1.1B-GGUF", "tinyllama-1.1b@f16"),
        ("model", "", "", "model"),
        ("日本語 モデル", "Q8_0", "", "日本語-モデル@q8_0"),
        ("mxfp4-thing-mxfp4_moe", "MXFP4_MOE", "", "mxfp4-thing@mxfp4_moe"),
        ("Q8_0", "Q8_0", "OpenBioLLM-70B-GGUF", "openbiollm-70b@q8_0"),
    ],
)  # fmt: skip
def test_names_of_files(stem: str, quantisation: str, folder: str, name: str) -> None:
    assert model_name(stem, quantisation, folder) == name


def test_quantisation_is_split_off_only_at_the_end() -> None:
    assert split_quantisation("a-q4_0-b") == ("a-q4_0-b", "")
    assert split_quantisation("a-IQ3_XXS") == ("a", "IQ3_XXS")


KNOWN = ["qwen2.5-14b-instruct@q4_k_m", "qwen2.5-14b-instruct@q8_0", "qwen2.5-7b-instruct@q4_k_m",
         "bartowski/llama-3.1-8b@q4_k_m", "lmstudio/llama-3.1-8b@q4_k_m", "llama-3.1-8b-lexi@q4_k_m"]  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("qwen2.5-14b-instruct@q8_0", KNOWN[1]),
        ("QWEN2.5-14B-Instruct:Q8_0", KNOWN[1]),
        ("qwen2.5-7b-instruct", KNOWN[2]),
        ("qwen2.5-7b", KNOWN[2]),
        ("qwen2.5-14b@q8", KNOWN[1]),
        ("bartowski/llama-3.1-8b", KNOWN[3]),
        ("lexi", KNOWN[5]),
        ("7b", KNOWN[2]),
    ],
)
def test_short_forms(wanted: str, name: str) -> None:
    assert find_name(wanted, KNOWN) == name


@pytest.mark.parametrize(
    ("wanted", "candidates"),
    [
        ("qwen2.5-14b-instruct", KNOWN[:2]),
        ("qwen", KNOWN[:3]),
        ("llama-3.1-8b", KNOWN[3:5]),
        ("llama-3.1-8b@q4_k_m", KNOWN[3:5]),
    ],
)
def test_ambiguous_short_forms_are_answered_with_the_candidates(wanted: str, candidates: list[str]) -> None:
    with pytest.raises(AmbiguousModelError) as raised:
        find_name(wanted, KNOWN)
    assert list(raised.value.candidates) == candidates
    assert candidates[0] in str(raised.value)


@pytest.mark.parametrize(
    ("wanted", "near"), [("qwenn2.5-7b-instruct", KNOWN[2]), ("lamma-3.1-8b-lexi", KNOWN[5]), ("lexy", KNOWN[5])]
)
def test_misspelt_names_are_answered_with_the_nearest(wanted: str, near: str) -> None:
    with pytest.raises(ModelNotFoundError, match="Did you mean") as raised:
        find_name(wanted, KNOWN)
    assert near in raised.value.nearest


@pytest.mark.parametrize("wanted", ["", "   ", "zzz", "@", "qwen2.5-7b@q2_k"])
def test_unknown_names(wanted: str) -> None:
    with pytest.raises(ModelNotFoundError):
        find_name(wanted, KNOWN)


@pytest.fixture
def brought(tmp_path: Path) -> ModelStore:
    """Files as LM Studio and the hub lay them, under the names that they really have."""
    lmstudio, own = tmp_path / "lm", tmp_path / "own"
    write(lmstudio / "lmstudio-community/Meta-Llama-3.1-8B-Instruct-GGUF/Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", model())
    write(lmstudio / "openai/gpt-oss-20b/gpt-oss-20b-MXFP4.gguf", model(params=64))
    write(lmstudio / "LiteLLMs/OpenBioLLM-70B-GGUF/Q8_0.gguf", model(params=96, kind="Q8_0"))
    write(lmstudio / "lmstudio-community/gemma-3-12b-it-GGUF/gemma-3-12b-it-Q4_K_M.gguf", model(params=128))
    write(own / "unsloth/Qwen3-8B-GGUF/Qwen3-8B-Q8_0.gguf", model(params=160, kind="Q8_0"))
    write(own / "unsloth/Qwen3-8B-GGUF/Qwen3-8B-UD-Q4_K_XL.gguf", model(params=192))
    write(own / "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", model(params=224))
    return ModelStore([Place(own, places.OWN), Place(lmstudio, places.LM_STUDIO)])


@pytest.mark.parametrize(
    ("wanted", "file"),
    [
        ("lmstudio-community/meta-llama-3.1-8b-instruct", "Meta-Llama-3.1-8B-Instruct-Q8_0"),
        (
            "lmstudio-community/Meta-Llama-3.1-8B-Instruct-GGUF/Meta-Llama-3.1-8B-Instruct-Q8_0.gguf",
            "Meta-Llama-3.1-8B-Instruct-Q8_0",
        ),
        ("META-LLAMA-3.1-8B-INSTRUCT-Q8_0.GGUF", "Meta-Llama-3.1-8B-Instruct-Q8_0"),
        ("Meta-Llama-3.1-8B-Instruct-Q8_0", "Meta-Llama-3.1-8B-Instruct-Q8_0"),
        ("openai/gpt-oss-20b", "gpt-oss-20b-MXFP4"),
        ("gpt-oss-20b:latest", "gpt-oss-20b-MXFP4"),
        ("openbiollm-70b", "Q8_0"),
        ("google/gemma-3-12b", None),
        ("google/gemma-3-12b-it", "gemma-3-12b-it-Q4_K_M"),
        ("google/gemma-3-12b-it-GGUF", None),
        ("hf.co/google/gemma-3-12b-it", None),
        ("unsloth/Qwen3-8B-GGUF:Q8_0", "Qwen3-8B-Q8_0"),
        ("unsloth/Qwen3-8B-GGUF:UD-Q4_K_XL", "Qwen3-8B-UD-Q4_K_XL"),
        ("hf.co/unsloth/qwen3-8b-gguf:q4_k_xl", "Qwen3-8B-UD-Q4_K_XL"),
        ("https://huggingface.co/unsloth/Qwen3-8B-GGUF/resolve/main/Qwen3-8B-Q8_0.gguf", "Qwen3-8B-Q8_0"),
        ("unsloth/Qwen3-8B-GGUF:Q2_K", None),
        ("bartowski/Qwen3-8B-GGUF:Q8_0", None),
        ("qwen2.5-coder:1.5b", "qwen2.5-coder-1.5b-instruct-q4_k_m"),
        ("qwen2.5-coder:1.5b-instruct-q4_K_M", "qwen2.5-coder-1.5b-instruct-q4_k_m"),
        ("there/is/no-such.gguf", None),
    ],
)
def test_names_that_people_bring_from_other_programs(brought: ModelStore, wanted: str, file: str | None) -> None:
    if file is None:
        with pytest.raises(ModelNotFoundError):
            brought.find(wanted)
    else:
        assert brought.find(wanted).path.stem == file


@pytest.mark.parametrize("wanted", ["unsloth/Qwen3-8B-GGUF", "hf.co/unsloth/Qwen3-8B-GGUF", "qwen3-8b-gguf"])
def test_a_repository_of_several_files_is_answered_with_the_candidates(brought: ModelStore, wanted: str) -> None:
    with pytest.raises(AmbiguousModelError) as raised:
        brought.find(wanted)
    assert raised.value.candidates == ("qwen3-8b@f32", "qwen3-8b@q8_0")


def test_names_that_occur_twice_get_their_publisher_or_a_number() -> None:
    assert unique_names([("a@q8_0", "X"), ("a@q8_0", "Y"), ("b", ""), ("b", "")]) == [
        "x/a@q8_0",
        "y/a@q8_0",
        "b",
        "b~2",
    ]


# ---- looking ----


def test_all_places_are_read_in_their_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    snapshot = tmp_path / "hf" / "hub" / "models--Qwen--Qwen3-0.6B-GGUF" / "snapshots" / "abc"
    blob = write(tmp_path / "hf" / "hub" / "models--Qwen--Qwen3-0.6B-GGUF" / "blobs" / "0123.gguf", model())
    snapshot.mkdir(parents=True)
    (snapshot / "Qwen3-0.6B-Q8_0.gguf").symlink_to(blob)
    write(Path.home() / ".lmstudio" / "models" / "bartowski" / "Llama-GGUF" / "Llama-Q4_K_M.gguf", model(params=96))
    write(tmp_path / "own" / "o" / "r" / "own.gguf", model(params=128))
    write(tmp_path / "more" / "deep" / "er" / "more.gguf", model(params=160))
    write(tmp_path / "more" / ".hidden" / "no.gguf", model())
    shelf = ModelStore(default_places(tmp_path / "own", [tmp_path / "more"]))
    found = {model.name: (model.source, model.publisher) for model in shelf.models() if model.source != "embedded"}
    assert found == {
        "qwen3-0.6b@f32": ("huggingface", "Qwen"),
        "llama@f32": ("lmstudio", "bartowski"),
        "own@f32": ("own", "o"),
        "more@f32": ("folder", "deep"),
    }


def of_ollama(place: Path, name: str, content: bytes, host: str = "registry.ollama.ai/library") -> Path:
    """A model as Ollama keeps it."""
    digest = hashlib.sha256(content).hexdigest()
    blob = write(place / "blobs" / f"sha256-{digest}", content)
    model, _, tag = name.partition(":")
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}", "size": len(content)},
    ]
    manifest = place / "manifests" / host / model / (tag or "latest")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}), encoding="utf-8")
    return blob


def test_models_of_ollama_and_llama_cpp_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ollama = tmp_path / "ollama"
    monkeypatch.setenv("OLLAMA_MODELS", str(ollama))
    monkeypatch.setenv("LLAMA_CACHE", str(tmp_path / "llama.cpp"))
    blob = of_ollama(ollama, "qwen2.5:7b", model())
    of_ollama(ollama, "smollm2", model(params=96))
    of_ollama(ollama, "gemma:1b", model(params=128), host="registry.ollama.ai/somebody")
    write(tmp_path / "llama.cpp" / "ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M.gguf", model(params=160))
    shelf = ModelStore(default_places(tmp_path / "own"))
    found = {of.name: (of.source, of.publisher) for of in shelf.models() if of.source != "embedded"}
    assert found == {
        "qwen2.5-7b@f32": ("ollama", "ollama"),
        "smollm2@f32": ("ollama", "ollama"),
        "gemma-1b@f32": ("ollama", "somebody"),
        "gemma-3-1b-it@f32": ("llama_cpp", ""),
    }
    assert shelf.require("qwen2.5-7b").path == blob
    with pytest.raises(ForedraftError):
        shelf.remove(shelf.find("smollm2", whole=True))
    assert blob.exists()


def test_damaged_manifests_are_named_and_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    secret = write(tmp_path / "secret.gguf", model())
    folder = tmp_path / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "bad"
    folder.mkdir(parents=True)
    leads = {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:../../{secret.name}"}]}
    for tag, content in (("a", "{"), ("b", "[]"), ("c", json.dumps(leads)), ("d", "x" * (2 << 20))):
        (folder / tag).write_text(content, encoding="utf-8")
    shelf = ModelStore(default_places(tmp_path / "own"))
    assert [of for of in shelf.models() if of.source != "embedded"] == []
    assert len([problem for problem in shelf.problems if "not a manifest of Ollama" in str(problem)]) == 4


def test_lm_studio_may_have_been_moved(tmp_path: Path) -> None:
    home = Path.home()
    (home / ".lmstudio-home-pointer").write_text(f"{tmp_path / 'moved'}\n", encoding="utf-8")
    write(tmp_path / "moved" / "models" / "o" / "r" / "one.gguf", model())
    (tmp_path / "moved" / "settings.json").write_text(
        json.dumps({"downloadsFolder": str(tmp_path / "big")}), encoding="utf-8"
    )
    write(tmp_path / "big" / "o" / "r" / "two.gguf", model(params=96))
    shelf = ModelStore(default_places(tmp_path / "own"))
    assert {of.name for of in shelf.models() if of.source == "lmstudio"} == {"one@f32", "two@f32"}


def test_the_hub_cache_is_found_as_the_hub_client_finds_it(tmp_path: Path) -> None:
    import subprocess
    import sys

    for environment in ({"HF_HUB_CACHE": "/x/hub"}, {"HF_HOME": "/x"}, {"XDG_CACHE_HOME": "/c"}, {}):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "XDG_"))}
        said = subprocess.run(
            [sys.executable, "-c", "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"],
            env={**clean, **environment}, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        assert huggingface_cache(environment) == Path(said)


def test_a_file_that_is_linked_twice_is_listed_once(shelf: ModelStore, tmp_path: Path) -> None:
    real = write(tmp_path / "own" / "a.gguf", model())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.gguf").symlink_to(real)
    assert names(shelf) == ["a@f32"]


def test_links_in_circles_and_to_nothing_end(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "more" / "a" / "m.gguf", model())
    (tmp_path / "more" / "a" / "up").symlink_to(tmp_path / "more")
    (tmp_path / "more" / "self").symlink_to(tmp_path / "more" / "self")
    (tmp_path / "more" / "gone.gguf").symlink_to(tmp_path / "nothing.gguf")
    assert names(shelf) == ["m@f32"]
    assert any("gone.gguf" in str(problem) for problem in shelf.problems)


def test_unreadable_folders_are_named_and_passed_over(
    shelf: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "own" / "a.gguf", model())
    write(tmp_path / "more" / "secret" / "b.gguf", model())
    real = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert names(shelf) == ["a@f32"]
    assert [str(problem) for problem in shelf.problems] == [f"{tmp_path / 'more' / 'secret'}: Permission denied"]


def test_long_and_foreign_names(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / ("長い名前" * 15 + ".gguf"), model())
    write(tmp_path / "own" / "Ünïcödé Mödel-Q8_0.gguf", model(params=96))
    found = names(shelf)
    assert "ünïcödé-mödel@f32" in found
    assert shelf.find("長い").name == "長い名前" * 15 + "@f32"
    assert shelf.find("ÜNÏCÖDÉ").name == "ünïcödé-mödel@f32"


def test_broken_files_are_listed_with_their_problem(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / "broken.gguf", b"GGUF and no more")
    (found,) = shelf.models()
    assert not found.usable
    assert str(found.problem).startswith("broken.gguf")
    with pytest.raises(ModelError, match="cannot be read"):
        shelf.require("broken")


def test_parts_of_a_split_file(shelf: ModelStore, tmp_path: Path) -> None:
    split(tmp_path / "own" / "whole", 3)
    split(tmp_path / "own" / "second-missing", 3, missing=2)
    split(tmp_path / "own" / "first-missing", 3, missing=1)
    problems = {
        model.path.parent.name: (model.facts and model.facts.missing, model.problem) for model in shelf.models()
    }
    assert problems == {
        "whole": (None, None),
        "second-missing": ((2, 3), None),
        "first-missing": (None, Reason("part_missing", {"i": 1, "n": 3})),
    }
    broken = next(model for model in shelf.models() if model.facts and model.facts.missing)
    with pytest.raises(ModelError, match="File 2 of 3"):
        shelf.require(broken.name)


def test_a_part_that_arrives_later_is_noticed(shelf: ModelStore, tmp_path: Path) -> None:
    split(tmp_path / "own", 2, missing=2)
    assert shelf.models()[0].facts.missing == (2, 2)
    split(tmp_path / "own", 2)
    assert shelf.scan()[0].facts.missing is None


def test_only_text_models_are_handed_out_for_loading(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / "e.gguf", model(architecture="nomic-bert"))
    with pytest.raises(UnsupportedModelError, match="cannot write text"):
        shelf.require("e")


def test_a_file_deleted_after_the_scan(shelf: ModelStore, tmp_path: Path) -> None:
    path = write(tmp_path / "own" / "a.gguf", model())
    shelf.scan()
    path.unlink()
    with pytest.raises(ModelNotFoundError, match="a moment ago"):
        shelf.require("a")


def test_paths_are_names_too(shelf: ModelStore, tmp_path: Path) -> None:
    path = write(tmp_path / "elsewhere" / "x-Q8_0.gguf", model())
    assert shelf.find(str(path)).name == "x@f32"
    assert shelf.find(path).path == path
    part = split(tmp_path / "elsewhere", 2).with_name("big-00002-of-00002.gguf")
    assert shelf.find(part).path.name == "big-00001-of-00002.gguf"
    with pytest.raises(ModelNotFoundError):
        shelf.find(tmp_path / "nothing.gguf")


def test_copies_of_one_file_are_no_question(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / "p" / "r" / "same.gguf", model())
    write(tmp_path / "more" / "q" / "r" / "same.gguf", model())
    assert names(shelf) == ["p/same@f32", "q/same@f32"]
    assert shelf.find("same").source == "own"


# ---- the cache ----


def test_unchanged_files_are_not_read_again(shelf: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "own" / "a.gguf", model())
    write(tmp_path / "own" / "broken.gguf", b"GGUF")
    before = shelf.scan()

    def never(path: Path) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(store_module, "read_facts", never)
    again = ModelStore(shelf.places, ShelfCache(shelf.cache.path))
    assert again.scan() == before


def test_a_changed_file_is_read_again(shelf: ModelStore, tmp_path: Path) -> None:
    path = write(tmp_path / "own" / "a.gguf", model())
    first = shelf.scan()[0].facts.n_params
    status = path.stat()
    write(path, model(params=9600))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the size tells all the same
    assert shelf.scan()[0].facts.n_params == 9600 != first


def test_files_that_went_are_forgotten(shelf: ModelStore, tmp_path: Path) -> None:
    path = write(tmp_path / "own" / "a.gguf", model())
    shelf.scan()
    path.unlink()
    assert shelf.scan() == []
    assert shelf.cache.facts() == {}


def test_what_the_system_lacked_is_not_held_against_a_file(
    shelf: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory, descriptors: they may be there the next time, and the file has not changed."""
    write(tmp_path / "own" / "a.gguf", model())

    def lacking(*_: object, **__: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr("mmap.mmap", lacking)
        assert "Cannot allocate memory" in str(shelf.scan()[0].problem)
    assert shelf.scan()[0].problem is None


@pytest.mark.parametrize("damage", ["garbage", "older", "other facts"])
def test_a_damaged_or_older_cache_is_made_anew(shelf: ModelStore, tmp_path: Path, damage: str) -> None:
    write(tmp_path / "own" / "a.gguf", model())
    shelf.scan()
    path = shelf.cache.path
    assert path is not None
    if damage == "garbage":
        path.write_bytes(b"not a database" * 100)
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 0" if damage == "older" else "UPDATE facts SET facts = '{}'")
        connection.close()
    assert [found.name for found in ModelStore(shelf.places, ShelfCache(path)).scan()] == ["a@f32"]


@pytest.mark.parametrize("seed", range(25))
def test_a_cache_with_random_damage_is_set_aside_aloud(shelf: ModelStore, tmp_path: Path, seed: int) -> None:
    for number in range(12):
        write(tmp_path / "own" / f"m{number}.gguf", model(params=32 * (number + 1)))
    shelf.scan()
    shelf.remember_measured(*shelf.models()[:2], Measured(1.4, 1.3, 1.5, 10.0, 14.0, "2026-11-23"))
    path = shelf.cache.path
    assert path is not None
    raw, dice = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(184):
        raw[dice.randrange(len(raw))] = dice.randrange(256)
    path.write_bytes(raw)
    again = ModelStore(shelf.places, ShelfCache(path))
    assert len(again.scan()) == 12
    again.measured(*again.models()[:2])
    again.remember_measured(*again.models()[:2], Measured(1.4, 1.3, 1.5, 10.0, 14.0, "2026-11-23"))
    again.cache.imports()
    again.pair(*again.models()[:2])
    assert len(again.scan()) == 12
    if (path.parent / "shelf-damaged.sqlite").exists():
        assert any("was damaged and has been made anew" in str(problem) for problem in again.problems)


def test_a_set_aside_cache_keeps_what_it_held(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / "a.gguf", model())
    shelf.scan()
    path = shelf.cache.path
    assert path is not None
    path.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    again = ModelStore(shelf.places, ShelfCache(path))
    assert [found.name for found in again.scan()] == ["a@f32"]
    assert "shelf-damaged.sqlite" in str(again.problems[0])
    assert (path.parent / "shelf-damaged.sqlite").read_bytes().endswith(b"x" * 5000)
    assert ModelStore(shelf.places, ShelfCache(path)).problems == []


def test_a_full_disk_leaves_the_shelf_usable_and_is_said(shelf: ModelStore, tmp_path: Path) -> None:
    """In a process of its own: the limit on the size of files stands for the disk."""
    pytest.importorskip("resource")
    write(tmp_path / "own" / "a.gguf", model())
    code = f"""
import resource, signal
from pathlib import Path
from foredraft.models.cache import ShelfCache
from foredraft.models.places import Place
from foredraft.models.store import ModelStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
store = ModelStore([Place(Path({str(tmp_path / "own")!r}), "own")], ShelfCache(Path({str(tmp_path / "s.sqlite")!r})))
print([model.name for model in store.scan()], [model.name for model in store.scan()], *map(str, store.problems))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, timeout=60)
    assert ran.stdout.startswith("['a@f32'] ['a@f32']"), ran.stderr
    assert "nothing can be kept in it" in ran.stdout


def test_processes_that_share_a_home_and_start_at_once_all_find_everything(tmp_path: Path) -> None:
    for number in range(8):
        write(tmp_path / "own" / f"m{number}.gguf", model(params=32 * (number + 1)))
    environment = {**os.environ, "FOREDRAFT_MODELS__DIRECTORY": str(tmp_path / "own")}
    command = [sys.executable, "-m", "foredraft", "ls"]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", env=environment)
        for _ in range(3)
    ]
    for process in running:
        said, complaints = process.communicate(timeout=120)
        assert process.returncode == 0, complaints
        assert all(f"m{number}@f32" in said for number in range(8))
        assert "damaged" not in complaints


needs_unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="names and pipes of Unix")


@pytest.fixture
def odd_folder(tmp_path: Path) -> Path:
    """One model among things that are none."""
    folder = tmp_path / "own"
    write(folder / "good.gguf", model())
    (folder / os.fsdecode(b"bad\xff\xfename.gguf")).write_bytes(model(params=64))
    write(folder / os.fsdecode(b"f\x81older") / "inner.gguf", model(params=96))
    os.mkfifo(folder / "pipe.gguf")
    (folder / "zero.gguf").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path may have some hundred letters only
        made.bind("socket.gguf")
        os.chdir(here)
    return folder


@needs_unix
def test_odd_names_and_things_are_left_out_aloud(shelf: ModelStore, odd_folder: Path) -> None:
    assert names(shelf) == ["good@f32"]
    said = "\n".join(sorted(map(str, shelf.problems)))
    assert "bad��name.gguf: its name is not Unicode; rename it" in said
    assert "f�older: its name is not Unicode; rename it" in said
    assert "pipe.gguf: not a file, but a pipe" in said
    assert "socket.gguf: not a file, but a socket" in said
    assert "zero.gguf: not a file, but a device" in said
    assert said.isprintable() or "\n" in said


@needs_unix
@pytest.mark.parametrize("command", [["ls"], ["ls", "--json"], ["pair", "good"], ["show", "good"]])
def test_commands_go_on_beside_odd_things(odd_folder: Path, command: list[str]) -> None:
    """In a process of its own, which could hang."""
    ran = subprocess.run(
        [sys.executable, "-m", "foredraft", *command],
        capture_output=True,
        encoding="utf-8",
        timeout=100,
        check=False,
        env={**os.environ, "FOREDRAFT_MODELS__DIRECTORY": str(odd_folder)},
    )
    assert ran.returncode == 0, ran.stderr
    assert "good@f32" in ran.stdout or command[0] == "pair"
    if command == ["ls"]:
        assert "Skipped:" in ran.stderr
        assert "pipe.gguf" in ran.stderr


@needs_unix
@pytest.mark.parametrize("name", [b"pipe.gguf", b"zero.gguf", b"socket.gguf", b"bad\xff\xfename.gguf"])
def test_odd_things_that_are_named_are_refused_at_once(odd_folder: Path, name: bytes) -> None:
    """In a process of its own, which could hang."""
    code = """
import sys
from pathlib import Path
from foredraft import LLM
from foredraft.core.errors import ModelError
from foredraft.engines.llamacpp.failures import check_file
from foredraft.models.facts import read_facts
from foredraft.config.shelf import open_shelf
path = Path(sys.argv[1])
doors = [open_shelf().find, open_shelf().add, LLM.load]
if "name" not in path.name:
    doors += [read_facts, check_file]
for door in doors:
    try:
        door(path)
    except ModelError as error:
        assert str(error).encode()
    else:
        sys.exit(f"{door} took it")
"""
    command = [sys.executable, "-c", code, os.fsencode(odd_folder) + b"/" + name]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr


def test_without_a_place_for_the_cache_the_shelf_still_works(tmp_path: Path) -> None:
    write(tmp_path / "own" / "a.gguf", model())
    blocked = write(tmp_path / "file", b"")
    shelf = ModelStore([Place(tmp_path / "own", places.OWN)], ShelfCache(blocked / "shelf.sqlite"))
    assert names(shelf) == names(shelf) == ["a@f32"]


def test_measured_pairs_are_kept_for_copies_of_the_files_too(shelf: ModelStore, tmp_path: Path) -> None:
    write(tmp_path / "own" / "main.gguf", model(params=320))
    write(tmp_path / "own" / "draft.gguf", model(params=64))
    main, draft = shelf.find("main"), shelf.find("draft")
    assert shelf.measured(main, draft) is None
    value = Measured(1.4, 1.3, 1.5, 10.0, 14.0, "2026-11-23")
    shelf.remember_measured(main, draft, value)
    assert shelf.measured(main, draft) == value
    main.path.rename(tmp_path / "own" / "renamed.gguf")
    again = ModelStore(shelf.places, ShelfCache(shelf.cache.path))
    assert again.measured(again.find("renamed"), again.find("draft")) == value
    assert again.measured(again.find("draft"), again.find("renamed")) is None


def test_vocabularies_are_compared_once(shelf: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = [f"t{i}" for i in range(40)]
    write(tmp_path / "own" / "main.gguf", model(tokens=tokens, params=320))
    write(tmp_path / "own" / "draft.gguf", model(tokens=[*tokens[:9], "x", *tokens[10:]], params=64))
    verdict = shelf.pair(shelf.find("main"), shelf.find("draft"))
    assert verdict.code == "vocab_token"

    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(store_module, "token_difference", never)
    again = ModelStore(shelf.places, ShelfCache(shelf.cache.path))
    assert again.pair(again.find("main"), again.find("draft")) == verdict


def test_two_scans_at_once_do_not_disturb_each_other(shelf: ModelStore, tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / "own" / f"m{number:02}.gguf", model(params=32 * (number + 1)))
    stores = [ModelStore(shelf.places, ShelfCache(shelf.cache.path)) for _ in range(4)]
    seen: list[int] = []
    threads = [threading.Thread(target=lambda shelf=shelf: seen.append(len(shelf.scan()))) for shelf in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen == [20] * 4


# ---- changing ----


def test_removing_deletes_own_files_and_empty_folders_only(shelf: ModelStore, tmp_path: Path) -> None:
    path = write(tmp_path / "own" / "o" / "r" / "a.gguf", model())
    split(tmp_path / "own" / "o" / "s", 2)
    assert shelf.remove(shelf.find("a")) > 0
    assert not path.parent.exists()
    assert path.parent.parent.exists()
    shelf.remove(shelf.find("big"))
    assert list((tmp_path / "own").glob("*/*")) == []
    other = write(tmp_path / "more" / "b.gguf", model())
    with pytest.raises(ModelError, match="not Foredraft's own folder"):
        shelf.remove(shelf.find("b"))
    assert other.exists()


def test_importing_in_place_copying_and_moving(shelf: ModelStore, tmp_path: Path) -> None:
    lying = write(tmp_path / "elsewhere" / "lying.gguf", model())
    found = shelf.add(lying)
    assert (found.source, found.path) == ("imported", lying)
    assert [model.name for model in ModelStore(shelf.places, ShelfCache(shelf.cache.path)).models()] == ["lying@f32"]
    assert shelf.remove(shelf.find("lying")) == 0
    assert lying.exists()
    assert names(shelf) == []

    copied = shelf.add(lying, "copy")
    assert copied.source == "own"
    assert lying.exists()
    with pytest.raises(ModelError, match="there already"):
        shelf.add(lying, "copy")
    moved = shelf.add(split(tmp_path / "elsewhere", 2), "move")
    assert moved.facts.missing is None
    assert not list((tmp_path / "elsewhere").glob("big*"))
    with pytest.raises(ModelError):
        shelf.add(write(tmp_path / "elsewhere" / "no.gguf", b"no"), "copy")
    with pytest.raises(ModelError, match="File 2 of 2"):
        shelf.add(split(tmp_path / "parts", 2, missing=2), "copy")


def test_an_imported_file_that_went_is_a_problem_not_an_error(shelf: ModelStore, tmp_path: Path) -> None:
    lying = write(tmp_path / "elsewhere" / "lying.gguf", model())
    shelf.add(lying)
    lying.unlink()
    assert names(shelf) == []
    assert "lying.gguf" in str(shelf.problems[0])


def test_a_full_disk_leaves_no_half_copy(shelf: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space"):
        shelf.add(write(tmp_path / "elsewhere" / "a.gguf", model()), "copy")
    assert not list((tmp_path / "own").rglob("*.partial"))
    assert not list((tmp_path / "own").rglob("*.gguf"))


def test_changes_of_the_own_folder_take_turns(shelf: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    import filelock

    def timeout(*_: object, **__: object) -> None:
        raise filelock.Timeout("lock")

    monkeypatch.setattr(filelock.FileLock, "acquire", timeout)
    with pytest.raises(ForedraftError, match="Another Foredraft"), shelf.locked():
        pass
