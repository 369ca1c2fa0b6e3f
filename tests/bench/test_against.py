"""Foredraft against a stand-in for llama-server: protocol, turns and errors, and that no server stays behind."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import psutil
import pytest

from foredraft.bench import against
from foredraft.bench.against import Comparison, Plan
from foredraft.bench.llama_server import DEFAULT_SETTINGS, Files, LlamaServer, check_setting
from foredraft.bench.rivalry import FIRST, Pair, Spread, Taken, rows, table
from foredraft.bench.server_process import cpu_clock
from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import BenchServerError, ParameterError
from foredraft.pair.llm import LLM
from tests.bench.fake_llama_server import asked, program
from tests.bench.toys import PROMPTS, pair

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script that POSIX can execute")

ONE_THREAD = LoadSettings(threads=1, draft_threads=1)
FILES = Files(Path("main.gguf"), Path("draft.gguf"), context=512, threads=3, draft_threads=2)


def plan(*parts: str, settings: tuple[str, ...] = ("plain", "draft:3"), repeats: int = 2) -> Plan:
    return Plan(PROMPTS, settings, writing=(8, 900), reading=(16,), max_tokens=5, repeats=repeats, parts=parts)


def noted(log: Path, **settings: object) -> LLM:
    """A toy pair whose passes go into the stand-in's log."""
    llm = pair(**settings)

    def note() -> None:
        with log.open("a", encoding="utf-8") as file:
            file.write('{"who": "ours", "path": ""}\n')

    llm.engine.during = note  # type: ignore[attr-defined]
    return llm


def test_reading_and_writing_in_turns(tmp_path: Path) -> None:
    binary, log = program(tmp_path)
    found = Comparison(lambda: noted(log), LlamaServer(binary), plan("plain"), ONE_THREAD, clock="cpu")
    shares = [step.share for step in found]
    assert shares == sorted(shares)
    assert found.finished
    assert [(row.what, row.mode, row.setting) for row in found.rows] == [
        ("writing at 8 tokens", "plain", "plain"),
        ("reading 16 tokens", "plain", "plain"),
    ]
    assert any("too small: 900 tokens" in note for note in found.notes)
    for row in found.rows:
        assert row.wall.low <= row.wall.value <= row.wall.high
        assert row.cpu is not None
    requests = [line for line in asked(log) if line["who"] == "ours" or line["path"] == "/completion"]
    turns = [len(line["prompt"]) if "prompt" in line else "ours" for line in requests]
    turns = [turn for i, turn in enumerate(turns) if i == 0 or turn != turns[i - 1]]
    # both warm up; then ours first in the first repeat, and theirs first in the second: reading, writing, reading
    assert turns == ["ours", 16, "ours", 8, "ours", 8, "ours", 16, 8, "ours", 8, "ours", 16, "ours"]
    measured = [line for line in requests if line["who"] == "theirs"][2:]
    assert all(line["temperature"] == 0 and line["return_tokens"] for line in measured)
    assert [line.get("cache_prompt", True) for line in measured[:2]] == [False, True]
    assert [line["n_predict"] for line in measured[:2]] == [1, 5]
    assert measured[1]["ignore_eos"]


def test_a_slow_model_writes_in_many_short_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(against, "_TURN_S", 0.0)
    binary, log = program(tmp_path)
    wanted = Plan({}, ("plain",), writing=(8,), reading=(), max_tokens=10, repeats=1, parts=("plain",))
    found = Comparison(lambda: noted(log), LlamaServer(binary), wanted, ONE_THREAD)
    list(found)
    asked_for = [(len(line["prompt"]), line["n_predict"]) for line in asked(log) if line["path"] == "/completion"]
    # each turn goes on behind what was written before
    assert asked_for[-3:] == [(8, 4), (12, 4), (16, 2)]
    (row,) = found.rows
    assert row.compared == 1


