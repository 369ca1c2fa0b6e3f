"""A bench run: every mode in turns, texts compared, stopped anywhere without losing what is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from foredraft.bench import runner
from foredraft.bench.categories import Prompt
from foredraft.bench.modes import Stage, parse, stage
from foredraft.bench.runner import Plan, Run
from foredraft.bench.trials import Counts
from foredraft.core.errors import ForedraftError
from foredraft.core.stats import GenerationStats
from foredraft.pair.llm import LLM
from tests.bench.toys import PROMPTS, pair

MODES = tuple(parse(name) for name in ("off", "fixed:2", "auto"))
PLAN = Plan(PROMPTS, MODES, repeats=2, max_tokens=24)


@pytest.fixture
def of() -> Iterator[Stage]:
    with pair() as llm, stage(llm) as made:
        yield made


def test_every_prompt_is_answered_in_every_mode(of: Stage) -> None:
    run = Run(of, PLAN, 0.001)
    steps = list(run)
    assert len(steps) == 3 * 2
    assert steps[-1].share == 1.0
    assert run.finished
    assert run.trials.categories == ["maths", "code"]
    results = run.trials.results()
    assert {(r.category, r.mode, r.temperature) for r in results} == {
        (c, m, t) for c in PROMPTS for m in ("off", "fixed:2", "auto") for t in (0.0, 0.8)
    }
    for r in results:
        assert r.prompts == len(PROMPTS[r.category])
        assert r.plain_tps > 0
        assert r.tps > 0
        assert r.speedup.low <= r.speedup.value <= r.speedup.high
        assert (r.acceptance is None) == (r.mode == "off")
        assert (r.tokens_per_round == 1.0) == (r.mode == "off")
        assert r.saved_s * (r.speedup.value - 1) >= 0


def test_every_text_is_compared(of: Stage) -> None:
    run = Run(of, PLAN, 0.001)
    list(run)
    assert run.compared == 3 * 2 * len(MODES)
    assert run.parted == []
    assert run.sound


def test_a_text_that_differs_is_found_and_judged(of: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = LLM.generate

    def wrong(llm: LLM, request: object, **more: object) -> object:
        answer = generate(llm, request, **more)  # type: ignore[arg-type]
        if llm.scheduler.controller is not controller or not answer.stats.drafted:
            return answer
        return dataclasses.replace(answer, tokens=[*answer.tokens[:-1], (answer.tokens[-1] + 1) % 320])

    controller = of.llm.scheduler.controller
    monkeypatch.setattr(LLM, "generate", wrong)
    run = Run(of, dataclasses.replace(PLAN, temperatures=(0.0,)), 0.001)
    list(run)
    assert {parted.mode for parted in run.parted} == {"auto"}
    assert len(run.parted) == 3
    assert not run.sound


def test_leaving_early_keeps_what_was_measured_and_restores_the_pair(of: Stage) -> None:
    drafter = of.llm.scheduler.drafter
    run = Run(of, PLAN, 0.001)
    for _ in run:
        break
    assert not run.finished
    assert [r.category for r in run.trials.results()] == ["maths"] * 3
    assert of.llm.scheduler.drafter is drafter


def test_an_interrupted_prompt_counts_with_its_whole_repeats(of: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    answer = Run._answer

    def interrupted(self: Run, *args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 6:  # in the middle of the second repeat
            raise KeyboardInterrupt
        return answer(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Run, "_answer", interrupted)
    run = Run(of, PLAN, 0.001)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    (trial,) = run.trials.measured
    assert {len(times) for times in trial.seconds.values()} == {1}
    assert set(trial.seconds) == {"plain", "off", "fixed:2", "auto"}


def test_a_limit_ends_the_run_and_shortens_answers(of: Stage) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    run = Run(of, dataclasses.replace(PLAN, limit_s=5.0), plain_s=0.01, clock=clock)
    assert run.max_tokens == 16
    steps = list(run)
    assert 0 < len(steps) < 6
    assert not run.finished
    assert any("Answers are cut at 16 tokens" in note for note in run.notes)
    assert any("Stopped after 5 s" in note for note in run.notes)


def test_fast_models_repeat_more(of: Stage) -> None:
    plan = dataclasses.replace(PLAN, repeats=None)
    assert Run(of, plan, 0.0005).repeats == 7
    assert Run(of, plan, 0.04).repeats == 1


def test_a_model_without_template_continues_the_text_and_says_so(of: Stage) -> None:
    run = Run(of, PLAN, 0.001)
    assert any("no chat template" in note for note in run.notes)


def test_prompts_that_do_not_fit_are_left_out_aloud() -> None:
    long = {"maths": [*PROMPTS["maths"], Prompt("maths", 2, "en", "a b " * 40)]}
    with pair(n_ctx=48) as llm, stage(llm) as of:
        run = Run(of, Plan(long, MODES, repeats=1, max_tokens=8), 0.001)
        assert any("1 of 3 prompts are too long for a context of 48 tokens" in note for note in run.notes)
        assert len(list(run)) == 2 * 2
        with pytest.raises(ForedraftError, match="No prompt fits: the shortest has"):
            Run(of, Plan({"maths": long["maths"][2:]}, MODES), 0.001)


def test_a_mode_without_its_source_is_refused_before_anything_runs(of: Stage) -> None:
    with pytest.raises(ForedraftError, match="suffix"):
        Run(of, dataclasses.replace(PLAN, modes=(parse("suffix"),)), 0.001)


def test_counts_add_up() -> None:
    stats = GenerationStats()
    stats.count_round("model", 3, 1, corrected=True, kept=2, draft_s=0.0)
    counts = Counts()
    counts.add(stats)
    counts.add(counts_of_one_more := Counts(tokens=4, rounds=1, accepted=3, tested_at=[1, 1, 1], accepted_at=[1, 1, 1]))
    assert (counts.tokens, counts.rounds) == (6, 2)
    assert counts.acceptance == 4 / 5
    assert counts.tokens_per_round == 3.0
    assert counts.tested_at == [2, 2, 1]
    assert counts.accepted_at == [2, 1, 1]
    assert counts_of_one_more.tokens == 4
    assert Counts().acceptance is None
    assert runner.SEED >= 0
