"""GGUF files made by hand, byte by byte: small, exact, and damaged where a test wants them so."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LETTERS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f", "bool": "?",
           "u64": "Q", "i64": "q", "f64": "d"}  # fmt: skip
NUMBERS = {
    "u8": 0,
    "i8": 1,
    "u16": 2,
    "i16": 3,
    "u32": 4,
    "i32": 5,
    "f32": 6,
    "bool": 7,
    "u64": 10,
    "i64": 11,
    "f64": 12,
}
TYPE_NUMBERS = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "Q4_K": 12, "Q6_K": 14}
BLOCKS = {"F32": (1, 4), "F16": (1, 2), "Q4_0": (32, 18), "Q8_0": (32, 34), "Q4_K": (256, 144), "Q6_K": (256, 210)}


@dataclass(frozen=True)
class Typed:
    """A value with its GGUF type, where the plain Python type does not decide: `Typed("u8", 3)`."""

    kind: str
    value: Any


def text(value: str | bytes) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """Type and value, as they stand in the header."""
    if isinstance(item, Typed):
        if item.kind == "array":
            return struct.pack("<IIQ", 9, 9, len(item.value)) + b"".join(value(inner)[4:] for inner in item.value)
        return struct.pack("<I" + LETTERS[item.kind], NUMBERS[item.kind], item.value)
    if isinstance(item, bool):
        return value(Typed("bool", item))
    if isinstance(item, int):
        return value(Typed("u32", item))
    if isinstance(item, float):
        return value(Typed("f32", item))
    if isinstance(item, (str, bytes)):
        return struct.pack("<I", 8) + text(item)
    if item and isinstance(item[0], (str, bytes)):
        return struct.pack("<IIQ", 9, 8, len(item)) + b"".join(text(part) for part in item)
    return struct.pack(f"<IIQ{len(item)}i", 9, 5, len(item), *item)


def gguf(
    metadata: Mapping[str, Any],
    tensors: Sequence[tuple[str, tuple[int, ...], str]] = (),
    *,
    version: int = 3,
    data: bool = True,
) -> bytes:
    """A whole file; the tensors' data are zeros."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(text(key) + value(item) for key, item in metadata.items())
    offset = 0
    for name, shape, kind in tensors:
        block, size = BLOCKS[kind]
        elements = 1
        for length in shape:
            elements *= length
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, TYPE_NUMBERS[kind], offset)
        offset += -(-(elements // block * size) // 32) * 32
    padding = -len(head) % 32 if tensors else 0
    return head + b"\0" * (padding + (offset if data else 0))


def model(
    *,
    tokens: Sequence[str | bytes] = tuple(f"t{i}" for i in range(40)),
    params: int = 32 * 1024,
    architecture: str = "llama",
    tokenizer: str = "gpt2",
    extra: Mapping[str, Any] | None = None,
    weights: bool = True,
    kind: str = "F32",
) -> bytes:
    """A model of about so many parameters in one matrix, enough for everything that reads headers."""
    metadata = {
        "general.architecture": architecture,
        "general.name": "Test",
        f"{architecture}.context_length": 2048,
        f"{architecture}.block_count": 2,
        f"{architecture}.embedding_length": 32,
        f"{architecture}.feed_forward_length": 64,
        f"{architecture}.attention.head_count": 4,
        f"{architecture}.attention.head_count_kv": 2,
        "tokenizer.ggml.model": tokenizer,
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": [1] * len(tokens),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        **(extra or {}),
    }
    metadata = {key: item for key, item in metadata.items() if item is not None}
    return gguf(metadata, [("blk.0.ffn_up.weight", (32, max(params // 32, 1)), kind)] if weights else [], data=True)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
