"""A GGUF file with random weights: as large and as slow as a trained model of its shape, and free to make.

    python -m benchmarks.random_model PATH --size 0.5b --kind q8_0

The same arguments give the same file. Weights are made and written tensor by tensor, so memory stays small.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from foredraft.core.errors import ModelError, ParameterError


@dataclass(frozen=True, slots=True)
class Shape:
    """A llama-architecture model; output and input share their embedding."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    feed_forward: int
    n_vocab: int
    n_ctx: int = 4096

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(math.prod(size) for _, size in self.tensors())

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and sizes (rows, columns), in the order of the file."""
        kv_width = self.width // self.heads * self.kv_heads
        yield "token_embd.weight", (self.n_vocab, self.width)
        for layer in range(self.layers):
            block = f"blk.{layer}"
            yield f"{block}.attn_norm.weight", (self.width,)
            yield f"{block}.attn_q.weight", (self.width, self.width)
            yield f"{block}.attn_k.weight", (kv_width, self.width)
            yield f"{block}.attn_v.weight", (kv_width, self.width)
            yield f"{block}.attn_output.weight", (self.width, self.width)
            yield f"{block}.ffn_norm.weight", (self.width,)
            yield f"{block}.ffn_gate.weight", (self.feed_forward, self.width)
            yield f"{block}.ffn_up.weight", (self.feed_forward, self.width)
            yield f"{block}.ffn_down.weight", (self.width, self.feed_forward)
        yield "output_norm.weight", (self.width,)


SHAPES = {
    "tiny": Shape(width=64, layers=2, heads=4, kv_heads=2, feed_forward=96, n_vocab=320, n_ctx=256),
    "25m": Shape(width=384, layers=8, heads=6, kv_heads=6, feed_forward=1024, n_vocab=8192),
    "0.5b": Shape(width=896, layers=24, heads=14, kv_heads=2, feed_forward=4864, n_vocab=151_936),
    "1b": Shape(width=2048, layers=16, heads=32, kv_heads=8, feed_forward=8192, n_vocab=128_256),
}
KINDS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}
_PIECES = ("▁", *"etaoinshrdlucmfwypvbgkjqxz.,!?'", "▁the", "▁a", "he", "in", "er", "▁cat", "the", "cat")


def write_random_model(
    path: str | Path,
    shape: Shape = SHAPES["tiny"],
    *,
    kind: str = "f32",
    seed: int = 0,
    name: str = "random",
    vocabulary: Callable[[gguf.GGUFWriter], None] | None = None,
) -> Path:
    """Write the model and return its path. `vocabulary` writes the `shape.n_vocab` tokens; None makes some up.

    Raises `ParameterError` for an unknown kind, or a made-up vocabulary below 300.
    """
    path = Path(path)
    if kind not in KINDS:
        raise ParameterError("kind", kind, f"one of {', '.join(KINDS)}")
    if vocabulary is None and shape.n_vocab < 300:
        raise ParameterError("n_vocab", shape.n_vocab, "at least 300 (256 of them are single bytes)")
    numbers, file_type = KINDS[kind]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(file_type)
    writer.add_context_length(shape.n_ctx)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.n_vocab)
    if vocabulary is None:
        add_vocabulary(writer, shape.n_vocab)
    else:
        vocabulary(writer)
    for tensor, size in shape.tensors():
        stored = _stored_as(size, numbers)
        n_bytes = int(np.prod(gguf.quant_shape_to_byte_shape(size, stored)))
        writer.add_tensor_info(tensor, size, np.dtype(np.float32), n_bytes, stored)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for number, (tensor, size) in enumerate(shape.tensors()):
            stored = _stored_as(size, numbers)
            writer.write_tensor_data(gguf.quants.quantize(_weights(tensor, size, [seed, number]), stored))
    except OSError as error:
        raise ModelError(f"{path} cannot be written: {error.strerror}.", path=str(path)) from error
    finally:
        writer.close()
    return path


def add_vocabulary(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    """A SentencePiece vocabulary: three special tokens, every byte, letters and some words, then made-up ones."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *_PIECES]
    tokens += [f"▁w{number}" for number in range(n_vocab - len(tokens))]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256
    kinds += [gguf.TokenType.NORMAL] * (n_vocab - len(kinds))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens[:n_vocab])
    writer.add_token_scores([-float(number) for number in range(n_vocab)])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)


def _stored_as(size: tuple[int, ...], numbers: gguf.GGMLQuantizationType) -> gguf.GGMLQuantizationType:
    """Norms stay F32, as in every quantised model."""
    return numbers if len(size) == 2 else gguf.GGMLQuantizationType.F32


def _weights(name: str, size: tuple[int, ...], seed: list[int]) -> NDArray[np.float32]:
    """Norms of one; matrices that keep the variance of what goes through them; logits with a deviation of 2."""
    if len(size) == 1:
        return np.ones(size, dtype=np.float32)
    scale = (2.0 if name == "token_embd.weight" else 1.0) / size[1] ** 0.5
    weights: NDArray[np.float32] = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
    weights *= np.float32(scale)
    return weights


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_model", description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", choices=SHAPES, default="0.5b")
    parser.add_argument("--kind", choices=KINDS, default="q8_0")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    path = write_random_model(chosen.path, SHAPES[chosen.size], kind=chosen.kind, seed=chosen.seed)
    print(f"{path}: {path.stat().st_size / 2**20:,.0f} MiB")


if __name__ == "__main__":
    main()