def test_answers_by_category(tmp_path: Path) -> None:
    """Every setting is a process of its own; ours take turns with theirs; texts are compared token for token."""
    with pair() as llm:
        prompts = [llm.engine.tokenizer.encode(p.text) for group in PROMPTS.values() for p in group]
        answers = {
            json.dumps(list(prompt)): llm.generate(list(prompt), temperature=0, max_tokens=5).tokens
            for prompt in prompts[:2]
        }
    binary, log = program(tmp_path, answers=answers)
    found = Comparison(lambda: noted(log), LlamaServer(binary), plan("speculation"), ONE_THREAD)
    list(found)
    maths = {(row.mode, row.setting): row for row in found.rows if row.what == "maths"}
    assert set(maths) == {
        ("plain", "plain"),
        ("auto", "plain"),
        ("auto", "draft:3"),
        *(k for k in maths if "best" in k[1]),
    }
    assert len(maths) == 4
    assert all((row.same, row.compared) == (2, 2) for row in maths.values())
    code = [row for row in found.rows if row.what == "code"]
    assert all((row.same, row.compared) == (0, 1) for row in code)
    started = [line["arguments"] for line in asked(log) if line["path"] == "started"]
    assert len(started) == 2
    assert sum("--spec-draft-n-max" in arguments for arguments in started) == 1


def test_the_best_of_their_settings_is_the_one_that_leaves_us_least(tmp_path: Path) -> None:
    def one(setting: str, repeat: int, theirs: float, **more: object) -> Pair:
        return Pair("code", "auto", setting, repeat, 0, Taken(1.0, 2.0, (1, 2)), Taken(theirs, 9.0, (1, 2, 3)), **more)  # type: ignore[arg-type]

    found = rows(
        [one("plain", 0, 3.0), one("plain", 1, 6.0), one("draft:3", 0, 1.5), one("draft:3", 1, 1.2)],
        clock="wall",
        cpu=False,
    )
    assert [row.setting for row in found] == ["plain", "draft:3", "best: draft:3"]
    plain, draft, best = found
    # ours wrote 2 tokens in 1 s, theirs 3 in 3 s and 6 s
    assert (plain.wall.value, plain.wall.low, plain.wall.high) == (3.0, 2.0, 4.0)
    assert plain.ours == 2.0
    assert plain.theirs == 0.75
    assert plain.cpu is None
    assert best.wall == draft.wall
    assert best.verdict("wall") == "≥ 1.00 MISSED, not certain"  # 0.8 and 1.0
    assert dataclasses.replace(best, bar=1.1).verdict("wall") == "≥ 1.10 MISSED"
    assert dataclasses.replace(best, bar=0.7).verdict("wall") == "≥ 0.70 met"
    assert dataclasses.replace(best, wall=Spread(0.9, 0.9, 0.9)).verdict("wall") == "≥ 1.00 MISSED, not certain"
    assert (plain.same, plain.compared) == (0, 1)
    (first,) = rows(
        [Pair("first", "auto", "plain", 0, 0, Taken(0.01, 0), Taken(0.02, 0), unit=FIRST)], clock="wall", cpu=False
    )
    assert (first.ours, first.theirs, first.wall.value, first.compared) == (10.0, 20.0, 2.0, 0)
    assert "20.0 ms" in table([first], "wall").markdown()


def test_options_are_those_that_the_binary_names(tmp_path: Path) -> None:
    new = LlamaServer(program(tmp_path)[0])
    assert new.version == "version: 1234 (abcdef)"
    line = " ".join(new.arguments("draft:8", FILES, 9))
    assert "--threads 3 --threads-batch 3" in line
    assert "--spec-draft-model draft.gguf --spec-draft-n-max 8 --spec-type draft-simple --threads-draft 2" in line
    assert "--cache-ram 0" in line
    assert "--no-webui" not in line
    assert new.arguments("ngram-simple", FILES, 9)[-2:] == ["--spec-type", "ngram-simple"]
    assert "does not know it" in new.why_not("ngram-mod", FILES)
    old = LlamaServer(program(tmp_path, mode="old")[0])
    line = " ".join(old.arguments("draft:8", FILES, 9))
    assert "--model-draft draft.gguf --draft-max 8" in line
    assert "--spec-type" not in line
    assert old.why_not("ngram-simple", FILES)
    assert not old.why_not("draft:1", FILES)


