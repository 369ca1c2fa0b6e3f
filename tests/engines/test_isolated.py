"""Engines in processes of their own: the same bits, and what happens when one of the two processes ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from foredraft import child, huge_pages
from foredraft.core.errors import Cancelled, EngineDiedError, EngineError, MemoryLimitError, ParameterError
from foredraft.engines.base import Chunk
from foredraft.engines.isolated import IsolatedEmbedder, IsolatedEngine
from foredraft.engines.isolated.wire import Kind
from foredraft.engines.llamacpp import LlamaCppEmbedder, LlamaCppEngine, LoadOptions
from foredraft.engines.toy import ToyEngine
from tests import tiny_gguf
from tests.conftest import ROOT
from tests.engines.openers import ASSERTION, DEADLY, ENDLESS, SECRET

TOY = "tests.engines.openers:toy"
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signals")


@pytest.fixture(autouse=True)
def children_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def toy() -> Iterator[IsolatedEngine]:
    engine = IsolatedEngine(TOY, {"n_slots": 2, "mortal": True})
    yield engine
    engine.close()


def gone(pid: int) -> bool:
    """Wait for a process to end."""
    try:
        psutil.Process(pid).wait(30)
    except psutil.NoSuchProcess:
        return True
    return not psutil.pid_exists(pid)


class Elsewhere:
    """Something that is done on another thread, and its outcome."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._future = self._pool.submit(work)

    @property
    def done(self) -> bool:
        return self._future.done()

    def outcome(self) -> Any:
        try:
            return self._future.result(60)
        finally:
            self._pool.shutdown()


# ---- the same as here ----


def passes(engine: Any) -> list[np.ndarray]:
    """Prompts, rounds with guesses that are taken back, two slots in one pass: every row."""
    rng = np.random.default_rng(4)
    prompt, other = (rng.integers(engine.info.n_vocab, size=size).tolist() for size in (90, 30))
    rows = [engine.forward([Chunk(0, 0, prompt[:60])]), engine.forward([Chunk(0, 60, prompt[60:], 30)])]
    rows = [[row.copy() for row in of] for of in rows]
    for turn in range(6):
        length = engine.length(0)
        chunks = [Chunk(0, length, prompt[turn : turn + 5], 5), Chunk(1, engine.length(1), other[turn : turn + 2], 1)]
        rows.append([row.copy() for row in engine.forward(chunks)])
        engine.rewind(0, length + 2)
    engine.copy(0, 1, 70)
    rows.append([row.copy() for row in engine.forward([Chunk(1, 70, [3], 1)])])
    return [row for of in rows for row in of]


def same_bits(path: Path, **options: Any) -> None:
    here = LlamaCppEngine(path, LoadOptions(**options))
    there = IsolatedEngine("tests.engines.openers:llamacpp", {"path": str(path), **options})
    try:
        assert there.info == here.info
        assert there.options == here.options
        assert there.numerics == here.numerics or not options.get("probe", True)
        for ours, theirs in zip(passes(here), passes(there), strict=True):
            assert ours.tobytes() == theirs.tobytes()
        tokenizer = here.tokenizer
        for text in ("Hello, world!\n 1234 <|im_end|>", "é ü 漢字 🙂", "", "\udcff broken"):
            for special in (True, False):
                assert there.tokenizer.encode(text, parse_special=special) == tokenizer.encode(
                    text, parse_special=special
                )
        for token in (0, 1, 255, 256, tokenizer.n_vocab - 1):
            assert there.tokenizer.text(token) == tokenizer.text(token)
            for special in (True, False):
                assert there.tokenizer.piece(token, special=special) == tokenizer.piece(token, special=special)
        for name in ("kind", "n_vocab", "bos", "eos", "add_bos", "add_eos", "eog"):
            assert getattr(there.tokenizer, name) == getattr(tokenizer, name), name
    finally:
        here.close()
        there.close()


def test_every_bit_is_that_of_the_engine_in_this_process(tiny_llama: Path) -> None:
    same_bits(tiny_llama, n_ctx=256, n_slots=2, n_threads=1, probe=False)


@pytest.mark.real
def test_every_bit_of_a_trained_model(real_model: Path) -> None:
    same_bits(real_model, n_ctx=512, n_slots=2, n_threads=1, probe=False)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux gives huge pages to whoever asks")
def test_the_environment_asks_for_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages, "environment", lambda environ: {"GLIBC_TUNABLES": "asked for"})
    engine = IsolatedEngine("tests.engines.openers:toy")
    told = Path(f"/proc/{engine.pid}/environ").read_text(encoding="utf-8").split("\0")
    engine.close()
    assert "GLIBC_TUNABLES=asked for" in told


