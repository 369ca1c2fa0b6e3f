"""The random model is a sound GGUF file, the same every time; the bare loop writes what the engine writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.baseline import BareLoop, bare_loop
from benchmarks.random_model import SHAPES, main, write_random_model
from foredraft.core.errors import ModelError, ParameterError
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

OPTIONS = LoadOptions(n_threads=1, probe=False)


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0"])
def test_the_same_arguments_give_the_same_file(tmp_path: Path, kind: str) -> None:
    first = write_random_model(tmp_path / "a.gguf", kind=kind)
    second = write_random_model(tmp_path / "b.gguf", kind=kind)
    other = write_random_model(tmp_path / "c.gguf", kind=kind, seed=1)
    assert first.read_bytes() == second.read_bytes() != other.read_bytes()
    engine = LlamaCppEngine(first, OPTIONS)
    assert engine.info.quantisation == kind.upper()
    engine.close()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tiny.gguf"
    main([str(path), "--size", "tiny", "--kind", "f16"])
    assert str(path) in capsys.readouterr().out
    assert path.stat().st_size > 160_000


def test_sizes_are_what_they_say() -> None:
    def parameters(name: str) -> int:
        total = 0
        for _, size in SHAPES[name].tensors():
            total += size[0] * (size[1] if len(size) == 2 else 1)
        return total

    assert parameters("0.5b") == pytest.approx(0.5e9, rel=0.1)
    assert parameters("1b") == pytest.approx(1.2e9, rel=0.1)
    assert parameters("25m") < 30e6


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="kind"):
        write_random_model(tmp_path / "x.gguf", kind="q99")
    with pytest.raises(ModelError, match="cannot be written"):
        write_random_model(tmp_path / "no" / "x.gguf")


def test_the_bare_loop_writes_what_the_engine_writes(tiny_llama: Path) -> None:
    prompt = [1, 259, 300, 301]
    timed = bare_loop(tiny_llama, prompt, 12, OPTIONS)
    assert len(timed.tokens) == len(timed.seconds) == 12
    engine = LlamaCppEngine(tiny_llama, OPTIONS)
    row = engine.forward([Chunk(0, 0, prompt, 1)])[0][0]
    tokens = []
    for _ in range(12):
        tokens.append(int(row.argmax()))
        row = engine.forward([Chunk(0, engine.length(0), tokens[-1:], 1)])[0][0]
    engine.close()
    assert timed.tokens == tokens


def test_the_bare_loop_starts_afresh_each_time(tiny_llama: Path) -> None:
    loop = BareLoop(tiny_llama, OPTIONS)
    assert loop.run([1, 5, 6], 5).tokens == loop.run([1, 5, 6], 5).tokens
    loop.close()
    loop.close()
