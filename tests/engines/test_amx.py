"""A build of llama.cpp that dies on this processor's tiles is used without them, and says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, trial_process
from foredraft.engines.llamacpp import amx as tiles
from foredraft.engines.llamacpp import safe_load as trial
from foredraft.engines.llamacpp.library import library


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A machine whose tiles nobody has tried."""
    monkeypatch.delenv("FOREDRAFT_TILES_UNTRIED", raising=False)
    tiles.tiles_work.cache_clear()
    yield monkeypatch
    tiles.tiles_work.cache_clear()


def with_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library().api, "llama_print_system_info", lambda: b"CPU : AVX2 = 1 | AMX_INT8 = 1 |")


def ends_with(monkeypatch: pytest.MonkeyPatch, code: int) -> list[Any]:
    """Every process that is tried ends like this; returns the commands."""
    commands: list[Any] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        commands.append(command)
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(trial_process.subprocess, "run", run)
    return commands


@pytest.mark.parametrize("works", [True, False])
def test_a_file_is_tried_with_what_is_known_of_tiles(fresh: pytest.MonkeyPatch, tiny_llama: Path, works: bool) -> None:
    """The process that tries a file has limits of memory: what it found out about tiles would be kept for ever."""
    with_tiles(fresh)
    told: list[str] = []

    def run(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[bytes]:
        told.append(env["FOREDRAFT_TILES_UNTRIED"])
        return subprocess.CompletedProcess(command, 0 if works or str(tiny_llama) in command else -11)

    fresh.setattr(trial_process.subprocess, "run", run)
    assert trial.survives(tiny_llama)
    assert told == ["1", "1" if works else "0"], "tiles are tried first, by the parent"


def test_a_deadly_build_loads_without_tiles_and_says_so(fresh: pytest.MonkeyPatch, tiny_llama: Path) -> None:
    with_tiles(fresh)
    commands = ends_with(fresh, -11)
    given: list[bool] = []
    load = library().api.llama_model_load_from_file
    fresh.setattr(
        library().api,
        "llama_model_load_from_file",
        lambda path, params: given.append(bool(params.use_extra_bufts)) or load(path, params),
    )
    for _ in range(2):
        engine = LlamaCppEngine(tiny_llama, LoadOptions(probe=False))
        assert len(engine.forward([Chunk(0, 0, [1, 2, 3], want=3)])[0]) == 3
        assert any("AMX" in str(note) and "-fno-dse" in str(note) for note in engine.notes)
        engine.close()
        tiles.tiles_work.cache_clear()  # as in another process
    assert given == [False, False]
    assert len(commands) == 1, "what was found is kept: a second start does not try again"


def test_a_sound_build_is_left_alone(fresh: pytest.MonkeyPatch, tiny_llama: Path) -> None:
    with_tiles(fresh)
    commands = ends_with(fresh, 0)
    engine = LlamaCppEngine(tiny_llama, LoadOptions(probe=False))
    assert not any("AMX" in str(note) for note in engine.notes)
    engine.close()
    assert [command[0] for command in commands] == [sys.executable]


def test_without_tiles_nothing_is_tried(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(library().api, "llama_print_system_info", lambda: b"CPU : AVX2 = 1 | AMX_INT8 = 0 |")
    commands = ends_with(fresh, -11)
    assert tiles.tiles_work()
    assert commands == []
