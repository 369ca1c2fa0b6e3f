"""The same text at a bigger model's cost: a small GGUF, widened and deepened with zeros.

The file written here has the logits of the model it was made from, and the work of a model of 0.5 to 8 billion
parameters. With it speculation is measured at real cost with real acceptance, without a download.

    python -m training.inflate main.gguf big.gguf --size 1b --kind q8_0

Why the logits stay (d, D: width before and after):

- The stream of D numbers holds the old d, then zeros: embedding rows get zero columns, and whatever writes to the
  stream gets zero rows.
- RMSNorm divides by √(mean(x²) + ε). Over D numbers the mean is d/D of what it was, so ε becomes ε·d/D; the quotient is
  then √(D/d) too large, which the norm's weight takes back as w·√(d/D).
- New heads have zero values and unread outputs. The head size stays, so rotary positions and the 1/√h of the scores are
  untouched; query heads move to where their key-value head serves them (grouped queries).
- New feed-forward columns are multiplied by zero columns of the down matrix.
- New layers write zeros to the stream: their output and down matrices are zero.

Zeros cost what other numbers cost: no kernel of llama.cpp looks at values. The vocabulary stays (a draft must share
it), so the share of a big vocabulary's output matrix is given to layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from foredraft.core import files
from foredraft.core.errors import ModelError, ParameterError

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Target:
    """The shape to reach; `kv_width` is the width of keys (and of values) of one layer."""

    width: int
    layers: int
    feed_forward: int
    kv_width: int


SIZES = {
    "0.5b": Target(width=1024, layers=32, feed_forward=4096, kv_width=256),
    "1b": Target(width=2048, layers=16, feed_forward=8192, kv_width=512),
    "3b": Target(width=3072, layers=31, feed_forward=8192, kv_width=512),
    "8b": Target(width=4096, layers=37, feed_forward=14336, kv_width=512),
}
KINDS = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}


@dataclass(frozen=True, slots=True)
class Source:
    """What is read from the small file; tensors become float32 when they are asked for."""

    path: Path
    fields: dict[str, gguf.ReaderField]
    tensors: dict[str, gguf.ReaderTensor]

    def number(self, key: str) -> Any:
        field = self.fields.get(f"llama.{key}")
        if field is None:
            raise ModelError(f"{self.path} does not say its {key}.", path=str(self.path))
        return field.contents()

    def matrix(self, name: str) -> Matrix:
        """(rows, columns), or (columns,) for a norm."""
        tensor = self.tensors[name]
        weights: Matrix = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        return weights


@dataclass(frozen=True, slots=True)
class Piece:
    """One tensor of the new file: its shape (rows, columns) and the rows that are not zero."""

    name: str
    shape: tuple[int, ...]
    filled: dict[int, Matrix]
    """First row of a run of rows → the rows, not yet padded to the new number of columns."""
    columns: dict[int, slice] | None = None
    """First column of a run → the columns of the old matrix that go there; None: they begin at 0."""


def inflate(src: str | Path, dst: str | Path, size: str = "1b", kind: str = "q8_0") -> Path:
    """Write `src` (a llama-architecture GGUF) to `dst` at the shape of `size`, and return `dst`.

    `kind` is the number type of the matrices. From a Q8_0 source, `q8_0` keeps every weight as it is (its blocks of 32
    stay together), `f16` and `f32` hold them too; `q4_0` rounds them, as it would at the small size.
    Raises `ParameterError` for an unknown size or kind, `ModelError` for a source that cannot be widened.
    """
    if size not in SIZES:
        raise ParameterError("size", size, f"one of {', '.join(SIZES)}")
    if kind not in KINDS:
        raise ParameterError("kind", kind, f"one of {', '.join(KINDS)}")
    source, target, dst = _read(Path(src)), SIZES[size], Path(dst)
    numbers, file_type = KINDS[kind]
    heads = Heads.of(source, target)
    pieces = list(_pieces(source, target, heads))
    unfinished = dst.with_name(dst.name + ".part")
    writer = gguf.GGUFWriter(unfinished, "llama")
    try:
        _copy_fields(source, writer)
        writer.add_name(f"{_text(source, 'general.name')} at the size of {size}")
        writer.add_file_type(file_type)
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_embedding_length(target.width)
        writer.add_block_count(target.layers)
        writer.add_feed_forward_length(target.feed_forward)
        writer.add_head_count(heads.count)
        writer.add_head_count_kv(heads.kv)
        writer.add_key_length(heads.size)
        writer.add_value_length(heads.size)
        width = source.number("embedding_length")
        writer.add_layer_norm_rms_eps(source.number("attention.layer_norm_rms_epsilon") * width / target.width)
        for piece in pieces:
            stored = numbers if len(piece.shape) == 2 else gguf.GGMLQuantizationType.F32
            n_bytes = int(np.prod(gguf.quant_shape_to_byte_shape(piece.shape, stored)))
            writer.add_tensor_info(piece.name, piece.shape, np.dtype(np.float32), n_bytes, stored)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for piece in pieces:
            stored = numbers if len(piece.shape) == 2 else gguf.GGMLQuantizationType.F32
            writer.write_tensor_data(_bytes(piece, stored))
        writer.close()
        files.replace(unfinished, dst)
        return dst
    except OSError as error:
        raise ModelError(f"{dst} cannot be written: {error.strerror}.", path=str(dst)) from error
    finally:
        writer.close()
        unfinished.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Heads:
    """Where the old heads go. `size` is the head size, which stays; `group` is query heads for each key-value head."""

    size: int
    count: int
    kv: int
    old_count: int
    old_kv: int

    @property
    def group(self) -> int:
        return self.count // self.kv

    @classmethod
    def of(cls, source: Source, target: Target) -> Heads:
        old = int(source.number("attention.head_count"))
        old_kv = int(source.number("attention.head_count_kv"))
        size = int(source.number("embedding_length")) // old
        heads = cls(size, target.width // size, target.kv_width // size, old, old_kv)
        fits = heads.kv >= old_kv and heads.count % heads.kv == 0 and heads.group >= old // old_kv
        if not fits or size * old != source.number("embedding_length") or target.width % size:
            raise ModelError(
                f"{source.path} has {old} heads of {size} with {old_kv} for keys, which do not fit "
                f"into a width of {target.width} with {target.kv_width} for keys.",
                path=str(source.path),
            )
        return heads

    def query(self, head: int) -> int:
        """The new place of an old query head: with the key-value head that serves it."""
        old_group = self.old_count // self.old_kv
        return head // old_group * self.group + head % old_group


def _read(path: Path) -> Source:
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as GGUF: {error}.", path=str(path)) from error
    source = Source(path, dict(reader.fields), {t.name: t for t in reader.tensors})
    if _text(source, "general.architecture") != "llama":
        raise ModelError(f"{path} is not of the llama architecture.", path=str(path))
    known = {"token_embd.weight", "output.weight", "output_norm.weight"}
    parts = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
    known |= {f"blk.{i}.{part}.weight" for i in range(source.number("block_count")) for part in parts}
    if others := set(source.tensors) - known:
        raise ModelError(f"{path} has tensors that inflating does not know: {min(others)}.", path=str(path))
    return source


def _text(source: Source, key: str) -> str:
    field = source.fields.get(key)
    return str(field.contents()) if field else ""


_REPLACED = {
    "general.architecture", "general.name", "general.file_type", "general.quantization_version",
    "llama.embedding_length", "llama.block_count", "llama.feed_forward_length", "llama.attention.head_count",
    "llama.attention.head_count_kv", "llama.attention.layer_norm_rms_epsilon", "llama.attention.key_length",
    "llama.attention.value_length",
}  # fmt: skip


def _copy_fields(source: Source, writer: gguf.GGUFWriter) -> None:
    """Everything else of the header, the tokenizer above all, as it is."""
    for key, field in source.fields.items():
        if key.startswith("GGUF.") or key in _REPLACED:
            continue
        sub_type = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=sub_type)


def _pieces(source: Source, target: Target, heads: Heads) -> Iterator[Piece]:
    """All tensors of the new file, in order. Matrices of the source are read when their bytes are made."""
    width, wide, deep = source.number("embedding_length"), target.width, target.feed_forward
    kv = heads.kv * heads.size
    n_vocab = source.tensors["token_embd.weight"].data.shape[0]
    shrink = np.float32((width / wide) ** 0.5)

    def norm(name: str, old: str | None) -> Piece:
        return Piece(name, (wide,), {0: source.matrix(old)[None] * shrink} if old else {})

    def plain(name: str, shape: tuple[int, int], old: str | None) -> Piece:
        return Piece(name, shape, {0: source.matrix(old)} if old else {})

    def by_head(name: str, rows: int, old: str | None, query: bool) -> Piece:
        """Rows in runs of one head; keys and values keep their order."""
        if old is None:
            return Piece(name, (rows, wide), {})
        matrix, count = source.matrix(old), heads.old_count if query else heads.old_kv
        runs = {
            (heads.query(i) if query else i) * heads.size: matrix[i * heads.size : (i + 1) * heads.size]
            for i in range(count)
        }
        return Piece(name, (rows, wide), runs)

    yield plain("token_embd.weight", (n_vocab, wide), "token_embd.weight")
    for i in range(target.layers):
        block = f"blk.{i}."
        real = i < source.number("block_count")

        def old(part: str, block: str = block, real: bool = real) -> str | None:
            return f"{block}{part}.weight" if real else None

        yield norm(f"{block}attn_norm.weight", old("attn_norm"))
        yield by_head(f"{block}attn_q.weight", wide, old("attn_q"), query=True)
        yield by_head(f"{block}attn_k.weight", kv, old("attn_k"), query=False)
        yield by_head(f"{block}attn_v.weight", kv, old("attn_v"), query=False)
        moved = {heads.query(h) * heads.size: slice(h * heads.size, (h + 1) * heads.size)
                 for h in range(heads.old_count)}  # fmt: skip
        output = old("attn_output")
        yield Piece(f"{block}attn_output.weight", (wide, wide), {0: source.matrix(output)} if output else {}, moved)
        yield norm(f"{block}ffn_norm.weight", old("ffn_norm"))
        yield plain(f"{block}ffn_gate.weight", (deep, wide), old("ffn_gate"))
        yield plain(f"{block}ffn_up.weight", (deep, wide), old("ffn_up"))
        yield plain(f"{block}ffn_down.weight", (wide, deep), old("ffn_down"))
    yield norm("output_norm.weight", "output_norm.weight")
    # A model without an output matrix of its own uses the embedding; so does the new one.
    if "output.weight" in source.tensors:
        yield plain("output.weight", (n_vocab, wide), "output.weight")


def _bytes(piece: Piece, stored: gguf.GGMLQuantizationType) -> NDArray[Any]:
    """The stored tensor. Only rows that are not zero are quantised, so billions of zeros take no time."""
    if len(piece.shape) == 1:
        weights = np.zeros(piece.shape, np.float32)
        for rows in piece.filled.values():
            weights[: rows.shape[1]] = rows[0]
        return weights
    n_rows, n_columns = piece.shape
    empty = gguf.quants.quantize(np.zeros((1, n_columns), np.float32), stored)
    out = np.empty((n_rows, empty.shape[1]), empty.dtype)
    out[:] = empty
    for start, rows in piece.filled.items():
        padded = np.zeros((len(rows), n_columns), np.float32)
        if piece.columns is None:
            padded[:, : rows.shape[1]] = rows
        else:
            for first, old in piece.columns.items():
                padded[:, first : first + old.stop - old.start] = rows[:, old]
        out[start : start + len(rows)] = gguf.quants.quantize(padded, stored)
    return out
