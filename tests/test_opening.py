"""In whose process a model is loaded, and that it is the same model there."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import EngineDiedError, ModelFormatError, ModelNotFoundError, ParameterError
from foredraft.engines.isolated import IsolatedEngine
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, devices
from foredraft.pair.draft import PairDraft
from foredraft.pair.llm import LLM
from foredraft.pair.opening import LEAST_BYTES, isolation, open_draft
from tests import tiny_gguf

PROMPTS = ("What is 2 + 3?", "今日は何曜日？")


def sized(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_auto_isolates_large_files_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foredraft import demo

    options = LoadOptions()
    large, small = sized(tmp_path / "large.gguf", LEAST_BYTES), sized(tmp_path / "small.gguf", LEAST_BYTES - 1)
    monkeypatch.setattr(devices, "built_for_gpus", lambda: False)
    assert isolation(large, options, "auto").isolated
    assert "2%" in str(isolation(small, options, "auto").reason)
    assert "own file" in str(isolation(demo.main_path(), options, "auto").reason)
    for path in (large, small, demo.main_path()):
        assert isolation(path, options, "on").isolated
        assert not isolation(path, options, "off").isolated


def test_auto_leaves_what_runs_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = sized(tmp_path / "large.gguf", LEAST_BYTES)
    monkeypatch.setattr(devices, "built_for_gpus", lambda: True)
    assert "GPU" in str(isolation(large, LoadOptions(), "auto").reason)
    assert isolation(large, LoadOptions(gpu_layers=0), "auto").isolated
    assert isolation(large, LoadOptions(device="cpu"), "auto").isolated


def test_other_words_are_refused() -> None:
    with pytest.raises(ParameterError, match="isolation is 'maybe', but must be one of auto, on, off"):
        LoadSettings(isolation="maybe")


def test_a_pair_writes_the_same_in_processes_of_its_own(chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    said: dict[str, list[tuple[int, ...]]] = {}
    for wish in ("off", "on"):
        settings = LoadSettings(isolation=wish, context=1024, remember=False, controller="fixed", fixed_look_ahead=3)
        with LLM.load(main, draft, settings=settings) as llm:
            assert isinstance(llm.engine, IsolatedEngine if wish == "on" else LlamaCppEngine)
            assert [place.pid is not None for place in llm.places] == [wish == "on"] * 2
            assert llm.numerics is not None
            answers = [
                llm.chat(prompt, max_tokens=40, temperature=temperature, seed=7)
                for prompt in PROMPTS
                for temperature in (0.0, 1.0)
            ]
            texts = []
            for answer in answers:
                list(answer)
                texts.append(tuple(answer.result.tokens))
                assert answer.result.stats.accepted
            said[wish] = [*texts, (llm.engine.exact_rows or 0,)]
    assert said["on"] == said["off"]


def test_the_errors_of_a_load_are_the_same_there(tmp_path: Path) -> None:
    where = isolation(tmp_path, LoadOptions(), "on")
    with pytest.raises(ModelNotFoundError):
        open_draft(tmp_path / "none.gguf", LoadOptions(), where=where)
    cut = tiny_gguf.cut(tiny_gguf.llama(tmp_path / "tiny.gguf"), tmp_path / "cut.gguf", 0.5)
    with pytest.raises(ModelFormatError, match="damaged or incomplete"):
        open_draft(cut, LoadOptions(probe=False), where=where)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no SIGKILL")
def test_a_draft_that_dies_is_said_and_its_answer_goes_on(chat_pair: tuple[Path, Path]) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")
    settings = LoadSettings(
        isolation="on", probe=False, context=1024, remember=False, controller="fixed", fixed_look_ahead=3
    )
    with LLM.load(main, draft, settings=settings) as llm:
        ask = llm.request(llm.render(PROMPTS[0]), temperature=0.0, max_tokens=40, ignore_eos=True)
        expected = llm.generate(ask).tokens
        stream = llm.stream(ask)
        pieces = iter(stream)
        next(pieces)
        pid = llm.places[1].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        list(pieces)
        assert stream.result.tokens == expected
        assert llm.speculation.status == "unavailable"
        assert "SIGKILL" in str(llm.speculation.reason)
        assert llm.died is None
        main_pid = llm.places[0].pid
        assert main_pid is not None
        os.kill(main_pid, signal.SIGKILL)
        with pytest.raises(EngineDiedError):
            llm.generate(ask)
        assert llm.died is not None


def test_a_pair_that_cannot_be_measured_leaves_no_process(
    chat_pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    main, draft = chat_pair
    if not (main.is_file() and draft.is_file()):
        pytest.skip(f"no pair at {main}")

    def dies(*_: object, **__: object) -> None:
        raise EngineDiedError("draft", "SIGSEGV")

    monkeypatch.setattr(PairDraft, "_tune", dies)
    before = set(psutil.Process().children())
    with pytest.raises(EngineDiedError):
        LLM.load(main, draft, settings=LoadSettings(isolation="on", probe=False, context=256, remember=False))
    assert set(psutil.Process().children()) <= before
