"""What is particular to GGUF models: what a load reports, the kinds of memory, abort in the middle, no leaks."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.random_model import SHAPES
from foredraft.core.errors import CacheFullError, Cancelled, EngineError, NonFiniteLogitsError, RewindError
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.rewind import FORK
from tests import tiny_gguf

QUIET = LoadOptions(n_threads=1, probe=False)


@pytest.fixture(scope="module")
def engine(tiny_llama: Path) -> Iterator[LlamaCppEngine]:
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_slots=4))
    yield engine
    engine.close()


def greedy(engine: LlamaCppEngine, prompt: list[int], count: int) -> list[int]:
    engine.rewind(0, 0)
    row = engine.forward([Chunk(0, 0, prompt, 1)])[0][0]
    answer = []
    for _ in range(count):
        answer.append(int(row.argmax()))
        row = engine.forward([Chunk(0, engine.length(0), answer[-1:], 1)])[0][0]
    return answer


def test_what_a_load_reports(tiny_llama: Path) -> None:
    engine = LlamaCppEngine(tiny_llama, LoadOptions(n_threads=1, n_slots=2))
    info = engine.info
    assert (info.name, info.architecture, info.quantisation) == ("tiny", "llama", "F32")
    assert (info.n_vocab, info.n_ctx, info.n_ctx_train, info.n_slots) == (320, 256, 256, 2)
    assert info.path == str(tiny_llama)
    assert info.n_params == 82_240
    assert info.size_bytes == 4 * 82_240
    assert info.chat_template is None
    assert info.metadata["llama.block_count"] == "2"
    assert engine.rewind_limit.free
    assert engine.notes == []
    assert engine.numerics is not None
    assert set(engine.numerics.by_batch) == {2, 3, 4, 8, 17}
    assert engine.numerics.max_abs_diff < 0.05
    # 256 cells, 2 layers, 2 heads of 16 for K and V, 2 bytes; the library tells hundredths of a MiB
    assert engine.memory.kv == pytest.approx(256 * 2 * 2 * 32 * 2, abs=2**20 / 100)
    assert engine.memory.weights == engine.memory.mapped == pytest.approx(info.size_bytes, abs=2**20 / 100)
    assert engine.memory.total > engine.memory.weights + engine.memory.kv
    engine.close()


def test_a_long_context_is_cut_and_said_aloud(tmp_path: Path) -> None:
    path = tiny_gguf.llama(tmp_path / "long.gguf", shape=replace(SHAPES["tiny"], n_ctx=32_768))
    cut = LlamaCppEngine(path, QUIET)
    assert cut.info.n_ctx == 8192
    assert "8192" in str(cut.notes[0])
    assert "32768" in str(cut.notes[0])
    cut.close()
    asked = LlamaCppEngine(path, replace(QUIET, n_ctx=16_384))
    assert (asked.info.n_ctx, asked.notes) == (16_384, [])
    asked.close()


def test_a_context_beyond_training_is_given_and_said_aloud(tiny_llama: Path) -> None:
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_ctx=1000))
    assert engine.info.n_ctx == 1000
    assert "256" in str(engine.notes[0])
    engine.close()


def test_the_context_is_what_was_asked_for(tiny_llama: Path) -> None:
    """The library rounds its cells up to 256; a slot still holds no more than it was promised."""
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_ctx=100, n_slots=2))
    assert (engine.info.n_ctx, engine.info.n_batch) == (100, 100)
    engine.forward([Chunk(0, 0, [1] * 100)])
    with pytest.raises(CacheFullError, match="101 tokens, but the context is 100"):
        engine.forward([Chunk(0, 100, [1])])
    assert engine.length(0) == 100
    engine.close()


@pytest.mark.parametrize("kv_type", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("flash_attention", ["on", "off"])
def test_every_setting_writes_the_same_text(tiny_llama: Path, kv_type: str, flash_attention: str) -> None:
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, kv_type=kv_type, flash_attention=flash_attention))
    reference = LlamaCppEngine(tiny_llama, replace(QUIET, use_mmap=False))
    assert greedy(engine, [1, 259, 300], 12) == greedy(reference, [1, 259, 300], 12)
    assert reference.memory.mapped == 0 < engine.memory.mapped
    engine.close()
    reference.close()


def test_rows_beyond_those_loaded_for_are_refused(tiny_llama: Path) -> None:
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, max_rows=4))
    with pytest.raises(EngineError, match="5 rows of logits are wanted, but the engine was loaded for 4"):
        engine.forward([Chunk(0, 0, [1] * 8, 5)])
    assert engine.forward([Chunk(0, 0, [1] * 8, 4)])[0].shape == (4, 320)
    engine.close()


def test_fewer_rows_take_less_memory(tmp_path: Path) -> None:
    path = tiny_gguf.llama(tmp_path / "wide.gguf", shape=replace(SHAPES["tiny"], n_vocab=20_000))
    few, every = (LlamaCppEngine(path, replace(QUIET, max_rows=rows)) for rows in (16, 256))
    assert every.memory.compute - few.memory.compute > 0.9 * (256 - 16) * 20_000 * 4
    few.close()
    every.close()


def test_rows_are_views_of_one_buffer(engine: LlamaCppEngine) -> None:
    engine.rewind(0, 0)
    first = engine.forward([Chunk(0, 0, [1, 2, 3], 2)])[0]
    second = engine.forward([Chunk(0, 3, [4], 1)])[0]
    assert not first.flags.owndata
    assert np.shares_memory(first, second)


def test_a_buffer_that_grew_is_found_again(tiny_llama: Path) -> None:
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_slots=2))
    few = engine.forward([Chunk(0, 0, [1, 2], 1)])[0].copy()
    many = engine.forward([Chunk(1, 0, [1, 2, *range(3, 63)], 60)])[0]
    again = LlamaCppEngine(tiny_llama, replace(QUIET, n_slots=2))
    assert np.allclose(again.forward([Chunk(1, 0, [1, 2, *range(3, 63)], 60)])[0], many)
    assert np.array_equal(again.forward([Chunk(0, 0, [1, 2], 1)])[0], few)
    engine.close()
    again.close()


def test_an_aborted_pass_puts_every_slot_back(tiny_llama: Path) -> None:
    """The pass has many parts (n_ubatch), and the abort comes when some of them are done."""
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_ctx=1024, n_batch=1024, n_ubatch=16, n_slots=3))
    engine.forward([Chunk(0, 0, [1, 2, 3])])
    expected = engine.forward([Chunk(0, 3, [4], 1)])[0].copy()
    engine.rewind(0, 3)
    stop = threading.Event()

    def keep_aborting() -> None:
        while not stop.is_set():
            engine.abort()

    thread = threading.Thread(target=keep_aborting)
    thread.start()
    try:
        with pytest.raises(Cancelled):
            engine.forward([Chunk(0, 3, [5] * 500), Chunk(1, 0, [6] * 500, 1)])
    finally:
        stop.set()
        thread.join()
    assert [engine.length(slot) for slot in range(3)] == [3, 0, 0]
    assert np.array_equal(engine.forward([Chunk(0, 3, [4], 1)])[0], expected)
    engine.forward([Chunk(1, 0, [6] * 1000)])  # and its cells are free again
    engine.close()


def test_ctrl_c_during_a_pass_puts_every_slot_back(engine: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.rewind(0, 0)
    engine.forward([Chunk(0, 0, [1, 2, 3])])

    class Interrupted:
        """The library, but Ctrl-C comes while it decodes."""

        def __init__(self, api: object) -> None:
            self._api = api

        def __getattr__(self, name: str) -> object:
            return getattr(self._api, name)

        def llama_decode(self, *arguments: object) -> int:
            self._api.llama_decode(*arguments)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_api", Interrupted(engine._api))
        with pytest.raises(KeyboardInterrupt):
            engine.forward([Chunk(0, 3, [4, 5], 1)])
    assert engine.length(0) == 3
    after = engine.forward([Chunk(0, 3, [4], 1)])[0].copy()
    engine.rewind(1, 0)
    engine.forward([Chunk(1, 0, [1, 2, 3])])
    assert np.allclose(after, engine.forward([Chunk(1, 3, [4], 1)])[0], atol=1e-2)


def test_a_recurrent_model_says_that_it_cannot_go_back_anywhere(tmp_path: Path) -> None:
    engine = LlamaCppEngine(tiny_gguf.mamba(tmp_path / "mamba.gguf"), LoadOptions(n_threads=1, n_slots=2))
    assert engine.rewind_limit == FORK
    assert engine.numerics is not None
    engine.forward([Chunk(0, 0, [1, 2, 3])])
    with pytest.raises(RewindError, match="cannot take back the last 1 tokens"):
        engine.rewind(0, 2)
    with pytest.raises(RewindError, match="cannot copy 2 of the 3 tokens"):
        engine.copy(0, 1, 2)
    assert engine.length(0) == 3
    engine.copy(0, 1, 3)
    rows = engine.forward([Chunk(0, 3, [4], 1), Chunk(1, 3, [4], 1)])
    assert np.array_equal(rows[0], rows[1])
    engine.rewind(0, 0)
    engine.forward([Chunk(0, 0, [1, 2, 3, 4], 1)])
    assert engine.length(1) == 4
    engine.close()


def test_nan_logits_are_found_by_the_probe_and_only_there(tmp_path: Path) -> None:
    path = tiny_gguf.llama_nan(tmp_path / "nan.gguf")
    with pytest.raises(NonFiniteLogitsError):
        LlamaCppEngine(path, LoadOptions(n_threads=1))
    engine = LlamaCppEngine(path, QUIET)
    assert np.isnan(engine.forward([Chunk(0, 0, [1], 1)])[0].max())
    engine.close()


def test_memory_does_not_grow(tiny_llama: Path) -> None:
    """Thousands of rounds as speculation makes them, and a few loads."""
    engine = LlamaCppEngine(tiny_llama, replace(QUIET, n_slots=3, n_ctx=1024))

    def rounds(count: int) -> None:
        for number in range(count):
            for slot in (0, 1):
                if engine.length(slot) > 200:
                    engine.rewind(slot, number % 7)
            engine.forward([Chunk(slot, engine.length(slot), [3, 4, 5, 6], 4) for slot in (0, 1)])
            engine.rewind(0, engine.length(0) - 3)
            if number % 20 == 0:
                engine.rewind(2, 0)
                engine.copy(0, 2, engine.length(0) // 2)

    rounds(300)
    before = psutil.Process().memory_info().rss
    rounds(1500)
    engine.close()
    for _ in range(3):
        LlamaCppEngine(tiny_llama, QUIET).close()
    assert psutil.Process().memory_info().rss - before < 1.5 * 2**20  # a kilobyte a round


def test_the_chat_pair_is_ready_to_chat(chat_pair: tuple[Path, Path]) -> None:
    for path in chat_pair:
        engine = LlamaCppEngine(path, replace(QUIET, n_ctx=128))
        assert engine.info.chat_template
        assert engine.tokenizer.eos in engine.tokenizer.eog
        assert engine.tokenizer.encode("こんにちは 🙂", add_special=False)
        engine.close()


def test_the_story_model_tells_its_story(story_pair: tuple[Path, Path]) -> None:
    """The sample of the model's own page, word for word."""
    engine = LlamaCppEngine(story_pair[0], replace(QUIET, kv_type="f32"))
    prompt = engine.tokenizer.encode("Once upon a time")
    text = b"".join(map(engine.tokenizer.piece, greedy(engine, prompt, 65))).decode()
    assert text.startswith(", there was a little girl named Lily. She loved to play outside in the park.")
    engine.close()


def test_importing_the_engines_does_not_load_the_library() -> None:
    code = "import sys, foredraft.engines.llamacpp; print('llama_cpp' in sys.modules, 'psutil' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split()[0] == "False"


def test_nothing_is_printed(tiny_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    LlamaCppEngine(tiny_llama, LoadOptions(n_threads=1)).close()
    with pytest.raises(Exception, match="incomplete"):
        LlamaCppEngine(tiny_gguf.cut(tiny_llama, tmp_path / "cut.gguf", 0.5), QUIET)
    assert capfd.readouterr() == ("", "")
