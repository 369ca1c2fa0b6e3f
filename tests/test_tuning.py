"""What is learned about a pair, and what is kept of it between starts."""

from __future__ import annotations

from pathlib import Path

from foredraft.core.params import SpeculationParams
from foredraft.engines.toy import ToyEngine
from foredraft.llm import LLM
from foredraft.tuning import Tuning, adaptive


def answer(tuning: Tuning, engine: ToyEngine, *, remember: bool = True) -> list[int]:
    """One answer by a pair, after which what was learned is kept."""
    llm = LLM(engine, tuning.drafter, tuning.controller)
    llm.scheduler.on_finish = tuning.remember
    speculation = SpeculationParams(remember=remember)
    tokens = llm.generate("ab", seed=1, max_tokens=60, ignore_eos=True, speculation=speculation).tokens
    tuning.save()
    return tokens


def test_costs_are_measured_once_and_found_again(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1, cost=lambda n: 0.01 * n)
    answer(adaptive(engine, None, folder=tmp_path), engine)
    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept
    passes = len(engine.passes)
    again = adaptive(engine, None, folder=tmp_path)
    assert len(engine.passes) == passes, "the costs were measured again"
    assert not again.notes
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_a_draft_on_another_device_has_costs_of_its_own(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1, cost=lambda n: 0.01 * n)
    answer(adaptive(engine, None, folder=tmp_path, draft_device="gpu0"), engine)
    passes = len(engine.passes)
    adaptive(engine, None, folder=tmp_path, draft_device="gpu0")
    assert len(engine.passes) == passes
    adaptive(engine, None, folder=tmp_path, draft_device="cpu")
    assert len(engine.passes) > passes


def test_damaged_memory_is_rebuilt_and_said(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    answer(adaptive(engine, None, folder=tmp_path), engine)
    for path in tmp_path.iterdir():
        path.write_text("{ not json", encoding="utf-8")
    assert any("anew" in note for note in adaptive(engine, None, folder=tmp_path).notes)


def test_nothing_is_kept_where_nothing_may_be(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    file = tmp_path / "a file, not a folder"
    file.write_text("", encoding="utf-8")
    tuning = adaptive(engine, None, folder=file)
    assert answer(tuning, engine)
    assert file.read_text(encoding="utf-8") == ""
    assert answer(adaptive(engine, None), engine)


def test_answers_are_kept_only_when_asked_and_only_for_the_same_vocabulary(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    answer(adaptive(engine, None), engine)
    assert not list(tmp_path.iterdir())
    said = answer(adaptive(engine, None, past_folder=tmp_path), engine)
    (file,) = tmp_path.iterdir()
    assert " ".join(map(str, said)) in file.read_text(encoding="utf-8")
    again = adaptive(engine, None, past_folder=tmp_path)
    assert again.past is not None
    assert len(again.past) == 1
    answer(again, engine, remember=False)
    assert len(adaptive(engine, None, past_folder=tmp_path).past or ()) == 1, "this one was to be left out"
    other = adaptive(ToyEngine.random(seed=1, n_vocab=30), None, past_folder=tmp_path)
    assert other.past is not None
    assert len(other.past) == 0
