"""Reads the header of a GGUF file: what the model is, without its weights.

The header is walked once, in place (`mmap`), and nothing is built that is not asked for: of an array only its place is
kept. That is what makes a vocabulary of 152,000 tokens cost tens of milliseconds instead of seconds.

Files come from strangers: every length is checked before it is used, the walk is bounded in bytes and items, and
whatever is wrong ends in `ModelFormatError` (damaged) or `UnsupportedModelError` (sound, but not for this program).

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import hashlib
import mmap
import stat
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

from foredraft.core.errors import ModelError, ModelFormatError, ModelNotFoundError, UnsupportedModelError
from foredraft.core.reasons import Numbers, Reason

MAX_HEADER = 1 << 27
"""Bytes of header read at most (128 MiB). The longest vocabularies known take 16 MB."""
MAX_ITEMS = 8_000_000
"""Strings walked at most; a key, a tensor or an inner array counts as `HEAVY` of them."""
HEAVY = 32
MAX_TEXT = 1 << 20
"""Bytes of one text value read at most; longer ones are refused. Chat templates take up to 20 kB."""
MAX_TEXTS = 1 << 24
MAX_DIMENSIONS = 4
MAX_NESTING = 4

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF's number of a value type to `struct`'s letter."""
STRING, ARRAY = 8, 9

GGML_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
    40: ("NVFP4", 64, 36),
    41: ("Q1_0", 128, 18),
    42: ("Q2_0", 64, 18),
}
"""GGML's number of a tensor type to its name, values in a block, bytes of a block."""

TOKENS, TOKEN_TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


@dataclass(frozen=True, slots=True)
class ArrayRef:
    """Where an array lies in the file: `count` elements of value type `kind`, bytes `start` to `end`."""

    kind: int
    count: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor's entry. `offset` is counted from the start of the data, in bytes."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    n_elements: int
    n_bytes: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of one file says. `metadata` has numbers and texts; arrays are in `arrays`, unread."""

    path: Path
    version: int
    file_size: int
    metadata: Mapping[str, int | float | bool | str]
    arrays: Mapping[str, ArrayRef]
    tensors: tuple[TensorInfo, ...]
    data_start: int
    """Byte at which the tensors' data begins."""
    tokens_hash: str
    """Hash of the token texts in order; empty without a vocabulary. Equal hashes mean equal texts."""
    fingerprint: str
    """Hash of the token texts and types."""

    def text(self, key: str, default: str = "") -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else default

    def integer(self, key: str, default: int | None = None) -> int | None:
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else default


def read_header(path: Path) -> Header:
    """Read the header of one file (one part of a split model).

    Raises `ModelNotFoundError`, `ModelFormatError`, `UnsupportedModelError`, or `ModelError` when the system refuses.
    """
    with _opened(path) as buffer:
        walk = _Walk(buffer, path)
        try:
            return walk.header()
        except (struct.error, IndexError, OverflowError) as error:
            raise walk.damaged("too_short") from error


def read_array(path: Path, array: ArrayRef) -> list[Any]:
    """The elements of an array of numbers or texts. Texts that are not UTF-8 come with replacement characters."""
    with _opened(path) as buffer:
        if array.end > len(buffer):
            raise ModelFormatError(Reason("file_shrank", {"file": path.name}), path=str(path))
        if array.kind == STRING:
            return [text.decode("utf-8", "replace") for text in _texts(buffer, array)]
        if array.kind not in SCALARS:
            raise UnsupportedModelError(
                Reason("file_unusable", {"file": path.name, "what": Reason("fault_arrays")}), path=str(path)
            )
        return list(struct.unpack_from(f"<{array.count}{SCALARS[array.kind]}", buffer, array.start))


