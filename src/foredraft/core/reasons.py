"""Why something is as it is, as data: a stable code with its numbers. Sentences are made of it in `foredraft.words`.

>>> reason = Reason("vocab_padded", {"n": 64})
>>> reason.as_dict()
{'code': 'vocab_padded', 'numbers': {'n': 64}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, Union

Value: TypeAlias = Union[bool, int, float, str, "Reason", tuple["Value", ...], None]
"""What a reason may carry: plain values, other reasons, and lists of both."""
Numbers: TypeAlias = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Reason:
    """A code and the numbers (and names) that belong to it. Units are the catalogue's: bytes, seconds, tokens."""

    code: str
    numbers: Mapping[str, Value] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.code)

    def __str__(self) -> str:
        """In English, for logs and for programs."""
        return self.message

    @property
    def message(self) -> str:
        """The words in English."""
        from foredraft.words import words

        return words("en")(self)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `from_dict` makes the same reason of it."""
        return {"code": self.code, "numbers": {name: _plain(value) for name, value in self.numbers.items()}}

    def told(self) -> dict[str, Any]:
        """For answers of the API: `as_dict` with the `message`."""
        return {**self.as_dict(), "message": self.message}

    @staticmethod
    def from_dict(said: Mapping[str, Any]) -> Reason:
        return Reason(str(said["code"]), {name: _value(value) for name, value in said["numbers"].items()})


def sentences(*parts: Reason | None) -> Reason:
    """Several one after the other; those that are None are left out. At least one is not."""
    said = tuple(part for part in parts if part is not None)
    return said[0] if len(said) == 1 else Reason("sentences", {"parts": said})


def one_of(names: Iterable[str]) -> Reason:
    """What a parameter may be: one of these words."""
    return Reason("one_of", {"names": tuple(names)})


def as_reason(said: Reason | str) -> Reason:
    """What others said in their own words (the system, llama.cpp, an older server), as a reason."""
    return said if isinstance(said, Reason) else Reason("said", {"text": said})


def stored_reason(said: object) -> Reason | None:
    """A reason that was kept as `as_dict` gave it; as words, where an older version wrote those."""
    if isinstance(said, Mapping):
        return Reason.from_dict(said)
    return as_reason(str(said)) if said else None


def _plain(value: Value) -> Any:
    if isinstance(value, Reason):
        return value.as_dict()
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _value(said: Any) -> Value:
    if isinstance(said, Mapping):
        return Reason.from_dict(said)
    plain: Value = tuple(_value(one) for one in said) if isinstance(said, list) else said
    return plain
