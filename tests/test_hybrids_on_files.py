"""Speculation on tiny files of each hybrid and recurrent kind, from end to end: the text is that without it, token for
token, with guesses that are right, wrong and random, of any length, several answers at once, and turns that go on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.random_kinds import write_random_kind
from foredraft.bench.costs import measure_costs
from foredraft.cli.main import app
from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import MemoryLimitError
from foredraft.core.params import MAX_DRAFT, Request, SpeculationParams
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.llamacpp import engine as llamacpp_engine
from foredraft.models import memory
from foredraft.models.facts import read_facts
from foredraft.models.memory import LoadPlan, Machine, estimate, kv_bytes, state_bytes
from foredraft.pair.llm import LLM
from foredraft.scheduling.request import ScheduledRequest
from foredraft.speculative.drafters import Arbiter

WAYS = {
    "qwen35": "rollback",
    "qwen35moe": "rollback",
    "lfm2": "rollback",
    "nemotron_h": "rollback",
    "granitehybrid": "fork",
    "falcon-h1": "fork",
    "mamba2": "fork",
    "gemma3": "free",
}
PLAIN = SpeculationParams(enabled=False)
EXACT = LoadSettings(
    context=400,
    slots=4,
    batch=96,
    threads=1,
    draft_threads=1,
    kv_type="f32",
    flash_attention="off",  # which rounds most
    controller="fixed",
    fixed_look_ahead=MAX_DRAFT,
    remember=False,
)
Files = Callable[[str], Path]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("kinds")

    def of(kind: str) -> Path:
        path = folder / f"{kind}.gguf"
        return path if path.exists() else write_random_kind(path, kind)

    return of


def prompt(count: int, seed: int = 0) -> list[int]:
    return [1, *(3 + (seed * 97 + i * i * 31 + 7 * i) % 317 for i in range(count - 1))]


def ask(llm: LLM, tokens: list[int], seed: int = 0, most: int = 24, **speculation: Any) -> Request:
    made = llm.request(tokens, temperature=0.8 * (seed % 2), seed=seed, max_tokens=most, ignore_eos=True)
    return dataclasses.replace(made, speculation=SpeculationParams(**speculation))


def write(llm: LLM, requests: list[Request]) -> list[ScheduledRequest]:
    answers = [llm.scheduler.submit(request) for request in requests]
    while llm.scheduler.busy:
        llm.scheduler.step()
    return answers


def plain(llm: LLM, request: Request) -> list[int]:
    return write(llm, [dataclasses.replace(request, speculation=PLAIN)])[0].tokens


@pytest.mark.parametrize("draft", ["itself", "mamba2"])
@pytest.mark.parametrize("kind", WAYS)
def test_the_same_text_with_every_look_ahead(file: Files, kind: str, draft: str) -> None:
    """A draft that is the main model (right every time), and one that knows nothing; each a hybrid or recurrent one."""
    drafting = file(kind) if draft == "itself" else file(draft)
    with LLM.load(file(kind), drafting, settings=EXACT, draft_required=True, force=True) as llm:
        assert llm.engine.rewind_limit.way == WAYS[kind]
        assert llm.speculation.status == "active"
        for seed in range(2):
            expected = plain(llm, ask(llm, prompt(30), seed))
            for gamma in range(MAX_DRAFT + 1):
                answer = write(llm, [ask(llm, prompt(30), seed, max_draft=gamma)])[0]
                assert answer.tokens == expected
                assert (answer.stats.drafted > 0) == (gamma > 0)
                if draft == "itself" and gamma:
                    assert answer.stats.accepted == answer.stats.drafted


@pytest.mark.parametrize("isolation", ["off", "on"])
@pytest.mark.parametrize("kind", ["qwen35", "granitehybrid"])
def test_several_at_once_with_cancels_and_turns(file: Files, kind: str, isolation: str) -> None:
    settings = dataclasses.replace(EXACT, isolation=isolation)
    with LLM.load(file(kind), file(kind), settings=settings, force=True) as llm:
        alone = LLM.load(file(kind), None, settings=EXACT)
        begun = prompt(60)
        requests = [ask(llm, [*begun, *prompt(5 + n, n)], n, 12 + n, max_draft=n) for n in range(10)]
        expected = [plain(alone, request) for request in requests]
        answers = [llm.scheduler.submit(request) for request in requests]
        steps = 0
        while llm.scheduler.busy:
            if steps in (3, 9):
                answers[steps // 3].cancel()
            llm.scheduler.step()
            steps += 1
        for answer, tokens in zip(answers, expected, strict=True):
            assert answer.tokens == tokens[: len(answer.tokens)]
            assert answer.stop_reason == "length" or answer in (answers[1], answers[3])
        # the next turn of the last one goes on where it stands
        turn = [*requests[-1].prompt, *answers[-1].tokens, *prompt(9, 5)]
        answer = write(llm, [ask(llm, turn, 1, max_draft=5)])[0]
        assert answer.tokens == plain(alone, ask(alone, turn, 1))
        assert answer.stats.cached_tokens == len(requests[-1].prompt) + len(answers[-1].tokens) - 1
        alone.close()


@pytest.mark.parametrize("kind", ["lfm2", "falcon-h1"])
def test_found_guesses_work_with_the_controller_that_measures(file: Files, kind: str) -> None:
    """Without a draft model: a text given as a prediction, and what the prompt repeats."""
    settings = dataclasses.replace(EXACT, controller="adaptive", fixed_look_ahead=None)
    with LLM.load(file(kind), "auto", settings=settings) as llm:
        assert isinstance(llm.scheduler.drafter, Arbiter)
        request = ask(llm, prompt(30), most=60)
        expected = plain(llm, request)
        for adapt in (True, False):
            speculation = SpeculationParams(adapt=adapt)
            given = dataclasses.replace(request, prediction=tuple(expected), speculation=speculation)
            answer = write(llm, [given])[0]
            assert answer.tokens == expected
        assert answer.stats.accepted > 20
        wrong = dataclasses.replace(request, prediction=tuple((t + 1) % 320 for t in expected))
        assert write(llm, [wrong])[0].tokens == expected


@pytest.mark.parametrize("draft", ["granitehybrid", "qwen35"])
def test_a_hybrid_draft_before_a_main_model_of_attention(file: Files, draft: str) -> None:
    with LLM.load(file("llama"), file(draft), settings=EXACT, force=True, draft_required=True) as llm:
        expected = plain(llm, ask(llm, prompt(40), 1, 40))
        answer = write(llm, [ask(llm, prompt(40), 1, 40, max_draft=4)])[0]
        assert answer.tokens == expected
        assert answer.stats.drafted > 20


@pytest.mark.parametrize(("kind", "draft"), [("qwen35moe", "lfm2"), ("falcon-h1", "off")])
def test_the_commands_check_and_run(file: Files, kind: str, draft: str) -> None:
    options = ["--model", str(file(kind)), "--draft", draft if draft == "off" else str(file(draft)), "--raw", "--json"]
    if draft != "off":
        options.append("--force")
        checked = CliRunner().invoke(app, ["verify", "the cat", *options, "-n", "20"])
        assert checked.exit_code == 0, checked.output
    run = CliRunner().invoke(app, ["run", "the cat", *options, "-n", "8"])
    made = json.loads(run.stdout)
    assert made["stats"]["rounds"] > 0, run.output
    assert made["speculation"]["status"] == ("off" if draft == "off" else "active")


@pytest.mark.parametrize("kind", ["qwen35", "lfm2", "granitehybrid"])
def test_a_full_context_is_shared_in_turns(file: Files, kind: str) -> None:
    """Four answers of 60 tokens in a cache of 256 cells: the youngest give theirs back, and read their text again."""
    settings = dataclasses.replace(EXACT, context=256)
    with LLM.load(file(kind), file(kind), settings=settings, force=True) as llm:
        requests = [ask(llm, prompt(20, n), n, 60 + n, max_draft=2 + 4 * (n % 2)) for n in range(4)]
        expected = [plain(llm, request) for request in requests]
        for answer, tokens in zip(write(llm, requests), expected, strict=True):
            assert answer.tokens == tokens


def test_as_many_states_are_kept_as_are_guessed(file: Files) -> None:
    """A fixed look-ahead needs no more; and the bench of cost curves gets back to where it was."""
    with LLM.load(file("qwen35"), "off", settings=dataclasses.replace(EXACT, fixed_look_ahead=3)) as llm:
        assert llm.engine.rewind_limit.limit == 3
        assert measure_costs(llm, seconds=0.1).v[1] == 1.0
        assert len(write(llm, [ask(llm, prompt(20))])[0].tokens) == 24


# ---- bad luck ----


def test_what_memory_is_short_for_is_capped_and_said(file: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = read_facts(file("qwen35"))
    plan = LoadPlan(context=400, kv_type="f32", slots=4, batch=96, flash_attention="off")
    roomy = Machine(1 << 40, 1 << 40)
    whole = estimate(facts, plan=plan, machine=roomy)
    assert whole.snapshots == MAX_DRAFT
    scarce = Machine(whole.total - 4 * state_bytes(facts) * (MAX_DRAFT - 5), 1 << 40)
    assert estimate(facts, plan=plan, machine=scarce).snapshots == 4
    monkeypatch.setattr(memory, "this_machine", lambda: scarce)
    with LLM.load(file("qwen35"), "off", settings=EXACT) as llm:
        assert llm.engine.rewind_limit.limit == 4
        assert any("at most 4 tokens are drafted at once" in str(note) for note in llm.notes)
    fork = Machine(estimate(facts, plan=dataclasses.replace(plan, snapshots=0), machine=roomy).total, 1 << 40)
    monkeypatch.setattr(memory, "this_machine", lambda: fork)
    with LLM.load(file("qwen35"), "off", settings=EXACT) as llm:
        assert llm.engine.rewind_limit.way == "fork"
        assert any("read again" in str(note) for note in llm.notes)
    monkeypatch.setattr(memory, "this_machine", lambda: Machine(fork.ram - 1, 1 << 40))
    with pytest.raises(MemoryLimitError):
        LLM.load(file("qwen35"), "off", settings=EXACT)


@pytest.mark.parametrize("snapshots", [0, 8])
@pytest.mark.parametrize("kind", [kind for kind, way in WAYS.items() if way != "free"])
def test_states_are_counted_as_the_library_takes_them(file: Files, kind: str, snapshots: int) -> None:
    options = LoadOptions(n_ctx=512, n_slots=4, n_threads=1, snapshots=snapshots, kv_type="f32", probe=False)
    engine = LlamaCppEngine(file(kind), options)
    counted = kv_bytes(read_facts(file(kind)), 512, "f32", 4, engine.rewind_limit.limit or 0)
    assert engine.memory.kv == pytest.approx(counted, abs=0.02 * 2**20)  # it tells hundredths of a MiB
    engine.close()


def test_a_file_whose_states_do_not_come_back_is_answered_without_guesses(
    file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp_engine, "goes_back", lambda engine: False)
    with LLM.load(file("lfm2"), "auto", settings=EXACT) as llm:
        assert llm.speculation.status == "unavailable"
        assert "cannot take back rejected tokens (architecture lfm2)" in str(llm.speculation.reason)
        assert len(write(llm, [ask(llm, prompt(20))])[0].tokens) == 24
