"""What is learned about a pair, and what is kept of it between starts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from foredraft.core.params import SpeculationParams
from foredraft.core.reasons import Reason
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.pair.speculation import Tuning, tune, written_off
from foredraft.speculative.drafters import ModelDrafter


def answer(tuning: Tuning, engine: ToyEngine, *, remember: bool = True) -> list[int]:
    """One answer by a pair, after which what was learned is kept."""
    llm = LLM(engine, tuning.drafter, tuning.controller)
    llm.scheduler.on_finish = tuning.remember
    speculation = SpeculationParams(remember=remember)
    tokens = llm.generate("ab", seed=1, max_tokens=60, ignore_eos=True, speculation=speculation).tokens
    tuning.save()
    return tokens


LOOK = 2
"""Passes of one token by which a load sees that stored costs still hold."""


class Machine:
    """Two toy models on a clock that passes only in them, and how slow both, or the draft alone, are just now."""

    def __init__(self, draft_step: float = 0.1) -> None:
        self.slow = self.draft_slow = 1.0
        self.bad_steps = 0
        """Steps of the draft, from now on, that take ten times as long."""
        self.main = ToyEngine.random(
            seed=1, n_vocab=60, n_ctx=600, cost=lambda n: 0.01 * self.slow * (1.0 + 0.2 * (n - 1))
        )
        step = 0.01 * draft_step
        self.draft = self.main.blurred(0.05, cost=lambda n: step * self._draft_slow() * (0.9 + 0.1 * n))
        self.today = 1.8e9

    def _draft_slow(self) -> float:
        self.bad_steps -= 1
        return self.slow * self.draft_slow * (10.0 if self.bad_steps >= 0 else 1.0)

    def tuned(self, folder: Path, **more: object) -> tuple[Tuning, int, int]:
        """A load with the draft, and how many passes of main model and draft it took."""
        passes = len(self.main.passes), len(self.draft.passes)
        drafter = ModelDrafter(self.draft, 60, clock=self.main.clock)
        made = tune(
            self.main,
            drafter,
            folder=folder,
            clock=self.main.clock,
            now=lambda: self.today,
            **more,  # type: ignore[arg-type]
        )
        return made, len(self.main.passes) - passes[0], len(self.draft.passes) - passes[1]


def test_costs_are_measured_once_and_found_again(tmp_path: Path) -> None:
    machine = Machine()
    tuning, passes, steps = machine.tuned(tmp_path)
    assert min(passes, steps) > 10
    answer(tuning, machine.main)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept
    held = machine.main.read(0), machine.draft.read(0)
    again, *looks = machine.tuned(tmp_path)
    assert looks == [LOOK, LOOK], "the costs were measured again"
    assert (machine.main.read(0), machine.draft.read(0)) == held
    assert not again.notes
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_costs_of_a_machine_that_is_only_busier_still_hold(tmp_path: Path) -> None:
    machine = Machine()
    machine.tuned(tmp_path)
    machine.slow = 1.8
    assert machine.tuned(tmp_path)[1:] == (LOOK, LOOK)


@pytest.mark.parametrize(
    ("slow", "draft_slow", "said"),
    [
        (0.4, 1.0, "a plain step takes 4 ms now, and took 10"),
        (2.5, 1.0, "takes 25 ms"),
        (1.0, 0.5, "0.05 plain steps now"),
    ],
)
def test_costs_of_a_bad_moment_are_measured_anew_and_said(
    tmp_path: Path, slow: float, draft_slow: float, said: str
) -> None:
    """A first load beside a compiler, say: nothing in use would ever correct a draft that is not asked."""
    machine = Machine()
    machine.tuned(tmp_path)
    machine.slow, machine.draft_slow = slow, draft_slow
    tuning, passes, _ = machine.tuned(tmp_path)
    assert passes > 10
    assert any(said in str(note) and "measured again" in str(note) for note in tuning.notes)
    quiet, *looks = machine.tuned(tmp_path)
    assert (quiet.notes, looks) == ([], [LOOK, LOOK])


@pytest.mark.parametrize("days", [8, -1])
def test_old_costs_are_measured_anew(tmp_path: Path, days: int) -> None:
    machine = Machine()
    machine.tuned(tmp_path)
    machine.today += 6 * 86_400
    assert machine.tuned(tmp_path)[1] == LOOK
    machine.today += (days - 6) * 86_400  # of the first day; -1 is a clock that was wrong then
    tuning, passes, _ = machine.tuned(tmp_path)
    assert passes > 10
    assert any("days ago" in str(note) for note in tuning.notes)


def test_costs_without_a_date_are_measured_anew(tmp_path: Path) -> None:
    machine = Machine()
    machine.tuned(tmp_path)
    (file,) = tmp_path.glob("costs-*")
    stored = json.loads(file.read_text(encoding="utf-8"))
    del stored["content"]["measured_at"]
    file.write_text(json.dumps(stored), encoding="utf-8")
    assert machine.tuned(tmp_path)[1] > 10


def test_a_draft_on_another_device_has_costs_of_its_own(tmp_path: Path) -> None:
    machine = Machine()
    machine.tuned(tmp_path, conditions={"draft_device": "gpu0"})
    assert machine.tuned(tmp_path, conditions={"draft_device": "gpu0"})[1] == LOOK
    assert machine.tuned(tmp_path, conditions={"draft_device": "cpu"})[1] > 10


def test_a_draft_that_cannot_pay_is_left_out_unless_it_was_asked_for(tmp_path: Path) -> None:
    machine = Machine(draft_step=1.5)
    tuning, *_ = machine.tuned(tmp_path, keep_draft=False)
    assert str(tuning.hopeless) == "drafting and checking one token costs 184% of a plain step"
    assert "model" not in tuning.drafter.sources  # type: ignore[attr-defined]
    assert answer(tuning, machine.main) == answer(tune(machine.main, None), machine.main)
    kept, *_ = machine.tuned(tmp_path, keep_draft=True)
    assert kept.hopeless == tuning.hopeless
    assert "model" in kept.drafter.sources  # type: ignore[attr-defined]
    paying, *_ = Machine().tuned(tmp_path / "other", keep_draft=False)
    assert paying.hopeless is None


def test_one_bad_moment_sends_no_draft_away(tmp_path: Path) -> None:
    bad = Machine(draft_step=2.0)
    _, _, both = bad.tuned(tmp_path / "bad", keep_draft=False)
    machine = Machine(draft_step=0.2)
    machine.bad_steps = both // 2  # the whole of the first measurement
    tuning, _, steps = machine.tuned(tmp_path / "good", keep_draft=False)
    assert steps > both // 2
    assert tuning.hopeless is None


def test_a_draft_that_was_left_out_is_not_opened_again_before_something_changes(tmp_path: Path) -> None:
    machine = Machine(draft_step=1.5)
    file = tmp_path / "draft.gguf"
    file.write_bytes(b"x")
    machine.draft.info = replace(machine.draft.info, path=str(file))
    folder = tmp_path / "tuning"

    def again(conditions: dict[str, int] | None = None) -> Reason | None:
        clock = machine.main.clock
        return written_off(
            machine.main, file, folder, clock=clock, now=lambda: machine.today, conditions=conditions or {}
        )

    assert again() is None
    machine.tuned(folder, keep_draft=False)
    passes = len(machine.main.passes)
    assert str(again()).startswith("drafting and checking one token costs 184% of a plain step (measured 2027-01-1")
    assert len(machine.main.passes) == passes + LOOK
    assert again({"threads": 4}) is None, "with other threads nothing is known"
    machine.slow = 3.0
    assert again() is None, "the machine is another one now"
    machine.slow = 1.0
    machine.today += 8 * 86_400
    assert again() is None, "it is long ago"
    machine.today -= 8 * 86_400
    file.write_bytes(b"another draft")
    assert again() is None, "the file is another one"


def test_damaged_memory_is_rebuilt_and_said(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    answer(tune(engine, None, folder=tmp_path), engine)
    for path in tmp_path.iterdir():
        path.write_text("{ not json", encoding="utf-8")
    assert any("measured again" in str(note) for note in tune(engine, None, folder=tmp_path).notes)


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    file = tmp_path / "a file, not a folder"
    file.write_text("", encoding="utf-8")
    tuning = tune(engine, None, folder=file)
    assert answer(tuning, engine)
    assert file.read_text(encoding="utf-8") == ""
    assert answer(tune(engine, None), engine)


def test_answers_are_kept_only_when_asked_and_only_for_the_same_vocabulary(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    answer(tune(engine, None), engine)
    assert not list(tmp_path.iterdir())
    said = answer(tune(engine, None, past_folder=tmp_path), engine)
    (file,) = tmp_path.iterdir()
    assert " ".join(map(str, said)) in file.read_text(encoding="utf-8")
    again = tune(engine, None, past_folder=tmp_path)
    assert again.past is not None
    assert len(again.past) == 1
    answer(again, engine, remember=False)
    assert len(tune(engine, None, past_folder=tmp_path).past or ()) == 1, "this one was to be left out"
    other = tune(ToyEngine.random(seed=1, n_vocab=30), None, past_folder=tmp_path)
    assert other.past is not None
    assert len(other.past) == 0
