"""The first minute: what `foredraft` alone offers, and what `foredraft demo` shows."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foredraft.bench import inflated
from foredraft.cli import demo as module
from foredraft.core.errors import ModelError
from foredraft.words import words as words_of
from tests.cli.terminals import COMMAND, at_a_terminal, read_to_the_end, read_until


def demo(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "demo", "--own-pace", *args],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, **env},
    )


def test_the_same_text_in_fewer_passes_of_the_main_model() -> None:
    done = demo("--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    plain, drafted = said["plain"], said["drafted"]
    assert said["same_text"]
    assert plain["tokens"] == drafted["tokens"]
    assert "4ac" in plain["text"]
    assert plain["stats"]["rounds"] == plain["stats"]["tokens"]
    assert drafted["stats"]["rounds"] * 2 < plain["stats"]["rounds"]
    assert said["speedup"] is None, "at its own pace times say nothing"


@pytest.mark.parametrize(
    ("locale", "says", "begins"), [("en_GB.UTF-8", "in 35 passes", "The formula"), ("ja_JP.UTF-8", "パス", "公式は")]
)
def test_it_speaks_the_users_language(locale: str, says: str, begins: str) -> None:
    done = demo(LC_ALL=locale)
    assert done.returncode == 0, done.stderr
    assert says in done.stderr
    first, second = done.stdout.splitlines()
    assert first == second
    assert first.startswith(begins)


def test_guesses_are_coloured_on_a_terminal() -> None:
    process, leader = at_a_terminal("demo", "--own-pace", "What is 2 + 3?", LC_ALL="C.UTF-8")
    seen = read_to_the_end(process, leader)
    assert process.returncode == 0
    plain, drafted = seen.split("checks them all:")
    assert "\x1b[32;4m" not in plain
    assert "\x1b[32;4m" in drafted
    assert "drafted and accepted" in drafted


def test_times_are_told_only_where_the_machine_was_free(capsys: pytest.CaptureFixture[str]) -> None:
    from foredraft.core.stats import GenerationStats
    from foredraft.scheduling.request import Generation, SpeculationStatus

    def watched(rounds: int, took: float, share: float) -> module.Watched:
        stats = GenerationStats(tokens=40, rounds=rounds, generation_s=took)
        status = SpeculationStatus("active", "")
        made = Generation("x", [1] * 40, "eos", "m", "d", 0, status, None, stats, [])
        return module.Watched(made, share)

    words = words_of("en")
    module._conclude(words, watched(40, 4.0, 1.0), watched(5, 1.0, 1.0), timed=True, own_pace=False)
    assert "in 5 passes instead of 40: 4.0 times as fast here." in capsys.readouterr().err
    assert watched(40, 4.0, 0.4).busy
    module._conclude(words, watched(40, 4.0, 0.4), watched(5, 1.0, 1.0), timed=False, own_pace=False)
    said = capsys.readouterr().err
    assert "times as fast" not in said
    assert "busy with other work" in said


def test_without_room_it_names_the_way_that_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Path:
        raise ModelError("The inflated model needs about 1.2 GB; 0.0 GB are free.", hint="Set FOREDRAFT_HOME.")

    monkeypatch.setattr(inflated, "inflated", full)
    with pytest.raises(ModelError, match=r"FOREDRAFT_HOME.*demo --own-pace"):
        module.demo()


@pytest.mark.parametrize(("typed", "then"), [(b"help\n", "Usage"), (b"version\n", "llama-cpp-python"), (b"\x04", "")])
def test_alone_on_a_terminal_it_offers_what_to_do(typed: bytes, then: str) -> None:
    process, leader = at_a_terminal(LC_ALL="C.UTF-8", COLUMNS="80")
    try:
        offered = read_until(leader, "> ")
        lines = offered.strip().splitlines()
        assert [line.split()[0] for line in lines[:4]] == ["demo", "chat", "app", "help"]
        assert all(len(line) <= 80 for line in lines)
        os.write(leader, typed)
        if then:
            read_until(leader, then)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_a_model_is_made_by_one_program_at_a_time(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits, and finds it made: two of them would write into one file."""
    import shutil
    import threading

    made: list[Path] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(source: Path, path: Path, size: str) -> Path:
        made.append(path)
        begun.set()
        go_on.wait(30)
        return Path(shutil.copy(source, path))

    monkeypatch.setattr(inflated, "inflate", slow)
    threads = [threading.Thread(target=inflated.inflated, args=(tiny_llama, "0.5b")) for _ in range(2)]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert len(made) == 1
