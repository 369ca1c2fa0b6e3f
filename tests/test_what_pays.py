"""What would help here: only what was measured on this machine has a figure, and the rest has the command for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from foredraft.core import json_cache
from foredraft.models.cache import Measured
from foredraft.models.places import Place
from foredraft.models.store import ModelStore
from foredraft.pair.speculation import costs_key, file_identity, library_version, machine
from foredraft.pair.what_pays import Way, sentence, verdict, ways
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.words import words as words_of
from tests.models.gguf_bytes import model, write

STEEP = {1: 0.1, 2: 0.17, 4: 0.25, 8: 0.42}
"""A coarse main model: bound 1.9."""
FLAT = {1: 0.25, 2: 0.27, 4: 0.3, 8: 0.4}
"""The same in F16: slower, bound 5."""


class Shelf:
    """A folder with a main model in two quantisations and three drafts, and what was measured of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tuning"
        self.models = folder / "models"
        for name, params, kind in (
            ("big-q8_0", 12800, "Q8_0"), ("big-f16", 12800, "F16"), ("middle-q8_0", 4000, "Q8_0"),
            ("small-q8_0", 1600, "Q8_0"), ("tiny-q8_0", 640, "Q8_0"),
        ):  # fmt: skip
            label = name.split("-")[0].title()
            write(self.models / f"{name}.gguf", model(params=params, kind=kind, extra={"general.name": label}))
        self.store = ModelStore([Place(self.models, "folder")])

    def measured(
        self,
        main: str,
        draft: str | None,
        passes: Mapping[int, float],
        step: float | None = None,
        *,
        at: float = 1.0,
        **key: str,
    ) -> None:
        costs = CostModel(passes, step)
        costs.measured_at = at
        files = {"main": main, "draft": draft}
        stored = {role: name and file_identity(self.models / f"{name}.gguf") for role, name in files.items()}
        where = {"machine": machine(), "library": library_version()}
        assert json_cache.write(self.folder, "costs", {**stored, **where, "at": at, **key}, costs.to_dict(), [])

    def ways(self, main: str = "big@q8_0", draft: str | None = "middle") -> dict[str, Way]:
        drafted = None if draft is None else self.store.find(draft)
        return {way.model or way.kind: way for way in ways(self.store.find(main), drafted, self.store, self.folder)}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_where_nothing_was_measured_there_are_commands_and_no_figures(shelf: Shelf) -> None:
    found = shelf.ways()
    assert {name: way.command for name, way in found.items()} == {
        "big@f16": "foredraft pair big@f16 middle@q8_0 --measure",
        "small@q8_0": "foredraft pair big@q8_0 small@q8_0 --measure",
        "tiny@q8_0": "foredraft pair big@q8_0 tiny@q8_0 --measure",
    }
    for way in found.values():
        assert way.at_most is None
        assert way.command in str(way.why)
        assert way.command in words_of("ja")(way.why)
        assert "×" not in str(way.why)


def test_what_was_measured_has_its_figures(shelf: Shelf) -> None:
    shelf.measured("big-q8_0", "middle-q8_0", STEEP, 0.15)
    shelf.measured("big-f16", None, FLAT)
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.02)
    shelf.measured("big-q8_0", "tiny-q8_0", STEEP, 0.3)
    found = shelf.ways()
    assert set(found) == {"big@f16", "small@q8_0", "found"}, "a draft that was measured not to pay is no way"
    assert not any(way.command for way in found.values())
    finer = str(found["big@f16"].why)
    assert "up to 5.0× its own speed" in finer
    assert "here 1.9×" in finer
    assert "here 10.0 tok/s without a draft" in finer
    assert "still slower" in finer  # with this draft: 1.25× of 4 tokens/s
    assert found["small@q8_0"].at_most == pytest.approx(8 / (4.2 + 7 * 0.2), rel=0.01)
    assert "up to 1.9×" in str(found["found"].why)
    assert "1.9 倍" in words_of("ja")(found["found"].why)


def test_with_a_cheap_draft_the_other_quantisation_is_faster_and_nothing_is_called_slower(shelf: Shelf) -> None:
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.02)
    shelf.measured("big-f16", None, FLAT)
    finer = shelf.ways(draft="small")["big@f16"]
    assert finer.at_most == pytest.approx(8 / (1.6 + 7 * 0.08), rel=0.01)
    assert "slower" not in str(finer.why)


@pytest.mark.parametrize("key", [{"machine": "another"}, {"library": "0.0"}])
def test_figures_of_another_machine_or_library_are_not_used(shelf: Shelf, key: dict[str, str]) -> None:
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.02, **key)
    assert shelf.ways()["small@q8_0"].at_most is None
    assert "found" not in shelf.ways()


def test_the_newest_figure_counts(shelf: Shelf) -> None:
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.02, at=1.0)
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.5, at=2.0)
    assert "small@q8_0" not in shelf.ways()


def test_a_file_that_was_replaced_is_not_measured(shelf: Shelf) -> None:
    shelf.measured("big-q8_0", "small-q8_0", STEEP, 0.02)
    write(shelf.models / "small-q8_0.gguf", model(params=1280, kind="Q8_0"))
    shelf.store.scan()
    assert shelf.ways()["small@q8_0"].at_most is None


def test_only_the_same_model_is_another_quantisation(shelf: Shelf) -> None:
    write(shelf.models / "other-f16.gguf", model(params=12800, kind="F16", extra={"general.name": "Other"}))
    write(
        shelf.models / "big-chat-f16.gguf",
        model(params=12800, kind="F16", extra={"general.name": "Big", "llama.block_count": 3}),
    )
    shelf.store.scan()
    assert [way.model for way in shelf.ways().values() if way.kind == "quantisation"] == ["big@f16"]


def test_measured_speed_ups_count_too(shelf: Shelf) -> None:
    find = shelf.store.find
    for name, speedup in (("small", 1.31), ("tiny", 0.8)):
        kept = Measured(speedup, speedup, speedup, 10.0, 10.0 * speedup, "2026-11-30")
        shelf.store.remember_measured(find("big@q8_0"), find(name), kept)
    found = shelf.ways()
    assert "1.31× measured" in str(found["small@q8_0"].why)
    assert "tiny@q8_0" not in found


def test_a_pair_that_pays_or_is_not_known_gets_no_advice(shelf: Shelf) -> None:
    main, draft = shelf.store.find("big@q8_0"), shelf.store.find("middle")
    assert verdict(main, draft, shelf.store, shelf.folder).ways == ()
    shelf.measured("big-q8_0", "middle-q8_0", STEEP, 0.005)
    assert verdict(main, draft, shelf.store, shelf.folder).ways == ()
    shelf.measured("big-q8_0", "middle-q8_0", STEEP, 0.15, at=2.0)
    told = verdict(main, draft, shelf.store, shelf.folder)
    assert told.hopeless == "middle@q8_0"
    assert told.ways
    said = sentence(told.ways)
    assert said is not None
    assert str(said).startswith("What would help here: ")
    assert words_of("ja")(said).startswith("効果が見込めるもの: ")
    assert sentence([]) is None


def test_a_key_is_the_one_that_a_load_writes(shelf: Shelf) -> None:
    """The names in the key that this page reads are those that `tuning` writes."""
    from foredraft.engines.toy import ToyEngine

    assert {"main", "draft", "machine", "library"} <= costs_key(ToyEngine.random(seed=1), None, {}).keys()
