"""Guesses that bring nothing, fail, or come from nowhere: the answer is finished, unchanged, and the reason is said."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.json_cache import FORMAT
from foredraft.core.params import SpeculationParams
from foredraft.engines.toy import ToyEngine
from foredraft.engines.toy.engine import ToyClock
from foredraft.pair.llm import LLM
from foredraft.pair.speculation import tune
from foredraft.requests.tokenizing import PromptTooLongError
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Adaptive
from foredraft.speculative.controllers.adaptive.measure import measure
from foredraft.speculative.drafters import Arbiter, ModelDrafter, PredictionDrafter, SuffixDrafter

STEP = 0.01
"""Seconds of a plain step of the toy main model."""
N = 300
PLAIN = SpeculationParams(enabled=False)


def row_cost(n: int) -> float:
    """A pass of n tokens: two rows cost a fifth more, as on a processor that waits for its memory."""
    return STEP * (1.0 + 0.2 * (n - 1))


def pair(draft_step: float = 0.1 * STEP, blur: float = 0.05) -> tuple[LLM, ToyEngine, ToyClock]:
    """A pair as it is loaded, on a clock that passes only in its models: the controller that measures, all sources."""
    clock = ToyClock()
    main = ToyEngine.random(seed=3, n_vocab=320, sharpness=3.0, n_ctx=1024, cost=row_cost, clock=clock)
    draft = main.blurred(blur, seed=4, cost=lambda n: draft_step * (0.9 + 0.1 * n))
    controller = Adaptive(measure(main, draft, clock=clock))
    model = ModelDrafter(draft, main.info.n_vocab, clock=clock)
    drafter = Arbiter([PredictionDrafter(clock=clock), SuffixDrafter(clock=clock), model], on_park=controller.park)
    llm = LLM(main, drafter, controller)
    llm.scheduler = Scheduler(main, drafter, controller, clock=clock)
    return llm, draft, clock


def answer(llm: LLM, **more: object) -> tuple[list[int], float, tuple[str, str]]:
    """Tokens, seconds on the toy clock, and what the draft is said to do while the answer ends."""
    clock = llm.engine.clock  # type: ignore[attr-defined]
    began = clock()
    made = llm.generate("ab", seed=1, max_tokens=N, ignore_eos=True, **more)
    return made.tokens, clock() - began, (made.speculation.status, str(made.speculation.reason or ""))


def test_a_draft_slower_than_the_main_model_is_left_alone_with_its_reason() -> None:
    llm, _, _ = pair(draft_step=1.5 * STEP, blur=0.0)
    with llm:
        plain, plain_s, _ = answer(llm, speculation=PLAIN)
        tokens, seconds, (status, reason) = answer(llm, speculation=SpeculationParams(method="model"))
    assert tokens == plain
    assert seconds <= 1.01 * plain_s + 20 * STEP
    assert status == "paused"
    assert "plain step" in reason


def test_a_draft_that_is_always_wrong_loses_no_more_than_promised() -> None:
    llm, _, _ = pair(blur=1.0)
    with llm:
        plain, plain_s, _ = answer(llm, speculation=PLAIN)
        tokens, seconds, (status, reason) = answer(llm, speculation=SpeculationParams(method="model"))
    assert tokens == plain
    assert seconds <= 1.01 * plain_s + 20 * STEP
    assert status == "paused"
    assert "%" in reason


@pytest.mark.parametrize("after", [1, 7, 60])  # the first pass only reads the prompt
@pytest.mark.parametrize("failure", ["nan", "error"])
def test_a_draft_that_emits_nan_is_parked_with_its_reason_and_the_answer_finished(failure: str, after: int) -> None:
    llm, draft, _ = pair()
    with llm:
        plain, _, _ = answer(llm, speculation=PLAIN)
        draft.fail(failure, after=after)
        tokens, _, (status, reason) = answer(llm)
        again, _, still = answer(llm)
    assert tokens == again == plain
    assert status == "unavailable"
    assert "draft" in reason
    assert failure != "nan" or "NaN" in reason
    assert still == (status, reason)


@pytest.mark.parametrize("jump", [-3600.0, -1e-3, 3600.0, 1e9])
def test_a_clock_that_jumps_in_the_middle_of_an_answer_changes_nothing_that_matters(jump: float) -> None:
    llm, _, clock = pair()
    with llm:
        plain, plain_s, _ = answer(llm, speculation=PLAIN)
        passes = 0

        def during() -> None:
            nonlocal passes
            passes += 1
            if passes == 20:
                clock.advance(jump)

        llm.engine.during = during  # type: ignore[attr-defined]
        made = llm.generate("ab", seed=1, max_tokens=N, ignore_eos=True)
        llm.engine.during = None  # type: ignore[attr-defined]
        assert made.tokens == plain
        json.dumps(made.stats.as_dict(), allow_nan=False)  # every figure is a number
        assert made.stats.saved_s is None or abs(made.stats.saved_s) < plain_s
        tokens, seconds, (status, _) = answer(llm)
    assert tokens == plain
    assert status == "active"
    assert seconds < 0.9 * plain_s  # the draft is still worth having, and still known to be


@pytest.mark.parametrize(
    "prediction",
    ["まったく別の言葉で書かれた文です。" * 20, "\x00\x01\ufffd", "a" * 4_096, "ab cd " * 680],
    ids=["other language", "odd characters", "a full context", "a full context of words"],
)
def test_any_prediction_leaves_the_text_and_costs_no_more_than_promised(prediction: str) -> None:
    llm, _, _ = pair()
    with llm:
        plain, plain_s, _ = answer(llm, speculation=PLAIN)
        only = SpeculationParams(method="prediction")
        tokens, seconds, _ = answer(llm, prediction=prediction, speculation=only)
        with_all, _, _ = answer(llm, prediction=prediction)
    assert tokens == with_all == plain
    assert seconds <= 1.01 * plain_s + 20 * STEP


@pytest.mark.parametrize("size", [385, 100_000, 5_000_000])
def test_a_prediction_that_cannot_fit_is_refused_by_its_name_and_with_both_numbers(tiny_llama: Path, size: int) -> None:
    with LLM.load(tiny_llama, "off", settings=LoadSettings(threads=1, context=64)) as llm:
        with pytest.raises(PromptTooLongError, match=rf"The prediction has {size:,} bytes.* at most 384") as refused:
            llm.generate("ab", max_tokens=3, prediction="x" * size)
        assert refused.value.param == "prediction"
        assert llm.generate("ab", seed=1, max_tokens=3, prediction="y" * 384).tokens


@pytest.mark.parametrize(
    "make",
    [
        lambda: SpeculationParams(max_draft=17),
        lambda: SpeculationParams(max_draft=-1),
        lambda: SpeculationParams(min_draft=17),
        lambda: SpeculationParams(min_draft=-1),
        lambda: SpeculationParams(max_draft=2.5),  # type: ignore[arg-type]
        lambda: SpeculationParams(p_min=1.5),
        lambda: SpeculationParams(p_min=math.nan),
    ],
)
def test_limits_out_of_range_are_refused_with_their_range(make: Callable[[], object]) -> None:
    with pytest.raises(ParameterError, match=r"must be a (whole )?number from 0 to (16|1)\."):
        make()


@pytest.mark.parametrize("gamma", [-1, 17])
def test_a_fixed_look_ahead_out_of_range_is_refused_at_the_load(tiny_llama: Path, gamma: int) -> None:
    with pytest.raises(ForedraftError, match="from 0 to 16"):
        LLM.load(tiny_llama, tiny_llama, settings=LoadSettings(controller="fixed", fixed_look_ahead=gamma, threads=1))


# ---- what was learned, on a disk that is not as it should be ----


def test_a_load_says_that_its_memory_was_damaged_or_foreign_and_rebuilds_it(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    tuning = tune(engine, None, folder=tmp_path, clock=engine.clock)
    llm = LLM(engine, tuning.drafter, tuning.controller)
    llm.scheduler = Scheduler(engine, tuning.drafter, tuning.controller, clock=engine.clock)
    llm.generate("ab", seed=1, max_tokens=30)
    tuning.save()
    files = {path.name.split("-")[0]: path for path in tmp_path.iterdir()}
    assert set(files) == {"costs", "calibration"}
    for kind, path in files.items():
        whole = path.read_text(encoding="utf-8")
        for damage in (
            "",
            "{",
            whole.replace(f'"format": {FORMAT}', '"format": 99'),
            whole.replace('"key": {', '"key": {"x": 1, '),
        ):
            path.write_text(damage, encoding="utf-8")
            again = tune(engine, None, folder=tmp_path, clock=engine.clock)
            assert [note for note in again.notes if kind in str(note.as_dict())], (kind, damage[:40])
            again.save()
            assert tune(engine, None, folder=tmp_path, clock=engine.clock).notes == []  # rebuilt


def test_a_load_says_that_what_it_learns_cannot_be_kept(tmp_path: Path) -> None:
    engine = ToyEngine.random(seed=1)
    file = tmp_path / "a file, not a folder"
    file.write_text("", encoding="utf-8")
    tuning = tune(engine, None, folder=file)
    (note,) = (str(note) for note in tuning.notes if "could not be stored" in str(note))
    assert "measured again at the next start" in note
    assert LLM(engine, tuning.drafter, tuning.controller).generate("ab", seed=1, max_tokens=30).tokens
