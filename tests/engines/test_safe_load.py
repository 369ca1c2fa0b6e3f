"""A file that would end the process ends another one instead, and is tried once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foredraft.config.folders import cache_folder
from foredraft.core.errors import ModelError, ModelFormatError
from foredraft.demo import draft_path, main_path
from foredraft.engines.llamacpp import safe_load as trial
from foredraft.engines.llamacpp import trial_process
from foredraft.engines.llamacpp.safe_load import DeadlyFileError, require_survival, survives
from tests import tiny_gguf
from tests.conftest import ROOT
from tests.harden import gguf_edit


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were tried, in order, with nothing known beforehand."""
    files: list[str] = []
    run = subprocess.run

    def counted(command: list[str], **more: Any) -> Any:
        files.append(Path(command[-1]).name)
        return run(command, **more)

    monkeypatch.setattr(trial_process.subprocess, "run", counted)
    return files


def test_sound_refused_and_deadly_files_are_told_apart(tmp_path: Path, tiny_llama: Path) -> None:
    assert survives(tiny_llama)
    assert not survives(tiny_gguf.cut(tiny_llama, tmp_path / "cut.gguf", 0.5))
    deadly = tiny_gguf.llama_with_one_token_twice(tmp_path / "twice.gguf")
    with pytest.raises(DeadlyFileError, match=r"ends the program \(llama-vocab\.cpp:\d+: GGML_ASSERT\(.*\) failed\)"):
        survives(deadly)
    assert not list(ROOT.glob("core*")), "no core file"


def test_a_file_that_asks_for_all_memory_is_refused(tmp_path: Path, tiny_llama: Path) -> None:
    path = tmp_path / "greedy.gguf"
    sound = gguf_edit.read(tiny_llama.read_bytes())
    path.write_bytes(sound.with_value("tokenizer.ggml.model", gguf_edit.Value(8, b"rwkv")).written())
    with pytest.raises(DeadlyFileError, match="bad_alloc"):
        survives(path)


def test_a_trial_that_somebody_else_ended_says_nothing_about_the_file(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_process.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, -15))
    monkeypatch.setattr(trial, "build_mark", lambda part: "new")
    with pytest.raises(ModelError, match="ended from outside"):
        require_survival(tiny_llama)
    assert trial._read(trial._place(tiny_llama)) is None


def test_a_file_that_hangs_is_given_up(tiny_llama: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"did not load within 0\.001 seconds"):
        survives(tiny_llama, timeout_s=0.001)


def test_a_file_is_tried_once_until_it_changes(tmp_path: Path, tried: list[str]) -> None:
    path = tiny_gguf.llama(tmp_path / "new.gguf")
    for _ in range(3):
        require_survival(path)
    assert tried == ["new.gguf"]
    os.utime(path, ns=(1, 1))
    require_survival(path)
    assert tried == ["new.gguf"] * 2


def test_a_deadly_file_is_refused_at_once_the_next_time(tmp_path: Path, tried: list[str]) -> None:
    path = tiny_gguf.llama_with_one_token_twice(tmp_path / "twice.gguf")
    for _ in range(2):
        with pytest.raises(DeadlyFileError, match="GGML_ASSERT"):
            require_survival(path)
    assert tried == ["twice.gguf"]


def test_another_build_of_the_library_tries_anew(
    tmp_path: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_gguf.llama(tmp_path / "new.gguf")
    require_survival(path)
    monkeypatch.setattr(trial, "build_mark", lambda part: "another")
    require_survival(path)
    assert tried == ["new.gguf"] * 2


def test_the_embedded_pair_is_not_tried(tried: list[str]) -> None:
    require_survival(main_path())
    require_survival(draft_path())
    assert tried == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"words": 3}', "\0\0"])
def test_a_damaged_note_is_made_anew(tmp_path: Path, tried: list[str], content: str) -> None:
    path = tiny_gguf.llama(tmp_path / "new.gguf")
    require_survival(path)
    (note,) = [note for note in (cache_folder() / "trials").iterdir() if note == trial._place(path)]
    note.write_text(content, encoding="utf-8")
    require_survival(path)
    assert tried == ["new.gguf"] * 2
    assert json.loads(note.read_text(encoding="utf-8")) == {"words": ""}


def test_without_a_place_for_notes_it_is_tried_each_time(
    tmp_path: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(trial, "cache_folder", lambda: tmp_path / "file")
    path = tiny_gguf.llama(tmp_path / "new.gguf")
    require_survival(path)
    require_survival(path)
    assert tried == ["new.gguf"] * 2


DOOR = """
import sys
from foredraft import LLM
from foredraft.core.errors import ForedraftError
from foredraft.models import facts, soundness
facts.check_soundness = lambda *_: None  # so that only the trial stands between the file and this process
try:
    LLM.load(sys.argv[1], "off")
except ForedraftError as error:
    sys.exit(f"typed: {error}")
"""


def test_loading_a_deadly_file_is_a_typed_error(tmp_path: Path) -> None:
    path = tiny_gguf.llama_with_one_token_twice(tmp_path / "twice.gguf")
    ran = subprocess.run(
        [sys.executable, "-c", DOOR, str(path)], capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert ran.returncode == 1
    assert "typed: " in ran.stderr
    assert "GGML_ASSERT" in ran.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is limited so on Linux")
def test_where_processes_have_little_memory_no_file_is_to_blame(tmp_path: Path, tiny_llama: Path) -> None:
    """Within `ulimit -v` a sound file passes; one that dies may only have lacked memory, and is tried again."""
    deadly = tiny_gguf.llama_with_one_token_twice(tmp_path / "twice.gguf")
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
from foredraft.core.errors import MemoryLimitError
from foredraft.engines.llamacpp.safe_load import require_survival
require_survival({str(tiny_llama)!r})
try:
    require_survival({str(deadly)!r})
except MemoryLimitError as error:
    print(error.free == 2**31 and "ulimit -v" in error.message)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert ran.stdout.strip() == "True", ran.stderr
    with pytest.raises(DeadlyFileError):
        require_survival(deadly)