def test_numerics_and_options_cross(tiny_llama: Path) -> None:
    there = IsolatedEngine("tests.engines.openers:llamacpp", {"path": str(tiny_llama), "n_threads": 1})
    assert there.numerics is not None
    assert 1 in there.numerics.by_batch or 2 in there.numerics.by_batch
    assert isinstance(there.options, LoadOptions)
    there.close()


def test_vectors_are_those_of_the_engine_in_this_process(tmp_path: Path) -> None:
    path = tiny_gguf.bert(tmp_path / "tiny.gguf")
    here = LlamaCppEmbedder(path, LoadOptions(n_threads=1))
    there = IsolatedEmbedder("tests.engines.openers:embedder", {"path": str(path)})
    texts = [[1, 2, 3], [4, 5]]
    assert (there.dimensions, there.pooling, there.info) == (here.dimensions, here.pooling, here.info)
    assert there.embed(texts).tobytes() == here.embed(texts).tobytes()
    assert there.embed([]).shape == here.embed([]).shape
    with pytest.raises(EngineError, match="outside the vocabulary"):
        there.embed([[10**6]])
    here.close()
    there.close()


def test_rows_stay_what_they_are_until_the_next_pass(toy: IsolatedEngine) -> None:
    first = toy.forward([Chunk(0, 0, [2, 3], 2)])[0]
    kept = first.copy()
    toy.rewind(0, 1)
    assert np.array_equal(first, kept)
    toy.forward([Chunk(0, 1, [5], 1)])
    assert not np.array_equal(first, kept)


# ---- loading ----


def test_what_the_load_raises_is_raised_here_with_its_numbers() -> None:
    with pytest.raises(MemoryLimitError) as caught:
        IsolatedEngine(TOY, {"dies": "refused"})
    assert (caught.value.needed, caught.value.free, caught.value.path) == (5, 3, "toy.gguf")
    with pytest.raises(EngineError, match="no error of ours"):
        IsolatedEngine(TOY, {"dies": "fault"})


@needs_signals
def test_a_process_that_ends_while_it_loads_is_a_typed_error() -> None:
    with pytest.raises(EngineDiedError, match=r"toy\.gguf has ended \(SIGKILL") as caught:
        IsolatedEngine(TOY, {"dies": "killed", "path": "toy.gguf"})
    assert caught.value.ended == "SIGKILL"


