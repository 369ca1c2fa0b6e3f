"""What a pair should gain, the catalogue, and the draft that is taken without being asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foredraft.models import places
from foredraft.models.cache import Measured, ShelfCache
from foredraft.models.facts import Weights
from foredraft.models.places import Place
from foredraft.models.recommend import (
    catalogue,
    catalogue_entry,
    choose_draft,
    expected_gain,
    first_run_hint,
    gain,
    missing_draft,
    recommended_drafts,
    suiting,
)
from foredraft.models.store import ModelFile, ModelStore
from foredraft.words import languages
from foredraft.words import words as words_of
from tests.models.gguf_bytes import model, write


class Shelf(ModelStore):
    """A store whose models claim to be as large as a test wants them."""

    def add_model(self, name: str, params: float, **options: Any) -> ModelFile:
        self._sizes = getattr(self, "_sizes", {})
        self._sizes[f"{name}@q8_0"] = int(params)
        write(self.own / f"{name}.gguf", model(params=32 * (len(self._sizes) + 1), kind="Q8_0", **options))
        self.scan()
        return self.find(name)

    def scan(self) -> list[ModelFile]:
        found = []
        for file in super().scan():
            params = getattr(self, "_sizes", {}).get(file.name)
            if params and file.facts:
                facts = replace(file.facts, n_params=params, n_active=params, weights=Weights(params))
                file = replace(file, facts=facts, size_bytes=params)
            found.append(file)
        self._models = found
        return found


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf([Place(tmp_path / "own", places.OWN)], ShelfCache(None))


# ---- the formula ----


def test_no_guess_is_always_possible() -> None:
    slow = expected_gain(0.1, 0.9, lambda tokens: tokens)
    assert (slow.speedup, slow.look_ahead) == (1.0, 0)


def test_free_and_certain_guesses_reach_the_bound() -> None:
    best = expected_gain(1.0, 0.0, lambda tokens: 1 + 0.1 * (tokens - 1))
    assert best.look_ahead == 16
    assert best.speedup == pytest.approx(17 / 2.6)


def test_the_formula_on_paper() -> None:
    """α = .8, c = .05, a pass that costs the same for every length: γ = 7 by Leviathan et al.'s formula."""
    best = expected_gain(0.8, 0.05, lambda _: 1.0)
    by_hand = {g: (1 - 0.8 ** (g + 1)) / 0.2 / (1 + 0.05 * g) for g in range(1, 17)}
    assert best.look_ahead == max(by_hand, key=by_hand.get)  # type: ignore[arg-type]
    assert best.speedup == pytest.approx(max(by_hand.values()))


def test_more_acceptance_and_cheaper_guesses_gain_more() -> None:
    def flat(tokens: int) -> float:
        return 1 + 0.2 * (tokens - 1)

    gains = [expected_gain(acceptance, 0.1, flat).speedup for acceptance in (0.3, 0.6, 0.9)]
    assert gains == sorted(gains)
    assert expected_gain(0.7, 0.05, flat).speedup > expected_gain(0.7, 0.3, flat).speedup


# ---- the catalogue ----


def test_the_catalogue_is_sound() -> None:
    names = [entry.name for entry in catalogue()]
    assert len(set(names)) == len(names)
    for entry in catalogue():
        assert entry.repository.count("/") == 1
        assert catalogue_entry(entry.name) == entry
        assert catalogue_entry(entry.repository.split("/")[1].removesuffix("-GGUF")) == entry
        for draft in recommended_drafts(entry):
            assert draft.params < entry.params / 3
        assert entry.acceptance is None or (0 < entry.acceptance < 1 and entry.source)


@pytest.mark.parametrize(
    ("main", "draft"),
    [
        ("Meta Llama 3.1 8B Instruct", "llama-3.2-1b-instruct"),
        ("qwen2.5-14b-instruct@q4_k_m", "qwen2.5-0.5b-instruct"),
        ("DeepSeek R1 Distill Qwen 32B", "deepseek-r1-distill-qwen-1.5b"),
        ("Qwen2.5-Coder-32B-Instruct", "qwen2.5-coder-0.5b-instruct"),
        ("gemma-4-31B-it", "gemma-4-e2b-it"),
    ],
)
def test_the_pairs_that_the_guides_name(main: str, draft: str) -> None:
    entry = catalogue_entry(main)
    assert entry is not None
    assert recommended_drafts(entry)[0].name == draft


@pytest.mark.parametrize(
    "name",
    [
        "Qwen3.6-27B@q4_k_m",
        "Qwen3.5-35B-A3B",
        "Qwen3-Next-80B-A3B-Instruct",
        "gpt-oss-20b@mxfp4",
        "Ministral-3-3B-Instruct-2512",
        "Mistral-Small-3.1-24B-Instruct-2503",
        "GLM-4.7-Flash",
        "granite-4.0-h-small",
        "LFM2-1.2B",
        "NVIDIA-Nemotron-3.5-Lightning-30B-A3B",
        "Llama-3.2-3B-Instruct",
        "DeepSeek-R1-Distill-Qwen-7B",
    ],
)
def test_the_families_of_2026_are_in_it(name: str) -> None:
    assert catalogue_entry(name) is not None


