"""Embedding models through llama.cpp, against BERT written out in numpy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest

from foredraft.core.errors import EngineError, UnsupportedModelError
from foredraft.engines.llamacpp import LlamaCppEmbedder, LoadOptions
from tests import tiny_gguf

ONE = LoadOptions(n_threads=1)
TEXTS = ["a cat", "the cat and the dog", "b"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCppEmbedder]:
    one = LlamaCppEmbedder(tiny_gguf.bert(tmp_path_factory.mktemp("bert") / "tiny.gguf"), ONE)
    yield one
    one.close()


def bert(tokens: Sequence[int], pooling: str) -> np.ndarray:
    """The vector of a text (Devlin et al. 2018): one layer, norms after, GELU."""
    w = {name: data.astype(np.float64) for name, data in tiny_gguf.bert_weights().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"blk.0.{name}.weight"].T + w[f"blk.0.{name}.bias"]

    n = len(tokens)
    x = w["token_embd.weight"][list(tokens)] + w["token_types.weight"][0] + w["position_embd.weight"][:n]
    x = norm(x, "token_embd_norm")
    q, k, v = (linear(x, f"attn_{part}").reshape(n, 4, 8).transpose(1, 0, 2) for part in "qkv")
    scores = np.exp(q @ k.transpose(0, 2, 1) / np.sqrt(8))
    seen = (scores / scores.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(n, 32)
    x = norm(linear(seen, "attn_output") + x, "blk.0.attn_output_norm")
    up = linear(x, "ffn_up")
    up = 0.5 * up * (1 + np.tanh(np.sqrt(2 / np.pi) * (up + 0.044715 * up**3)))
    x = norm(linear(up, "ffn_down") + x, "blk.0.layer_output_norm")
    pooled = {"mean": x.mean(0), "cls": x[0], "last": x[-1]}[pooling]
    return pooled / np.linalg.norm(pooled)


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
def test_vectors_are_those_of_the_model(tmp_path: Path, pooling: str) -> None:
    path = tiny_gguf.bert(tmp_path / "one.gguf", pooling=gguf.PoolingType[pooling.upper()])
    embedder = LlamaCppEmbedder(path, ONE)
    try:
        assert embedder.pooling == pooling
        assert embedder.dimensions == 32
        texts = [embedder.tokenizer.encode(text) for text in TEXTS]
        vectors = embedder.embed(texts)
        assert vectors.dtype == np.float32
        for text, vector in zip(texts, vectors, strict=True):
            assert vector == pytest.approx(bert(text, pooling), abs=2e-3)
    finally:
        embedder.close()


def test_the_texts_beside_a_text_do_not_change_its_vector(embedder: LlamaCppEmbedder) -> None:
    texts = [embedder.tokenizer.encode(text) for text in TEXTS]
    together = embedder.embed(texts)
    for text, vector in zip(texts, together, strict=True):
        assert embedder.embed([text])[0] == pytest.approx(vector, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert abs(together[0] @ together[1]) < 0.999


def test_a_pass_has_bounds(embedder: LlamaCppEmbedder) -> None:
    longest = embedder.info.n_ctx
    assert longest == 128
    assert embedder.embed([[5] * longest]).shape == (1, 32)
    assert embedder.embed([]).shape == (0, 32)
    for wrong in ([[5] * (longest + 1)], [[5] * 100, [6] * 100], [[5], []], [[320]], [[-1]], [[5]] * 65):
        with pytest.raises(EngineError):
            embedder.embed(wrong)
    assert embedder.embed([[5] * 3]).shape == (1, 32)


def test_an_encoder_that_names_no_pooling_takes_the_mean(tmp_path: Path) -> None:
    path = tiny_gguf.bert(tmp_path / "one.gguf", pooling=gguf.PoolingType.NONE)
    embedder = LlamaCppEmbedder(path, ONE)
    assert embedder.pooling == "mean"
    assert any("their mean is taken" in str(note) for note in embedder.notes)
    embedder.close()
    embedder.close()
    with pytest.raises(EngineError):
        embedder.embed([[5]])


def test_other_models_are_refused(tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="writes text"):
        LlamaCppEmbedder(tiny_llama, ONE)
    with pytest.raises(UnsupportedModelError, match="reranker"):
        LlamaCppEmbedder(tiny_gguf.bert(tmp_path / "rank.gguf", pooling=gguf.PoolingType.RANK), ONE)


def test_a_decoder_that_was_trained_to_embed(tmp_path: Path) -> None:
    """It reads through a KV cache, and forgets one pass before the next."""
    path = tiny_gguf.llama_that_embeds(tmp_path / "one.gguf")
    embedder = LlamaCppEmbedder(path, ONE)
    try:
        first = embedder.embed([[1, 5, 6, 7], [1, 8]])
        assert embedder.pooling == "last"
        assert embedder.embed([[1, 8]])[0] == pytest.approx(first[1], abs=1e-5)
        assert embedder.embed([[1, 5, 6, 7]])[0] == pytest.approx(first[0], abs=1e-5)
        assert embedder.embed([[1, 6, 5, 7]])[0] != pytest.approx(first[0], abs=1e-3)
    finally:
        embedder.close()


def test_word_pieces_stand_between_their_marks(tmp_path: Path) -> None:
    """The vocabulary of real models: [CLS] before a text, [SEP] behind it."""
    embedder = LlamaCppEmbedder(tiny_gguf.bert(tmp_path / "one.gguf", word_pieces=True), ONE)
    try:
        tokens = embedder.tokenizer.encode("The cats sleeping.", parse_special=False)
        assert [embedder.tokenizer.text(token) for token in tokens] == [
            *("[CLS]", "▁the", "▁cat", "s", "▁sleep", "ing", "▁.", "[SEP]")
        ]
        assert embedder.embed([tokens])[0] == pytest.approx(bert(tokens, "mean"), abs=2e-3)
    finally:
        embedder.close()
