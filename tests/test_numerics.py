"""What the probe found is kept between starts, under everything it depends on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foredraft.engines.base import Numerics
from foredraft.engines.probe import SIZES
from foredraft.engines.toy import ToyClock, ToyEngine
from foredraft.llm import LLM, LoadSettings
from foredraft.numerics import measure

KERNELS: dict[str, str | int | None] = {"threads": 2, "kv_type": "f16"}


def engine(**options: object) -> ToyEngine:
    return ToyEngine.random(0, rounding=0.01, n_slots=2, **options)  # type: ignore[arg-type]


def test_it_is_measured_once(tmp_path: Path) -> None:
    first = engine()
    found = measure(first, KERNELS, tmp_path, [])
    again = engine()
    passes = len(again.passes)
    notes: list[str] = []
    assert measure(again, KERNELS, tmp_path, notes) == found
    assert len(again.passes) == passes
    assert again.numerics == found
    assert not notes
    other = engine()
    measure(other, {**KERNELS, "threads": 1}, tmp_path, notes)
    assert len(other.passes) > passes, "other kernels were taken for the same"
    assert not notes


def test_a_slow_model_goes_on_at_the_next_start(tmp_path: Path) -> None:
    def slow() -> ToyEngine:
        return engine(cost=lambda n: 0.2 * (0.7 + 0.3 * n), clock=ToyClock())

    steps: list[Numerics] = [measure(slow(), KERNELS, tmp_path, []) for _ in range(4)]
    sizes = [len(found.by_batch) for found in steps]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] == len(SIZES)
    assert steps[0].beside is None
    assert steps[-1].beside is not None


@pytest.mark.parametrize("damage", ["{ not json", '"text"', "by_batch", "beside"])
def test_what_is_damaged_is_measured_anew_and_said(tmp_path: Path, damage: str) -> None:
    found = measure(engine(), KERNELS, tmp_path, [])
    (file,) = tmp_path.iterdir()
    if damage in ("by_batch", "beside"):
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["content"][damage] = -1
        file.write_text(json.dumps(stored), encoding="utf-8")
    else:
        file.write_text(damage, encoding="utf-8")
    notes: list[str] = []
    assert measure(engine(), KERNELS, tmp_path, notes) == found
    assert any("anew" in note for note in notes)


def test_a_load_remembers_unless_told_not_to(tiny_llama: Path, user_folders: Path) -> None:
    for remember, files in ((False, 0), (True, 1), (True, 1)):
        with LLM.load(tiny_llama, None, settings=LoadSettings(remember=remember)) as llm:
            assert llm.numerics is not None
            assert llm.numerics.by_batch
            assert not [note for note in llm.notes if "numerics" in note]
        assert len(list(user_folders.rglob("numerics-*.json"))) == files
