"""Large bodies, read in a child process: what is refused is never made here, and what is taken comes in pieces.

A parser of JSON holds Python's lock from the first byte to the last, 40 to 90 ms for the worst bodies within the
limits, and meanwhile neither the event loop nor the thread of the models does anything. So a child
(`foredraft/child.py`) looks at the limits and parses, and sends the value in pieces, each of which takes a fraction of
a millisecond here.

A piece is a letter, then JSON or text:

    V  a value: the next entry of a list, or the whole
    [  the beginning of a list      {  the beginning of an object     "  the beginning of a long text
    L  entries of the list          O  entries of the object          T  a part of the text (UTF-8)
    ]  the end of any of them
    K  the key of the object's entry that comes next
    !  a refusal: {"limit": what `LimitError` takes}, {"not_json": [message, position]} or {"unreadable": message}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from pydantic_core import from_json, to_json

from foredraft.core.errors import LimitError
from foredraft.server.jsontext import value_of

VALUES = 1_000
"""Values of one piece, about."""
CHARACTERS = 1 << 18
"""Characters of one piece, about."""
_SMALL = frozenset({int, float, bool, type(None)})


def work(body: bytes) -> Iterator[bytes]:
    """The child's part: the pieces of a body's value, or a refusal."""
    try:
        value = value_of(body, alone=True)
    except LimitError as error:
        limit = {"message": error.message, "has": error.has, "most": error.most}
        yield _piece("!", {"limit": {**limit, "param": error.param, "status": error.status}})
    except json.JSONDecodeError as error:
        yield _piece("!", {"not_json": [error.msg, error.pos]})
    except ValueError as error:
        yield _piece("!", {"unreadable": str(error)[:1000]})
    else:
        yield from pieces(value)


def put_together(found: Iterable[bytes]) -> Any:
    """This side's: the value. Raises as `jsontext.value_of` does."""
    waiting: list[tuple[Any, Any]] = []
    """Containers that have begun, from the outside in, each with the key of the entry that is being made in it."""
    at: Any = None
    key: Any = None
    whole: Any = None
    for piece in found:
        kind, content = piece[:1], piece[1:]
        if kind == b"T":
            at.append(content.decode())
        elif kind == b"L":
            at.extend(from_json(content))
        elif kind == b"O":
            at.update(from_json(content))
        elif kind == b"K":
            key = from_json(content)
        elif kind in b'[{"':
            waiting.append((at, key))
            at = {} if kind == b"{" else []
        else:
            if kind == b"!":
                raise _refusal(from_json(content))
            if kind == b"V":
                made = from_json(content)
            else:
                made = "".join(at) if content == b'"' else at
                at, key = waiting.pop()
            if at is None:
                whole = made
            elif isinstance(at, dict):
                at[key] = made
            else:
                at.append(made)
    return whole


def pieces(value: Any) -> Iterator[bytes]:
    """A value of JSON, cut up."""
    if _is_small(value):
        yield _piece("V", value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), CHARACTERS):
            yield b"T" + value[start : start + CHARACTERS].encode()
        yield b']"'
    elif isinstance(value, list):
        yield b"["
        for start in range(0, len(value), VALUES):
            part = value[start : start + VALUES]
            if set(map(type, part)) <= _SMALL:
                yield _piece("L", part)
            else:
                yield from _entries(part)
        yield b"]"
    else:
        yield b"{"
        yield from _fields(value)
        yield b"]"


def _entries(values: list[Any]) -> Iterator[bytes]:
    """Of a list, as many at once as make a piece."""
    together: list[Any] = []
    room = 1.0
    for value in values:
        share = _share(value)
        if together and share > room:
            yield _piece("L", together)
            together, room = [], 1.0
        if share > 1:
            yield from pieces(value)
        else:
            together.append(value)
            room -= share
    if together:
        yield _piece("L", together)


def _fields(values: dict[str, Any]) -> Iterator[bytes]:
    """Of an object."""
    together: dict[str, Any] = {}
    room = 1.0
    for key, value in values.items():
        share = _share(value) + _share(key)
        if together and share > room:
            yield _piece("O", together)
            together, room = {}, 1.0
        if share > 1:
            yield _piece("K", key)
            yield from pieces(value)
        else:
            together[key] = value
            room -= share
    if together:
        yield _piece("O", together)


def _is_small(value: Any) -> bool:
    return _share(value) <= 1


def _share(value: Any) -> float:
    """How much of a piece a value fills. It is not looked at further than to the end of one."""
    share, waiting = 0.0, [value]
    while waiting and share <= 1:
        one = waiting.pop()
        share += 1 / VALUES
        if isinstance(one, str):
            share += len(one) / CHARACTERS
        elif isinstance(one, list):
            waiting.extend(islice(one, VALUES + 1))
        elif isinstance(one, dict):
            waiting.extend(islice(one.values(), VALUES + 1))
            share += sum(map(len, islice(one, VALUES + 1))) / CHARACTERS
    return share


def _piece(kind: str, value: Any) -> bytes:
    return kind.encode() + to_json(value)


def _refusal(said: dict[str, Any]) -> ValueError | LimitError:
    if "limit" in said:
        return LimitError(**said["limit"])
    if "not_json" in said:
        message, position = said["not_json"]
        return json.JSONDecodeError(message, "", position)
    return ValueError(said["unreadable"])