def test_a_setting_that_cannot_be_run_is_left_out_aloud(tmp_path: Path) -> None:
    binary, log = program(tmp_path, mode="old")
    settings = plan("speculation", settings=("plain", "ngram-simple"), repeats=1)
    found = Comparison(lambda: noted(log), LlamaServer(binary), settings, ONE_THREAD)
    list(found)
    assert {row.setting for row in found.rows} == {"plain"}
    assert any("ngram-simple is left out" in note for note in found.notes)
    alone = Comparison(lambda: noted(log, draft=None), LlamaServer(binary), settings, ONE_THREAD)
    list(alone)
    assert alone.rows == []
    assert any("speculation is not compared" in note for note in alone.notes)


@pytest.mark.parametrize("name", ["", "draft", "draft:0", "draft:65", "draft:x", "fast", "ngram"])
def test_settings_have_names(name: str) -> None:
    with pytest.raises(ParameterError, match="draft:N with N from 1 to 64"):
        check_setting(name)


def test_the_default_settings_are_settings() -> None:
    assert [check_setting(name) for name in DEFAULT_SETTINGS] == list(DEFAULT_SETTINGS)


@pytest.mark.parametrize(
    ("mode", "words"),
    [("broken", "libllama.so"), ("other", "does not look like llama-server")],
)
def test_another_program_is_refused_in_words(mode: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BenchServerError, match=words):
        LlamaServer(program(tmp_path, mode=mode)[0])


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("dies", r"ended while it started \(exit code 1\)[^$]*invalid argument: --threads-batch"),
        ("leaves", r"gave no answer .* \(exit code 7\)"),
        ("refuses", r"refused a request with 400: .*no such thing"),
    ],
)
def test_a_server_that_fails_says_what_it_said_last(mode: str, words: str, tmp_path: Path) -> None:
    binary, log = program(tmp_path, mode=mode)
    found = Comparison(lambda: noted(log), LlamaServer(binary), plan("plain"), ONE_THREAD)
    with pytest.raises(BenchServerError, match=words) as error:
        list(found)
    assert "options change between versions" in error.value.hint


def test_a_run_that_is_left_early_leaves_no_server_and_keeps_its_rows(tmp_path: Path) -> None:
    binary, log = program(tmp_path)
    found = Comparison(lambda: noted(log), LlamaServer(binary), plan("plain"), ONE_THREAD)
    steps = iter(found)
    next(steps)
    pids = {line["pid"] for line in asked(log) if line["who"] == "theirs"}
    assert all(psutil.pid_exists(pid) for pid in pids)
    steps.close()  # type: ignore[attr-defined]
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert [row.what for row in found.rows] == ["writing at 8 tokens"]
    assert not found.finished


def test_the_time_limit_is_said(tmp_path: Path) -> None:
    binary, log = program(tmp_path)
    wanted = Plan(PROMPTS, ("plain",), (8,), (8,), 5, 2, limit_s=0.0, parts=("plain", "speculation"))
    found = Comparison(lambda: noted(log), LlamaServer(binary), wanted, ONE_THREAD)
    list(found)
    assert found.rows == []
    assert found.notes[-1] == "The time limit of 0 s cut the run short (--minutes)."
    assert not found.finished


def test_processor_time_of_another_process() -> None:
    clock = cpu_clock(os.getpid())
    before, sums = clock(), 0
    while clock() == before:  # ends once processor time has passed
        sums += sum(range(1000))
    assert clock() > before
    assert abs(clock() - sum(psutil.Process().cpu_times()[:2])) < 5.0
