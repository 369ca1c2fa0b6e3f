"""An inflated file says what the small one says, at another shape."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from benchmarks.random_model import Shape, write_random_model
from foredraft.bench.inflate import SIZES, Target, inflate
from foredraft.core.errors import ModelError, ParameterError
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

TOKENS = [1, 270, 301, 5, 44, 299, 268, 280, 33, 120, 271, 272]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that is written and run in no time."""
    monkeypatch.setitem(SIZES, "tiny", Target(width=256, layers=5, feed_forward=320, kv_width=64))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    shape = Shape(width=96, layers=2, heads=3, kv_heads=1, feed_forward=160, n_vocab=320, n_ctx=128)
    return write_random_model(tmp_path / "small.gguf", shape, kind="f32", seed=4)


def logits(path: Path) -> np.ndarray:
    options = LoadOptions(n_ctx=64, n_threads=1, kv_type="f32", flash_attention="off", probe=False)
    engine = LlamaCppEngine(path, options)
    try:
        return engine.forward([Chunk(0, 0, TOKENS, len(TOKENS))])[0].copy()
    finally:
        engine.close()


def test_logits_stay(source: Path, tmp_path: Path) -> None:
    big = inflate(source, tmp_path / "big.gguf", "tiny", "f32")
    small, large = logits(source), logits(big)
    assert small.std() > 0.5
    assert np.abs(small - large).max() < 1e-3
    assert (small.argmax(1) == large.argmax(1)).all()


def test_grouped_queries_move_with_their_keys(tmp_path: Path) -> None:
    shape = Shape(width=128, layers=2, heads=4, kv_heads=2, feed_forward=96, n_vocab=320, n_ctx=128)
    small = write_random_model(tmp_path / "grouped.gguf", shape, kind="f32", seed=5)
    big = inflate(small, tmp_path / "big.gguf", "tiny", "f32")
    assert np.abs(logits(small) - logits(big)).max() < 1e-3


def test_q8_0_weights_are_kept_as_they_are(tmp_path: Path) -> None:
    shape = Shape(width=96, layers=1, heads=3, kv_heads=1, feed_forward=160, n_vocab=320, n_ctx=128)
    small = write_random_model(tmp_path / "small.gguf", shape, kind="q8_0", seed=6)
    big = inflate(small, tmp_path / "big.gguf", "tiny", "q8_0")
    old = {t.name: t for t in gguf.GGUFReader(small).tensors}
    new = {t.name: t for t in gguf.GGUFReader(big).tensors}
    for name in ("token_embd.weight", "blk.0.ffn_down.weight"):
        a = gguf.quants.dequantize(old[name].data, old[name].tensor_type)
        b = gguf.quants.dequantize(new[name].data, new[name].tensor_type)
        assert (b[: len(a), : a.shape[1]] == a).all()
        assert np.abs(b).sum() == pytest.approx(np.abs(a).sum(), rel=1e-5)


def test_the_same_file_each_time(source: Path, tmp_path: Path) -> None:
    one = inflate(source, tmp_path / "one.gguf", "tiny", "q4_0")
    two = inflate(source, tmp_path / "two.gguf", "tiny", "q4_0")
    assert one.read_bytes() == two.read_bytes()


def test_what_cannot_be_inflated_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError):
        inflate(source, tmp_path / "x.gguf", "2b")
    with pytest.raises(ParameterError):
        inflate(source, tmp_path / "x.gguf", "tiny", "q3")
    (tmp_path / "no.gguf").write_bytes(b"no model")
    with pytest.raises(ModelError):
        inflate(tmp_path / "no.gguf", tmp_path / "x.gguf", "tiny")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["no.gguf", "small.gguf"]