def test_unknown_models_are_not_in_it() -> None:
    assert catalogue_entry("mistral-7b") is None


# ---- choosing ----


def test_the_draft_with_the_most_gain_is_taken(shelf: Shelf) -> None:
    main = shelf.add_model("main-14b", 14e9)
    shelf.add_model("small", 0.5e9)
    shelf.add_model("middle", 3e9)
    shelf.add_model("unrelated", 0.5e9, tokenizer="llama")
    choice = choose_draft(main, shelf)
    assert choice.draft is not None
    assert choice.draft.name == "small@q8_0"
    assert choice.gain is not None
    assert choice.gain.speedup > 1.1
    assert "small@q8_0: Same tokenizer" in str(choice.why)
    assert "推定" in words_of("ja")(choice.why)


def test_what_was_measured_counts_more_than_what_is_expected(shelf: Shelf) -> None:
    main = shelf.add_model("main-14b", 14e9)
    small, middle = shelf.add_model("small", 0.5e9), shelf.add_model("middle", 3e9)
    shelf.remember_measured(main, middle, Measured(2.1, 2.0, 2.2, 10, 21, "2026-11-23"))
    shelf.remember_measured(main, small, Measured(0.9, 0.8, 1.0, 10, 9, "2026-11-23"))
    choice = choose_draft(main, shelf)
    assert choice.draft is not None
    assert choice.draft.name == "middle@q8_0"
    assert "measured 2.10×" in str(choice.why)
    shelf.remember_measured(main, middle, Measured(0.95, 0.9, 1.0, 10, 9, "2026-11-23"))
    none = choose_draft(main, shelf)
    assert none.draft is None
    assert str(none.why) == "No draft: middle@q8_0 was measured at 0.95× here."


def test_a_draft_that_does_not_fit_in_memory_is_not_taken(shelf: Shelf) -> None:
    main = shelf.add_model("main-14b", 14e9)
    shelf.add_model("small", 0.5e9)
    assert choose_draft(main, shelf, memory=lambda *_: (2, 1)).draft is None
    assert choose_draft(main, shelf, memory=lambda *_: (1, 1)).draft is not None


@pytest.mark.parametrize(
    ("main", "other", "words"),
    [
        ({"name": "lonely", "params": 14e9}, None, "there is no other model"),
        ({"name": "a", "params": 14e9}, {"name": "b", "params": 1e9, "tokenizer": "llama"}, "other model does not fit"),
        ({"name": "tiny", "params": 1e9}, {"name": "b", "params": 0.4e9}, "under about 3 B rarely gain"),
        ({"name": "qwen2.5-14b-instruct", "params": 14e9}, None, "foredraft get qwen2.5-0.5b-instruct"),
    ],
)  # fmt: skip
def test_why_none(shelf: Shelf, main: dict[str, Any], other: dict[str, Any] | None, words: str) -> None:
    found = shelf.add_model(**main)
    if other is not None:
        shelf.add_model(**other)
    choice = choose_draft(shelf.find(found.name), shelf)
    assert choice.draft is None
    assert words in str(choice.why)
    assert words_of("ja")(choice.why).startswith("ドラフトなし")


def test_the_embedded_pair_belongs_together(tmp_path: Path) -> None:
    write(tmp_path / "demo" / "main.gguf", model(params=640))
    write(tmp_path / "demo" / "draft.gguf", model(params=64))
    shelf = ModelStore([Place(tmp_path / "demo", places.EMBEDDED)])
    choice = choose_draft(shelf.find("foredraft-demo"), shelf)
    assert choice.draft is not None
    assert choice.draft.name == "foredraft-demo-draft"


def test_a_gain_needs_weights(shelf: Shelf, tmp_path: Path) -> None:
    write(shelf.own / "vocabulary.gguf", model(weights=False))
    shelf.scan()
    found = shelf.find("vocabulary")
    assert gain(found, found) is None
    assert missing_draft(found) is None


# ---- the first run ----


@pytest.mark.parametrize(
    ("free", "name"),
    [
        (2, "qwen2.5-7b-instruct"),
        (8, "qwen3-8b"),
        (12, "qwen2.5-coder-14b-instruct"),
        (64, "llama-3.3-70b-instruct"),
    ],
)
def test_three_lines_that_suit_the_memory(free: int, name: str) -> None:
    entry = suiting(free * 10**9)
    assert entry.drafts
    for language in languages():
        lines = [words_of(language)(line) for line in first_run_hint(free * 10**9)]
        assert len(lines) == 3
        assert f"foredraft get {entry.name} --with-draft" in lines[2]
    assert entry.params == catalogue_entry(name).params  # type: ignore[union-attr]


@pytest.mark.parametrize(("cores", "name"), [(2, "qwen2.5-7b-instruct"), (8, "qwen3-8b"), (32, "qwen3-32b")])
def test_a_processor_bounds_what_suits_by_its_cores(cores: int, name: str) -> None:
    """Memory for 70 B is no help where two cores would write a token every few seconds."""
    entry = suiting(64 * 10**9, cores=cores)
    assert entry.params == catalogue_entry(name).params  # type: ignore[union-attr]
    for language in languages():
        assert str(cores) in words_of(language)(first_run_hint(64 * 10**9, cores=cores)[1])