def first_difference(
    first: tuple[Path, ArrayRef], second: tuple[Path, ArrayRef], start: int
) -> tuple[int, str, str] | None:
    """The first token from id `start` on whose text differs in two vocabularies: (id, text, text).

    Compares as llama.cpp does: up to the smaller size, byte by byte, an empty text standing for "[EMPTY_id]".
    """
    with _opened(first[0]) as buffer_a, _opened(second[0]) as buffer_b:
        for path, buffer, array in ((first[0], buffer_a, first[1]), (second[0], buffer_b, second[1])):
            if array.end > len(buffer):
                raise ModelFormatError(Reason("file_shrank", {"file": path.name}), path=str(path))
        pairs = zip(_texts(buffer_a, first[1]), _texts(buffer_b, second[1]), strict=False)
        for token, (text_a, text_b) in enumerate(pairs):
            if text_a == text_b or token < start:
                continue
            # C strings end at the first zero byte, and llama.cpp compares C strings.
            text_a, text_b = (text.split(b"\0", 1)[0] or b"[EMPTY_%d]" % token for text in (text_a, text_b))
            if text_a != text_b:
                return token, text_a.decode("utf-8", "replace"), text_b.decode("utf-8", "replace")
    return None


def read_tokens(path: Path, array: ArrayRef, wanted: set[int]) -> dict[int, str]:
    """The texts of some tokens, by id."""
    with _opened(path) as buffer:
        return {
            token: text.decode("utf-8", "replace")
            for token, text in enumerate(_texts(buffer, array))
            if token in wanted
        }


def token_texts(path: Path, array: ArrayRef) -> Iterator[bytes]:
    """All texts of an array, as their bytes."""
    with _opened(path) as buffer:
        if array.end > len(buffer):
            raise ModelFormatError(Reason("file_shrank", {"file": path.name}), path=str(path))
        yield from _texts(buffer, array)


def _texts(buffer: mmap.mmap, array: ArrayRef) -> Iterator[bytes]:
    length_at, position = struct.Struct("<Q").unpack_from, array.start
    for _ in repeat(None, array.count):
        end = position + 8 + length_at(buffer, position)[0]
        yield buffer[position + 8 : end]
        position = end


