"""Small GGUF files made on the spot, sound ones and broken ones, so that a fresh clone can test the real engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np

from benchmarks.random_model import SHAPES, Shape, add_vocabulary, write_random_model

LLAMA = SHAPES["tiny"]


def llama(path: Path, *, kind: str = "f32", seed: int = 0, shape: Shape = LLAMA) -> Path:
    """A random llama of 82,000 parameters: 320 tokens, 2 layers, context 256."""
    return write_random_model(path, shape, kind=kind, seed=seed, name="tiny")


def llama_nan(path: Path) -> Path:
    """The same, but every logit is NaN."""
    return _edited(path, lambda name, data: data * np.float32("nan") if name == "output_norm.weight" else data)


def llama_with_one_token_twice(path: Path) -> Path:
    """Two tokens of one text: llama.cpp asserts that there are none, and ends the process."""
    data = llama(path).read_bytes()
    path.write_bytes(data.replace("▁cat".encode(), "▁w10".encode(), 1))
    return path


def vocabulary_only(path: Path) -> Path:
    """A llama header and a tokenizer, and no weights."""
    writer = _llama_header(path)
    _finish(writer)
    return path


def llama_that_embeds(path: Path) -> Path:
    """A llama with pooling in its header: the last token's vector is the text's."""
    writer = _llama_header(path)
    writer.add_pooling_type(gguf.PoolingType.LAST)
    rng = np.random.default_rng(0)
    for name, size in LLAMA.tensors():
        writer.add_tensor(name, rng.standard_normal(size, dtype=np.float32))
    _finish(writer)
    return path


def unknown_architecture(path: Path) -> Path:
    writer = gguf.GGUFWriter(path, "hyperllama")
    add_vocabulary(writer, 320)
    _finish(writer)
    return path


def without_tokenizer(path: Path) -> Path:
    """A sound llama whose vocabulary is only a number."""
    writer = _llama_header(path, vocabulary=False)
    writer.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(0)
    for name, size in LLAMA.tensors():
        writer.add_tensor(name, rng.standard_normal(size, dtype=np.float32))
    _finish(writer)
    return path


def bert(
    path: Path,
    *,
    pooling: gguf.PoolingType = gguf.PoolingType.MEAN,
    seed: int = 0,
    name: str = "tiny-bert",
    word_pieces: bool = False,
) -> Path:
    """An embedding model: a random BERT of one layer, 32 numbers wide; texts of up to 128 tokens. `word_pieces` gives
    it the kind of vocabulary that real ones have."""
    width, n_vocab = 32, 320
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name(name)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(1e-5)
    writer.add_causal_attention(False)
    writer.add_pooling_type(pooling)
    if word_pieces:
        _add_word_pieces(writer, n_vocab)
    else:
        add_vocabulary(writer, n_vocab)
    writer.add_token_type_count(2)
    for tensor, data in bert_weights(seed).items():
        writer.add_tensor(tensor, data)
    _finish(writer)
    return path


def _add_word_pieces(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    """BERT's vocabulary as converters write it: "▁" begins a word, what goes on a word has no mark."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁the", "▁cat", "▁dog", "s", "▁sleep", "ing", "▁.", "▁é"]
    kinds = [gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (n_vocab - 5)
    tokens += [f"▁w{number}" for number in range(n_vocab - len(tokens))]
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)


def bert_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """The tensors of `bert`, by name; matrices are (out, in)."""
    width, n_vocab = 32, 320
    shapes = {"token_embd.weight": (n_vocab, width), "position_embd.weight": (128, width)}
    shapes |= {"token_types.weight": (2, width), "token_embd_norm.weight": (width,), "token_embd_norm.bias": (width,)}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes |= {f"blk.0.{part}.weight": (width, width), f"blk.0.{part}.bias": (width,)}
    for part in ("attn_output_norm", "layer_output_norm"):
        shapes |= {f"blk.0.{part}.weight": (width,), f"blk.0.{part}.bias": (width,)}
    shapes |= {"blk.0.ffn_up.weight": (64, width), "blk.0.ffn_up.bias": (64,)}
    shapes |= {"blk.0.ffn_down.weight": (width, 64), "blk.0.ffn_down.bias": (width,)}
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape).astype(np.float32) * 0.5 for name, shape in shapes.items()}


def mamba(path: Path) -> Path:
    """A recurrent model: Mamba of two layers, which cannot take tokens back."""
    width, inner, state, dt_rank, conv, n_vocab = 32, 64, 8, 2, 4, 320
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(dt_rank)
    writer.add_layer_norm_rms_eps(1e-5)
    add_vocabulary(writer, n_vocab)

    def add(name: str, *shape: int, scale: float = 0.2) -> None:
        writer.add_tensor(name, scale * rng.standard_normal(shape, dtype=np.float32))

    add("token_embd.weight", n_vocab, width)
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    for layer in range(2):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(width, dtype=np.float32))
        add(f"{block}.ssm_in.weight", 2 * inner, width)
        add(f"{block}.ssm_conv1d.weight", inner, conv)
        add(f"{block}.ssm_conv1d.bias", inner)
        add(f"{block}.ssm_x.weight", dt_rank + 2 * state, inner)
        add(f"{block}.ssm_dt.weight", inner, dt_rank)
        add(f"{block}.ssm_dt.bias", inner)
        writer.add_tensor(f"{block}.ssm_a", -np.ones((inner, state), dtype=np.float32))
        writer.add_tensor(f"{block}.ssm_d", np.ones(inner, dtype=np.float32))
        add(f"{block}.ssm_out.weight", width, inner)
    _finish(writer)
    return path


def cut(source: Path, path: Path, keep: float) -> Path:
    """The first part of a file, as a broken download leaves it."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def _llama_header(path: Path, *, vocabulary: bool = True) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(LLAMA.n_ctx)
    writer.add_embedding_length(LLAMA.width)
    writer.add_block_count(LLAMA.layers)
    writer.add_feed_forward_length(LLAMA.feed_forward)
    writer.add_head_count(LLAMA.heads)
    writer.add_head_count_kv(LLAMA.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(LLAMA.width // LLAMA.heads)
    writer.add_vocab_size(LLAMA.n_vocab)
    if vocabulary:
        add_vocabulary(writer, LLAMA.n_vocab)
    return writer


def _edited(path: Path, edit: Callable[[str, np.ndarray], np.ndarray]) -> Path:
    writer = _llama_header(path)
    rng = np.random.default_rng(0)
    for name, size in LLAMA.tensors():
        writer.add_tensor(name, edit(name, rng.standard_normal(size, dtype=np.float32)))
    _finish(writer)
    return path


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
