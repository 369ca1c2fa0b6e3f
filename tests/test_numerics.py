"""Which numerics a load uses: measured once, kept, chosen by what they cost, and never claimed where they are not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import ModelError, ParameterError
from foredraft.engines.base import GRAIN, Numerics
from foredraft.engines.llamacpp import LoadOptions, exactness
from foredraft.engines.llamacpp.exactness import Costs
from foredraft.engines.probe import ALL_SIZES, SIZES
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.pair.numerics import load

FAST = Costs(1.0, 0.5, 0.25)


class Machine:
    """Engines that take so long, and round so, with these options. `opened` are the loads, `timed` the measurements."""

    def __init__(
        self,
        exact: Costs = FAST,
        *,
        rows: Callable[[LoadOptions], int | None] = lambda options: None,
        beside: float = 0.0,
        refused: str = "",
    ) -> None:
        self.exact, self.rows, self.beside, self.refused = exact, rows, beside, refused
        self.opened: list[LoadOptions] = []
        self.timed: list[LoadOptions] = []
        self.probed: list[LoadOptions] = []

    def open(self, options: LoadOptions) -> Any:
        self.opened.append(options)
        return Adjustable(self, options)

    def costs(self, engine: Any, exact_rows: int | None) -> Costs:
        self.timed.append(engine.options)
        if not engine.options.ordered:
            return FAST
        if exact_rows is None:
            return self.exact
        return dataclasses.replace(self.exact, best_s=self.exact.step_s / exact_rows)


class Adjustable(ToyEngine):
    """A toy with the options of a llama.cpp engine."""

    on_gpu = False

    def __init__(self, machine: Machine, options: LoadOptions) -> None:
        template = ToyEngine.random(0, n_slots=2, n_ctx=256)
        super().__init__(template._law, template.tokenizer, order=2, n_slots=2, n_ctx=256)
        self.machine, self.options = machine, options
        self.keeps_order = options.ordered

    def reopen(self, options: LoadOptions) -> None:
        assert options.repack == self.options.repack, "other weights want another load"
        if self.machine.refused and getattr(options, self.machine.refused):
            raise ModelError("this model's attention does not take these types")
        self.options, self.keeps_order = options, options.ordered

    def probe(self, known: Numerics | None = None, *, exact: bool = False, whole: bool = False) -> Numerics:
        sizes = ALL_SIZES if exact else SIZES
        self.machine.probed.append(self.options)
        if not self.options.ordered:
            by_batch, large = dict.fromkeys(sizes, 0.5), 0.5
        else:
            rows = self.machine.rows(self.options)
            by_batch = {size: 0.0 if rows is None or size <= rows else 0.5 for size in sizes}
            large = 0.0 if rows is None else 0.5
        self.numerics = Numerics(by_batch, 3, 100, 600, large=large, beside=self.machine.beside, grain=GRAIN)
        return self.numerics


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    real = exactness.measure_costs

    def costs(engine: Any, rows: int | None, grain: int = GRAIN) -> Costs:
        return engine.machine.costs(engine, rows) if isinstance(engine, Adjustable) else real(engine, rows, grain)

    monkeypatch.setattr(exactness, "measure_costs", costs)


def loaded(machine: Machine, asked: str, folder: Path | None = None, notes: list[str] | None = None) -> Any:
    return load(machine.open, LoadOptions(n_slots=4, n_ctx=256), asked, folder, [] if notes is None else notes)


def mode(engine: Any) -> str:
    assert engine.numerics is not None
    return str(engine.numerics.mode)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        (Costs(1.0, 0.5, 0.25), "exact"),
        (Costs(1.03, 0.515, 0.2575), "exact"),
        (Costs(0.4, 0.3, 0.1), "exact"),
        (Costs(1.05, 0.5, 0.25), "fast"),  # writes slower
        (Costs(0.4, 0.55, 0.1), "fast"),  # writes faster, but reads slower
        (Costs(1.0, 0.5, 0.30), "fast"),  # guessing pays less
    ],
)
def test_auto_takes_exact_where_it_costs_next_to_nothing(costs: Costs, expected: str) -> None:
    engine = loaded(Machine(costs), "auto")
    assert mode(engine) == expected
    assert engine.numerics.batches_exact == (expected == "exact")
    assert engine.options.n_slots == 4, "the trial's options are left behind"
    assert engine.options.ordered == (expected == "exact")
    other = engine.numerics.other
    assert other is not None
    assert other.mode == ("fast" if expected == "exact" else "exact")
    ratio = costs.step_s / FAST.step_s
    assert other.writing == pytest.approx(ratio if expected == "exact" else 1.0 / ratio, abs=1e-3)


def test_what_is_asked_for_is_used_whatever_it_costs() -> None:
    assert mode(loaded(Machine(Costs(9.0, 9.0, 9.0)), "exact")) == "exact"
    assert mode(loaded(Machine(), "fast")) == "fast"
    with pytest.raises(ParameterError, match="numerics"):
        LoadSettings(numerics="precise")
    with pytest.raises(ParameterError, match="probe"):
        LoadSettings(numerics="exact", probe=False)


def test_passes_are_limited_where_large_ones_round() -> None:
    engine = loaded(Machine(rows=lambda options: 7), "exact")
    assert engine.exact_rows == engine.numerics.exact_rows == 7
    assert engine.numerics.batches_exact
    assert engine.numerics.batch == 7


def test_the_layout_of_the_weights_that_allows_more_is_taken() -> None:
    machine = Machine(rows=lambda options: 3 if options.repack else 7)
    engine = loaded(machine, "exact")
    assert (engine.options.repack, engine.exact_rows) == (False, 7)
    assert [options.repack for options in machine.opened] == [True, False]
    other = Machine(rows=lambda options: 7 if options.repack else 3)
    assert loaded(other, "exact").options.repack
    assert loaded(Machine(rows=lambda options: 3), "auto").options.repack, "so few guesses are no bargain"
    for cheap in (Costs(0.2, 0.1, 0.2), FAST):
        assert mode(loaded(Machine(cheap, rows=lambda options: 1), "auto")) == "fast", "nothing could be guessed"


def test_a_way_to_attend_that_the_model_refuses_is_left_out() -> None:
    engine = loaded(Machine(refused="value_type"), "exact")
    assert (engine.options.key_type, engine.options.value_type) == ("bf16", None)


@pytest.mark.parametrize("asked", ["auto", "exact"])
def test_nothing_is_claimed_where_other_answers_change_single_steps(asked: str) -> None:
    notes: list[str] = []
    engine = loaded(Machine(beside=0.2), asked, notes=notes)
    assert mode(engine) == "fast"
    assert engine.exact_rows is None
    assert not engine.numerics.batches_exact
    assert any("nothing is exact here" in str(note) for note in notes) == (asked == "exact")


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    machine = Machine(Costs(2.0, 1.0, 0.5))
    first = loaded(machine, "auto", tmp_path)
    timed, probed = len(machine.timed), len(machine.probed)
    again = loaded(machine, "auto", tmp_path)
    assert again.numerics == first.numerics
    assert (len(machine.timed), len(machine.probed)) == (timed, probed)
    loaded(machine, "exact", tmp_path)  # only the probe of the other mode is added
    assert (len(machine.timed), len(machine.probed)) == (timed, probed + 1)
    loaded(machine, "exact", tmp_path)
    assert len(machine.probed) == probed + 1


@pytest.mark.parametrize("damage", ["{ not json", '"text"', "costs", "ways", "found"])
def test_what_is_damaged_is_measured_anew_and_said(tmp_path: Path, damage: str) -> None:
    machine = Machine(rows=lambda options: 7)
    found = loaded(machine, "exact", tmp_path).numerics
    (file,) = tmp_path.iterdir()
    if damage in ("costs", "ways", "found"):
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["content"][damage] = {"exact": -1, "value_type": "f17"}
        file.write_text(json.dumps(stored), encoding="utf-8")
    else:
        file.write_text(damage, encoding="utf-8")
    notes: list[str] = []
    assert loaded(machine, "exact", tmp_path, notes).numerics == found
    assert any("anew" in str(note) or "again" in str(note) for note in notes)


def test_a_model_that_would_take_minutes_to_measure_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foredraft.pair.numerics._step_seconds", lambda engine: 3.0)
    machine, notes = Machine(), list[str]()
    assert mode(loaded(machine, "auto", notes=notes)) == "fast"
    assert not machine.timed
    assert "30 minutes" in str(notes[0])
    assert mode(loaded(machine, "exact")) == "exact"


def test_a_load_remembers_unless_told_not_to(tiny_llama: Path, user_folders: Path) -> None:
    shutil.rmtree(user_folders / "foredraft" / "cache" / "numerics")
    for remember, files in ((False, 0), (True, 1), (True, 1)):
        with LLM.load(tiny_llama, None, settings=LoadSettings(remember=remember)) as llm:
            assert llm.numerics is not None
            assert llm.numerics.by_batch
            assert not [note for note in llm.notes if "numerics" in str(note)]
        assert len(list(user_folders.rglob("numerics-*.json"))) == files