class _opened:  # noqa: N801 - reads as a phrase after `with`
    """The file as memory, read-only; its faults as typed errors."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> mmap.mmap:
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # opening a pipe would wait for somebody to write
                raise ModelFormatError(Reason("not_a_file", {"path": self.path.name}), path=str(self.path))
            with self.path.open("rb") as file:
                self.buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            raise ModelNotFoundError(str(self.path)) from error
        except ValueError as error:  # an empty file cannot be mapped
            raise ModelFormatError(Reason("file_empty", {"file": self.path.name}), path=str(self.path)) from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise ModelError(
                Reason("file_unreadable", {"file": self.path.name, "error": reason}), path=str(self.path)
            ) from error
        return self.buffer

    def __exit__(self, *error: object) -> None:
        self.buffer.close()


class _Walk:
    """One pass over a header, from the first byte to the last tensor's entry."""

    def __init__(self, buffer: mmap.mmap, path: Path) -> None:
        self.buffer, self.path = buffer, path
        self.size = len(buffer)
        self.limit = min(self.size, MAX_HEADER)
        self.position = 0
        self.items = MAX_ITEMS
        self.texts = MAX_TEXTS

    def damaged(self, code: str, **numbers: int | float | str) -> ModelFormatError:
        said: Numbers = {"file": self.path.name, "what": Reason(f"fault_{code}", numbers)}
        return ModelFormatError(Reason("file_unsound", said), path=str(self.path), hint=Reason("hint_download_again"))

    def unsupported(self, code: str, **numbers: int | str) -> UnsupportedModelError:
        said: Numbers = {"file": self.path.name, "what": Reason(f"fault_{code}", numbers)}
        return UnsupportedModelError(Reason("file_unusable", said), path=str(self.path))

    def header(self) -> Header:
        version = self._magic_and_version()
        n_tensors, n_values = self._unpack("Q"), self._unpack("Q")
        self._spend(n_values, 13, HEAVY)  # a key's length, one character, the type and one byte of value
        self._spend(n_tensors, 25, HEAVY)
        metadata: dict[str, int | float | bool | str] = {}
        arrays: dict[str, ArrayRef] = {}
        for _ in range(n_values):
            key = self._text()
            if not key or key in metadata or key in arrays:
                raise self.damaged("key_twice", key=key[:80]) if key else self.damaged("key_empty")
            kind = self._unpack("I")
            if kind == STRING:
                metadata[key] = self._text()
            elif kind == ARRAY:
                arrays[key] = self._array(0)
            elif kind in SCALARS:
                metadata[key] = self._unpack(SCALARS[kind])
            else:
                raise self.damaged("value_type", n=kind)
        tensors = tuple(self._tensor() for _ in range(n_tensors))
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
            raise self.damaged("alignment", n=alignment)
        data_start = -(-self.position // alignment) * alignment
        if tensors and data_start + max(tensor.offset + tensor.n_bytes for tensor in tensors) > self.size:
            raise self.damaged("cut_off")
        tokens_hash, fingerprint = self._hashes(arrays)
        return Header(self.path, version, self.size, metadata, arrays, tensors, data_start, tokens_hash, fingerprint)

    def _magic_and_version(self) -> int:
        if self.buffer[:4] != b"GGUF":
            raise self.damaged("magic")
        self.position = 4
        version: int = self._unpack("I")
        if version & 0xFFFF == 0:  # 3 with its bytes the other way round
            raise self.unsupported("big_endian")
        if version not in (2, 3):
            raise self.unsupported("version", n=version)
        if sys.byteorder != "little":
            raise self.unsupported("little_endian")
        return version

    def _unpack(self, letter: str) -> Any:
        (value,) = struct.unpack_from("<" + letter, self.buffer, self.position)
        self.position += struct.calcsize("<" + letter)
        if self.position > self.limit:
            raise self.damaged("no_end")
        return value

    def _spend(self, count: int, least_bytes: int, weight: int = 1) -> None:
        """Check a count against what is left, before anything is done that many times."""
        self.items -= count * weight
        if count * least_bytes > self.limit - self.position or self.items < 0:
            raise self.damaged("entries", n=count)

    def _text(self) -> str:
        length = self._unpack("Q")
        self.texts -= length
        if length > MAX_TEXT or length > self.limit - self.position or self.texts < 0:
            raise self.damaged("text", n=length)
        self.position += length
        return self.buffer[self.position - length : self.position].decode("utf-8", "replace")

    def _array(self, depth: int) -> ArrayRef:
        kind, count = self._unpack("I"), self._unpack("Q")
        start = self.position
        if kind in SCALARS:
            self.position += count * struct.calcsize("<" + SCALARS[kind])
        elif kind == STRING:
            self._spend(count, 8)
            length_at, position = struct.Struct("<Q").unpack_from, start
            for _ in repeat(None, count):
                position += length_at(self.buffer, position)[0] + 8
            self.position = position
        elif kind == ARRAY and depth < MAX_NESTING:
            self._spend(count, 12, HEAVY)
            for _ in range(count):
                self._array(depth + 1)
        else:
            raise self.damaged("value_type", n=kind)
        if self.position > self.limit:
            raise self.damaged("array")
        return ArrayRef(kind, count, start, self.position)

    def _tensor(self) -> TensorInfo:
        name = self._text()
        n_dimensions = self._unpack("I")
        if n_dimensions > MAX_DIMENSIONS:
            raise self.damaged("dimensions", tensor=name[:80], n=n_dimensions)
        shape = tuple(self._unpack("Q") for _ in range(n_dimensions))
        number = self._unpack("I")
        offset = self._unpack("Q")
        if number not in GGML_TYPES:
            raise self.unsupported("tensor_type", tensor=name[:80], n=number)
        type_name, block, block_bytes = GGML_TYPES[number]
        n_elements = 1
        for length in shape:
            n_elements *= length
        if n_elements >= 1 << 63 or (shape and shape[0] % block):
            raise self.damaged("shape", tensor=name[:80], shape=str(shape))
        return TensorInfo(name, shape, type_name, n_elements, n_elements // block * block_bytes, offset)

    def _hashes(self, arrays: Mapping[str, ArrayRef]) -> tuple[str, str]:
        tokens, types = arrays.get(TOKENS), arrays.get(TOKEN_TYPES)
        if tokens is None or tokens.kind != STRING:
            return "", ""
        digest = hashlib.blake2b(self.buffer[tokens.start : tokens.end], digest_size=16)
        tokens_hash = digest.hexdigest()
        if types is not None:
            digest.update(b"types" + self.buffer[types.start : types.end])
        return tokens_hash, digest.hexdigest()
