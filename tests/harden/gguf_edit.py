"""A GGUF file taken apart and put together again, with one thing changed: damage that still looks like a model."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

LETTERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


@dataclass(frozen=True)
class Value:
    """A metadata value. `kind` is GGUF's number; of an array `inner` is the kind of its elements."""

    kind: int
    content: Any
    inner: int = 0


@dataclass(frozen=True)
class Tensor:
    name: bytes
    shape: tuple[int, ...]
    kind: int
    offset: int


@dataclass
class File:
    """All of a file; `data` are the bytes of the weights."""

    metadata: dict[bytes, Value] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    data: bytes = b""

    def with_value(self, key: str, value: Value | None) -> File:
        """The same with one value changed, or left out."""
        changed = {name: value if name == key.encode() else old for name, old in self.metadata.items()}
        if value is not None:
            changed[key.encode()] = value
        return replace(self, metadata={name: old for name, old in changed.items() if old is not None})

    def with_tensor(self, name: str, /, **changes: Any) -> File:
        """The same with the entry of one tensor changed."""
        tensors = [replace(one, **changes) if one.name == name.encode() else one for one in self.tensors]
        return replace(self, tensors=tensors)

    def written(self) -> bytes:
        head = [b"GGUF", struct.pack("<IQQ", 3, len(self.tensors), len(self.metadata))]
        for key, value in self.metadata.items():
            head += [_text(key), struct.pack("<I", value.kind), _written(value)]
        for tensor in self.tensors:
            numbers = (len(tensor.shape), *tensor.shape, tensor.kind, tensor.offset)
            head += [_text(tensor.name), struct.pack(f"<I{len(tensor.shape)}QIQ", *numbers)]
        made = b"".join(head)
        return made + b"\0" * (-len(made) % 32) + self.data


def read(raw: bytes) -> File:
    """Take a sound file apart."""
    cursor = _Cursor(raw, 8)
    n_tensors, n_values = cursor.take("QQ")
    made = File()
    for _ in range(n_values):
        key = cursor.text()
        (kind,) = cursor.take("I")
        made.metadata[key] = cursor.value(kind)
    for _ in range(n_tensors):
        name = cursor.text()
        (n_dimensions,) = cursor.take("I")
        shape = cursor.take(f"{n_dimensions}Q")
        made.tensors.append(Tensor(name, shape, *cursor.take("IQ")))
    made.data = raw[-(-cursor.position // 32) * 32 :]
    return made


def changes(file: File) -> Iterator[tuple[str, File]]:
    """(name, file) for believable damages: every number, word and tensor entry in turn."""
    for raw_key, value in file.metadata.items():
        key = raw_key.decode()
        for label, changed in _other_values(value):
            yield f"{key}={label}", file.with_value(key, changed)
        yield f"without {key}", file.with_value(key, None)
    for tensor in file.tensors:
        name = tensor.name.decode()
        for kind in (0, 1, 2, 8, 9, 12, 14, 15, 20, 24, 25, 26, 27, 28, 29, 30, 34):
            if kind != tensor.kind:
                yield f"{name} of type {kind}", file.with_tensor(name, kind=kind)
        yield f"{name} turned", file.with_tensor(name, shape=tensor.shape[::-1])
        yield f"{name} longer", file.with_tensor(name, shape=(*tensor.shape[:-1], tensor.shape[-1] + 32))
        yield f"{name} flat", file.with_tensor(name, shape=(*tensor.shape, 1))
        yield f"{name} elsewhere", file.with_tensor(name, offset=max(tensor.offset - 32, 0))
        yield f"{name} renamed", file.with_tensor(name, name=tensor.name + b"x")


def _other_values(value: Value) -> Iterator[tuple[str, Value]]:
    if value.kind == STRING:
        words = [b"", b"llama", b"gpt2", b"bert", b"t5", b"rwkv", b"plamo2", b"no_vocab", b"qwen2", b"\xff"]
        for word in words:
            yield repr(word), replace(value, content=word)
    elif value.kind == ARRAY:
        yield "nothing", replace(value, content=[])
        yield "half", replace(value, content=value.content[: len(value.content) // 2])
        if value.inner == STRING and len(value.content) > 9:
            yield "one twice", replace(value, content=[*value.content[:-1], value.content[7]])
            yield "one empty", replace(value, content=[*value.content[:-1], b""])
            yield "one long", replace(value, content=[*value.content[:-1], b"x" * 9999])
        elif value.content and value.inner != STRING:
            yield "one huge", replace(value, content=[*value.content[:-1], 2**31 - 1 if value.inner != 6 else 1e30])
    elif value.kind in (6, 12):
        for number in (0.0, -1.0, float("nan"), float("inf"), 1e30, 1e-30):
            yield str(number), replace(value, content=number)
    elif value.kind == 7:
        yield "turned", replace(value, content=not value.content)
    else:
        size = struct.calcsize(LETTERS[value.kind]) * 8
        top = 2**size - 1 if LETTERS[value.kind].isupper() else 2 ** (size - 1) - 1
        for number in (0, 1, 3, value.content + 1, value.content * 2, 1000, top):
            if 0 <= number <= top and number != value.content:
                yield str(number), replace(value, content=number)


class _Cursor:
    def __init__(self, raw: bytes, position: int) -> None:
        self.raw, self.position = raw, position

    def take(self, letters: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + letters, self.raw, self.position)
        self.position += struct.calcsize("<" + letters)
        return found

    def text(self) -> bytes:
        (length,) = self.take("Q")
        self.position += length
        return self.raw[self.position - length : self.position]

    def value(self, kind: int) -> Value:
        if kind == STRING:
            return Value(kind, self.text())
        if kind == ARRAY:
            inner, count = self.take("IQ")
            if inner == STRING:
                return Value(kind, [self.text() for _ in range(count)], inner)
            return Value(kind, list(self.take(f"{count}{LETTERS[inner]}")), inner)
        return Value(kind, self.take(LETTERS[kind])[0])


def _text(raw: bytes) -> bytes:
    return struct.pack("<Q", len(raw)) + raw


def _written(value: Value) -> bytes:
    if value.kind == STRING:
        return _text(value.content)
    if value.kind == ARRAY:
        head = struct.pack("<IQ", value.inner, len(value.content))
        if value.inner == STRING:
            return head + b"".join(map(_text, value.content))
        return head + struct.pack(f"<{len(value.content)}{LETTERS[value.inner]}", *value.content)
    return struct.pack("<" + LETTERS[value.kind], value.content)
