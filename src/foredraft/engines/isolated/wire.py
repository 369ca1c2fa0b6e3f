"""What the two processes say to each other: messages of a kind, a number and some bytes, over a socket.

Numbers are sent as 64-bit integers and everything else as JSON: nothing that arrives can run here.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import struct
from array import array
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foredraft.core import errors
from foredraft.core.errors import EngineError, ForedraftError
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk, ModelInfo, Numerics, OtherMode

LONGEST = 2**28
"""Bytes of a message; a longer one means that the other side is not itself any more."""
_HEAD = struct.Struct("<BQI")
_NUMBERS = "q"


class Kind(IntEnum):
    """What a message is about."""

    LOAD = 1
    PROGRESS = 2
    FORWARD = 3
    REWIND = 4
    COPY = 5
    EMBED = 6
    ENCODE = 7
    TABLE = 8
    ABORT = 9
    DONE = 10
    FAILED = 11
    REACH = 12
    KEEP = 13
    HEAD_OPEN = 20
    HEAD_FORWARD = 21
    HEAD_CLOSE = 22
    HIDDEN = 23


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """`number` tells answers apart: they bear that of the question."""

    kind: Kind
    number: int
    body: bytes


class Wire:
    """One end of a socket. Several threads may send if they take turns; one receives."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._room = bytearray(1 << 16)
        self._have = 0

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        """Raises `OSError` when nobody is there."""
        self._socket.sendall(_HEAD.pack(kind, number, len(body)) + body)

    def receive(self) -> Message:
        """The next message; waits for it. Raises `OSError` when the other side has gone."""
        self._fill(_HEAD.size)
        kind, number, size = _HEAD.unpack_from(self._room)
        if size > LONGEST:
            raise ConnectionError(f"a message of {size} bytes")
        end = _HEAD.size + size
        self._fill(end)
        body = bytes(self._room[_HEAD.size : end])
        self._have -= end
        if self._have:
            self._room[: self._have] = self._room[end : end + self._have]
        return Message(Kind(kind), number, body)

    def close(self) -> None:
        """The other side, and whoever waits here, is told at once."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has gone already
            pass
        finally:
            self._socket.close()

    def _fill(self, size: int) -> None:
        if size > len(self._room):
            self._room.extend(bytes(size - len(self._room)))
        while self._have < size:
            with memoryview(self._room) as room:
                got = self._socket.recv_into(room[self._have :])
            if not got:
                raise ConnectionError("the other process has gone")
            self._have += got


def numbers(values: Sequence[int]) -> bytes:
    """Raises `OverflowError` for what is no 64-bit integer."""
    return array(_NUMBERS, values).tobytes()


def read_numbers(body: bytes) -> list[int]:
    found = array(_NUMBERS)
    found.frombytes(body)
    return found.tolist()


def chunks_to_bytes(chunks: Sequence[Chunk]) -> bytes:
    """Raises `OverflowError` for a token id that is no 64-bit integer."""
    packed = array(_NUMBERS)
    for chunk in chunks:
        packed.extend((chunk.slot, chunk.start, chunk.want, chunk.guesses, len(chunk.tokens)))
        packed.extend(chunk.tokens)
    return packed.tobytes()


def read_chunks(values: Sequence[int]) -> list[Chunk]:
    """What `chunks_to_bytes` was given."""
    chunks, at = [], 0
    while at < len(values):
        slot, start, want, guesses, count = values[at : at + 5]
        at += 5
        chunks.append(Chunk(slot, start, values[at : at + count], want, guesses))
        at += count
    return chunks


def pairs_to_bytes(before: Sequence[int], chunks: Sequence[Chunk], rows: Sequence[NDArray[np.float32]]) -> bytes:
    """Numbers, chunks, and the row of each of their tokens. Raises `OverflowError` like `chunks_to_bytes`."""
    packed = numbers(before) + chunks_to_bytes(chunks)
    return numbers((len(packed),)) + packed + b"".join(part.tobytes() for part in rows)


def first_number(body: bytes) -> int:
    """Of the numbers that `pairs_to_bytes` was given."""
    return read_numbers(body[8:16])[0]


def read_pairs(body: bytes, width: int) -> tuple[list[int], NDArray[np.float32]]:
    """What `pairs_to_bytes` was given: the numbers, chunks among them, and all rows."""
    (size,) = read_numbers(body[:8])
    return read_numbers(body[8 : 8 + size]), np.frombuffer(body, dtype=np.float32, offset=8 + size).reshape(-1, width)


_REASON = "__reason__"


def to_json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, default=_plain).encode("ascii")


def _plain(value: object) -> Any:
    return {_REASON: value.as_dict()} if isinstance(value, Reason) else str(value)


def _value(said: Any) -> Any:
    """Back from `_plain`, and lists as the tuples that they were."""
    if isinstance(said, list):
        return tuple(_value(one) for one in said)
    return Reason.from_dict(said[_REASON]) if isinstance(said, dict) and said.keys() == {_REASON} else said


def reasons_from_json(said: Sequence[Any]) -> list[Reason]:
    """Notes that came over the wire."""
    return [_value(one) for one in said]


def from_json(body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(body)
    return value


_KNOWN = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, ForedraftError)
}


def error_to_bytes(error: BaseException, lengths: Sequence[int] = ()) -> bytes:
    """An error of ours with everything that it carries, any other by its name; and the lengths of all slots."""
    if not isinstance(error, ForedraftError):
        error = EngineError(f"Unexpected: {error!r}"[:2000])
    kind = next((of.__name__ for of in type(error).__mro__ if of.__name__ in _KNOWN), "EngineError")
    return to_json({"kind": kind, "fields": vars(error), "lengths": list(lengths)})


def error_from_json(said: Mapping[str, Any]) -> ForedraftError:
    kind = _KNOWN[said["kind"]]
    error = kind.__new__(kind)
    fields = {name: _value(value) for name, value in said["fields"].items()}
    ForedraftError.__init__(error, str(fields["message"]))
    vars(error).update(fields)
    return error


def info_from_json(said: dict[str, Any]) -> ModelInfo:
    return ModelInfo(**said)


def numerics_from_json(said: dict[str, Any] | None) -> Numerics | None:
    """What `dataclasses.asdict` gave, after JSON made texts of its numbers."""
    if said is None:
        return None
    by_batch = {int(size): difference for size, difference in said["by_batch"].items()}
    other = None if said["other"] is None else OtherMode(**said["other"])
    return Numerics(**{**said, "by_batch": by_batch, "other": other})
