"""`foredraft bench` as a person uses it, on a tiny model that is its own draft."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks.random_draft import random_draft
from foredraft.bench.runner import Run, Step
from foredraft.cli.main import app
from foredraft.pair.llm import LLM

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
    assert "auto over fixed:3" in out
    assert "auto against its bars" in out
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
        (["--mode", "fast"], 2, "or fixed:γ with γ from 0 to 16"),
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
        (["--model", "no-such-file.gguf", "--draft", "self"], 1, "no-such-file.gguf"),
        (["--json", "no/such/folder/out.json", "--mode", "fast"], 1, "Error: no"),
        (["--context", "17"], 1, "No prompt fits: the shortest has"),
        (["--rival", "plain"], 2, "given with --against"),
        (["--part", "plain"], 2, "given with --against"),
        (["--against", "no-such-server"], 1, "There is no program no-such-server."),
        (["--against", "."], 1, "is a folder"),
        (["--against", __file__], 1, "may not be executed"),
        (["--against", sys.executable], 1, "does not look like llama-server"),
        (["--against", "x", "--rival", "fast"], 2, "draft:N with N from 1 to 64"),
        (["--against", "x", "--part", "fast"], 2, "plain, speculation, first-token"),
        (["--against", "x", "--temperature", "0.8"], 2, "left out with --against"),
        (["--against", "x", "--sweep"], 2, "left out with --against"),
        (["--against", "x", "--repeats", "0"], 2, "at least 1"),
    ],
)
def test_bad_input_is_answered_with_what_is_allowed(
    arguments: list[str], code: int, words: str, tiny_llama: Path
) -> None:
    named = [] if "--model" in arguments else ["--model", tiny_llama, "--draft", tiny_llama]
    found, out, err = bench(*arguments, *named)
    assert found == code, out + err
    assert words in err + out


def test_what_cannot_be_written_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def locked(path: Path, *more: Any, **extra: Any) -> Any:
        if path.name == "out.json":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *more, **extra)

    monkeypatch.setattr(Path, "open", locked)
    monkeypatch.setattr(LLM, "load", lambda *_, **__: pytest.fail("a model was loaded"))
    code, out, err = bench(*QUICK, "--json", tmp_path / "out.json")
    assert (code, out) == (1, "")
    assert "out.json cannot be written: Permission denied." in err


def test_a_file_that_is_there_is_kept_until_there_are_figures(model: list[object], tmp_path: Path) -> None:
    kept, new = tmp_path / "kept.json", tmp_path / "new.md"
    kept.write_text("old", encoding="utf-8")
    code, _, _ = bench(*model, "--json", kept, "--markdown", new, "--context", 17)
    assert code == 1
    assert kept.read_text(encoding="utf-8") == "old"
    assert not new.exists()


def test_a_disk_that_fills_up_costs_one_file_and_not_the_others(
    model: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.write_text

    def full(path: Path, *more: Any, **extra: Any) -> int:
        if path.name == "out.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *more, **extra)

    monkeypatch.setattr(Path, "write_text", full)
    code, out, err = bench(*model, *QUICK, "--json", tmp_path / "out.json", "--markdown", tmp_path / "out.md")
    assert code == 1
    assert "Times plain" in out
    assert "out.json cannot be written: No space left on device." in err
    assert (tmp_path / "out.md").is_file()


def test_a_draft_that_is_always_wrong_and_one_as_slow_as_the_main_model(tiny_llama: Path, tmp_path: Path) -> None:
    for draft, accepted in ((random_draft(tiny_llama), 0.2), ("self", 1.0)):
        json_file = tmp_path / f"{accepted}.json"
        few = ["--threads", 1, "--draft-threads", 1, "--mode", "fixed:2", "--mode", "auto", "-t", 0]
        code, out, err = bench("--model", tiny_llama, "--draft", draft, *QUICK, *few, "--json", json_file)
        assert code == 0, out + err
        assert "auto against its bars" in out
        found = json.loads(json_file.read_text(encoding="utf-8"))
        (fixed,) = (r for r in found["results"] if r["mode"] == "fixed:2")
        assert (fixed["acceptance"] == 1.0) == (accepted == 1.0)
        assert fixed["acceptance"] <= accepted


def test_plots_over_a_file_are_refused(model: list[object], tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("")
    code, _, err = bench(*model, *QUICK, "--plots", tmp_path / "plots")
    assert code == 1
    assert "cannot be made" in err


def test_without_a_draft_only_what_guesses_without_one_is_measured(tiny_llama: Path) -> None:
    code, _, err = bench("--model", tiny_llama, "--draft", "off", *QUICK)
    assert code == 1
    assert "what is loaded has" in err


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is a signal on POSIX")
def test_ctrl_c_keeps_what_is_done(model: list[object], tmp_path: Path) -> None:
    """A real Ctrl-C into the running program, as soon as something has been measured."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX")
    leader, follower = pty.openpty()
    json_file = tmp_path / "out.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "foredraft", "bench", *map(str, model), "--json", str(json_file), "--repeats", "99"],
        stdout=subprocess.PIPE,
        stderr=follower,  # the progress bar is for terminals
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
        # whoever runs the tests in the background has Ctrl-C switched off, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(follower)
    seen = b""
    while b"temperature" not in seen:  # the bar names the prompt that is done
        seen += os.read(leader, 4096)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    os.close(leader)
    assert process.returncode == 130
    assert b"Interrupted: these are the figures until then." in out
    assert b"Traceback" not in out
    assert json.loads(json_file.read_text(encoding="utf-8"))["results"]
