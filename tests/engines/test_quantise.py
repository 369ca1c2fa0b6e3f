"""llama.cpp's quantiser: a smaller file that says what it is and still writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from foredraft.core.errors import ModelError, ModelFormatError, ModelNotFoundError, ParameterError
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, quantise
from tests import tiny_gguf

OPTIONS = LoadOptions(n_threads=1)


@pytest.mark.parametrize(("kind", "name"), [("q8_0", "Q8_0"), ("F16", "F16"), ("q4_0", "Q4_0")])
def test_a_quantised_file_loads_and_says_so(tmp_path: Path, tiny_llama: Path, kind: str, name: str) -> None:
    path = quantise(tiny_llama, tmp_path / "small.gguf", kind)
    assert path.stat().st_size < tiny_llama.stat().st_size
    engine = LlamaCppEngine(path, OPTIONS)
    assert engine.info.quantisation == name
    assert engine.info.n_params == 82_240
    engine.close()
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_deterministic(tmp_path: Path, tiny_llama: Path) -> None:
    files = [quantise(tiny_llama, tmp_path / name, "q8_0") for name in ("a.gguf", "b.gguf")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_quantised_weights_can_be_quantised_again(tmp_path: Path, tiny_llama: Path) -> None:
    once = quantise(tiny_llama, tmp_path / "once.gguf", "q8_0")
    assert quantise(once, tmp_path / "twice.gguf", "q4_0").stat().st_size < once.stat().st_size


def test_what_cannot_work_is_refused_and_leaves_nothing(tmp_path: Path, tiny_llama: Path) -> None:
    target = tmp_path / "out.gguf"
    with pytest.raises(ParameterError, match="q8_0"):
        quantise(tiny_llama, target, "q99")
    with pytest.raises(ModelNotFoundError):
        quantise(tmp_path / "none.gguf", target, "q8_0")
    with pytest.raises(ParameterError, match="another file"):
        quantise(tiny_llama, tiny_llama, "q8_0")
    with pytest.raises(ModelError, match="cannot be written"):
        quantise(tiny_llama, tmp_path / "no" / "folder.gguf", "q8_0")
    assert list(tmp_path.iterdir()) == []
    cut = tiny_gguf.cut(tiny_llama, tmp_path / "cut.gguf", 0.5)
    with pytest.raises(ModelFormatError, match="incomplete"):
        quantise(cut, target, "q8_0")
    assert list(tmp_path.iterdir()) == [cut]