def test_what_the_progress_raises_ends_the_load_and_the_process() -> None:
    before = set(psutil.Process().children())

    def interrupt(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        IsolatedEngine(TOY, {}, progress=interrupt)
    assert set(psutil.Process().children()) <= before


def test_the_progress_is_told() -> None:
    shares: list[float] = []
    IsolatedEngine(TOY, {}, progress=shares.append).close()
    assert shares == [0.5, 1.0]


# ---- ending a pass ----


def test_abort_reaches_a_running_pass_and_no_later_one(toy: IsolatedEngine) -> None:
    toy.forward([Chunk(0, 0, [2, 3])])
    for _ in range(5):
        running = Elsewhere(lambda: toy.forward([Chunk(0, 2, [4] * ENDLESS, 1)]))
        while not running.done:
            toy.abort()
        with pytest.raises(Cancelled):
            running.outcome()
        assert toy.length(0) == 2
        toy.abort()
        assert toy.forward([Chunk(0, 2, [4], 1)])[0].shape == (1, toy.info.n_vocab)
        toy.rewind(0, 2)


def test_an_abort_that_comes_late_or_early_hits_its_own_pass(toy: IsolatedEngine) -> None:
    """The two sockets are not in step: as if it had been sent during the pass before, and before this one had begun."""
    toy.forward([Chunk(0, 0, [2, 3])])
    process = toy._process
    before = next(process._passes)
    running = Elsewhere(lambda: toy.forward([Chunk(0, 2, [4] * ENDLESS, 1)]))
    while not process._running:
        time.sleep(0.001)
    process._side.send(Kind.ABORT, before)
    for _ in range(300):  # round trips: by now it has come, and done what it does
        toy.tokenizer.encode("the cat")
    assert not running.done
    toy.abort()
    with pytest.raises(Cancelled):
        running.outcome()
    process._side.send(Kind.ABORT, before + 2)
    toy.tokenizer.encode("the cat")
    with pytest.raises(Cancelled):
        toy.forward([Chunk(0, 2, [4] * ENDLESS, 1)])


def test_a_text_becomes_tokens_while_a_pass_runs(toy: IsolatedEngine) -> None:
    running = Elsewhere(lambda: toy.forward([Chunk(0, 0, [4] * ENDLESS, 1)]))
    assert toy.tokenizer.encode("the cat", add_special=False)
    assert toy.tokenizer.piece(5)
    assert not running.done
    while not running.done:
        toy.abort()
    with pytest.raises(Cancelled):
        running.outcome()


@needs_signals
def test_ctrl_c_ends_the_pass_and_puts_every_slot_back(toy: IsolatedEngine) -> None:
    toy.forward([Chunk(0, 0, [2, 3])])
    begins = threading.Event()

    def interrupt() -> None:
        assert begins.wait(30)
        for _ in range(20):  # round trips: by now the pass runs
            toy.tokenizer.encode("the cat")
        os.kill(os.getpid(), signal.SIGINT)

    def endless_pass() -> None:
        begins.set()
        toy.forward([Chunk(0, 2, [4] * ENDLESS, 1)])

    user = threading.Thread(target=interrupt)
    # whoever runs the tests in the background has Ctrl-C switched off
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        user.start()
        with pytest.raises(KeyboardInterrupt):
            endless_pass()
        user.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert toy.length(0) == 2
    assert toy.forward([Chunk(0, 2, [4], 1)])[0].shape == (1, toy.info.n_vocab)


@needs_signals
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_being_told_to_end_is_for_the_program_not_for_its_processes(toy: IsolatedEngine, name: str) -> None:
    assert os.getpgid(toy.pid) != os.getpgid(0)
    os.kill(toy.pid, getattr(signal, name))
    assert toy.forward([Chunk(0, 0, [4], 1)])[0].shape == (1, toy.info.n_vocab)


# ---- death ----


@needs_signals
def test_the_library_s_last_words_are_told_and_nothing_else(toy: IsolatedEngine) -> None:
    with pytest.raises(EngineDiedError) as caught:
        toy.forward([Chunk(0, 0, [4] * DEADLY, 1)])
    assert caught.value.ended == "SIGABRT"
    assert caught.value.words == ASSERTION
    assert SECRET not in str(caught.value)
    assert toy.died is not None
    for after in (
        lambda: toy.forward([Chunk(0, 0, [4], 1)]),
        lambda: toy.copy(0, 1, 0),
        lambda: toy.tokenizer.encode("the cat"),
    ):
        with pytest.raises(EngineDiedError, match="SIGABRT"):
            after()
    toy.abort()


@needs_signals
def test_whoever_waits_is_told_when_the_process_is_killed(toy: IsolatedEngine) -> None:
    running = Elsewhere(lambda: toy.forward([Chunk(0, 0, [4] * ENDLESS, 1)]))
    toy.tokenizer.encode("the cat")
    os.kill(toy.pid, signal.SIGKILL)
    with pytest.raises(EngineDiedError, match="memory ran out"):
        running.outcome()


@needs_signals
def test_a_process_that_dies_idle_is_noticed(toy: IsolatedEngine) -> None:
    os.kill(toy.pid, signal.SIGKILL)
    while toy.died is None:
        time.sleep(0.01)
    assert toy.died.ended == "SIGKILL"


def test_closing_ends_the_process_and_leaves_what_was_read(toy: IsolatedEngine) -> None:
    rows = toy.forward([Chunk(0, 0, [2, 3], 2)])[0]
    kept, pid = rows.copy(), toy.pid
    toy.close()
    assert gone(pid)
    assert np.array_equal(rows, kept)
    assert toy.died is None
    with pytest.raises(EngineError, match="closed"):
        toy.tokenizer.encode("the cat")
    with pytest.raises(ParameterError):
        toy.tokenizer.piece(10**6)


PARENT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from foredraft.engines.isolated import IsolatedEngine
from foredraft.engines.base import Chunk
engine = IsolatedEngine({TOY!r}, {{"mortal": True}})
print(engine.pid, flush=True)
if sys.argv[1] == "working":
    engine.forward([Chunk(0, 0, [4] * {ENDLESS}, 1)])
sys.stdin.read()
"""


@needs_signals
@pytest.mark.parametrize("doing", ["working", "idle"])
def test_the_process_ends_with_its_parent_however_that_ends(doing: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, doing],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=child.environment({"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}),
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
        parent.wait()
        assert gone(pid)


@needs_signals
def test_a_file_that_is_cut_while_it_is_mapped_ends_its_process_only(tmp_path: Path) -> None:
    path = tiny_gguf.llama(tmp_path / "cut.gguf")
    engine = IsolatedEngine(
        "tests.engines.openers:llamacpp",
        {"path": str(path), "n_ctx": 256, "n_threads": 1, "probe": False, "use_mmap": True, "repack": False},
    )
    engine.forward([Chunk(0, 0, [1, 2, 3], 1)])
    os.truncate(path, 4096)
    with pytest.raises(EngineDiedError) as caught:
        engine.forward([Chunk(0, 3, [1, 2, 3], 1)])
    assert caught.value.ended == "SIGBUS"
    engine.close()


def test_the_toy_here_writes_what_the_toy_there_does(toy: IsolatedEngine) -> None:
    here = ToyEngine.random(3, n_slots=2)
    chunk = Chunk(0, 0, [2, 3, 4], 3)
    assert np.array_equal(here.forward([chunk])[0], toy.forward([chunk])[0])
