"""`foredraft bench` as a person uses it, on a tiny model that is its own draft."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foredraft.bench.runner import Run, Step
from foredraft.cli.main import app

QUICK = ["--category", "maths", "--prompts", "1", "--max-tokens", "6", "--repeats", "1"]


def bench(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def model(tiny_llama: Path) -> list[object]:
    return ["--model", tiny_llama, "--draft", tiny_llama, "--threads", 1, "--draft-threads", 1]


def test_figures_go_to_the_terminal_and_into_files(model: list[object], tmp_path: Path) -> None:
    json_file, page, plots = tmp_path / "out.json", tmp_path / "out.md", tmp_path / "plots"
    code, out, _ = bench(*model, *QUICK, "--json", json_file, "--markdown", page, "--plots", plots)
    assert code == 0
    assert "No speculation can be faster here than" in out
    assert "4 of 4 texts are identical" in out
    assert "continued as plain text" in out
    found = json.loads(json_file.read_text(encoding="utf-8"))
    assert set(found) == {"machine", "model", "draft", "costs", "results"}
    assert {(r["mode"], r["temperature"]) for r in found["results"]} == {
        (mode, t) for mode in ("fixed:3", "auto") for t in (0.0, 0.8)
    }
    assert page.read_text(encoding="utf-8").startswith("# Bench")
    assert (plots / "costs.svg").is_file()


def test_a_sweep_finds_the_best_fixed_look_ahead(model: list[object]) -> None:
    code, out, _ = bench(*model, *QUICK, "--sweep", "--temperature", 0)
    assert code == 0
    assert "auto against the best fixed look-ahead" in out
    assert "fixed:8" in out


def test_interrupted_it_keeps_what_is_done(
    model: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Run.__iter__

    def interrupted(self: Run) -> Iterator[Step]:
        steps = whole(self)
        yield next(steps)
        steps.close()  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "__iter__", interrupted)
    json_file = tmp_path / "out.json"
    code, out, _ = bench(*model, *QUICK, "--json", json_file)
    assert code == 130
    assert "Interrupted: these are the figures until then." in out
    results = json.loads(json_file.read_text(encoding="utf-8"))["results"]
    assert {r["temperature"] for r in results} == {0.0}
    assert results


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["bread"], 2, "pair, overhead, stack, round, memory"),
        (["--mode", "fast"], 2, "one of off, model, suffix, ngram, auto, or fixed:γ with γ from 0 to 16"),
        (["--mode", "fixed:17"], 2, "from 0 to 16"),
        (["--category", "poems"], 2, "one of maths, facts, code"),
        (["--temperature", "-1"], 2, "greedy"),
        (["--repeats", "0"], 2, "at least 1"),
        (["--max-tokens", "0"], 2, "at least 1"),
        (["--minutes", "0"], 2, "above 0"),
        (["--clock", "sun"], 2, "one of wall, cpu"),
        (["--clock", "cpu", "--threads", "2"], 2, "1 with --clock cpu"),
        (["--inflate", "2b"], 2, "one of 0.5b, 1b, 3b, 8b"),
        (["--json", "no/such/folder/out.json"], 1, "there is no folder"),
        (["--markdown", "."], 1, "is a folder"),
        (["--model", "no-such-file.gguf", "--draft", "off"], 1, "no-such-file.gguf"),
    ],
)
def test_bad_input_is_answered_with_what_is_allowed(
    arguments: list[str], code: int, words: str, tiny_llama: Path
) -> None:
    named = [] if "--model" in arguments else ["--model", tiny_llama, "--draft", tiny_llama]
    found, out, err = bench(*arguments, *named)
    assert found == code, out + err
    assert words in err + out


def test_plots_over_a_file_are_refused(model: list[object], tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("")
    code, _, err = bench(*model, *QUICK, "--plots", tmp_path / "plots")
    assert code == 1
    assert "cannot be made" in err


def test_without_a_draft_only_what_guesses_without_one_is_measured(tiny_llama: Path) -> None:
    code, _, err = bench("--model", tiny_llama, "--draft", "off", *QUICK)
    assert code == 1
    assert "what is loaded has" in err


def test_what_foredraft_costs(tiny_llama: Path, tmp_path: Path) -> None:
    json_file = tmp_path / "cost.json"
    code, out, _ = bench("stack", "--model", tiny_llama, "--json", json_file, "--clock", "cpu")
    assert code in (0, 1)  # a bar may be missed here: a tiny model's token takes no time
    assert "plain decoding against the bare loop" in out
    assert set(json.loads(json_file.read_text(encoding="utf-8"))["stack"]) == {"share", "low", "high", "bare_s"}
