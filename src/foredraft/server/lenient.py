"""One rule for every dialect: what a documented client sends is understood, or left out aloud.

- Numbers and switches may be texts ("50", "true"), and whole numbers may be written 50.0: `Schema` is not strict, and
  `Whole` and `Number` refuse true and false. null is the default, wherever a field cannot be null.
- -1 is "no limit" or "off" where clients mean that by it (`Most`, `Param.same`), and a fresh seed (`Seed`).
- What is not known is named in the warnings, and so is whatever a converter, the chat template or a schema leaves out.

The warnings of a request are one list for as long as it lasts: `LimitedRoute` begins it and makes the header
`X-Foredraft-Warnings` of it, `GenerationRequest.warnings` is the same list, and each dialect repeats it in its
answers. A warning is a sentence that begins with the field's name.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from heapq import nsmallest
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from foredraft.requests.warnings import MOST, note

HEADER = "X-Foredraft-Warnings"
LONGEST_HEADER = 4_000
LABELS = frozenset({"user", "metadata", "safety_identifier"})
"""Marks for a provider's own books: there is nothing to do with them, and nothing to say."""

# ---- the warnings of a request ----


def header(said: Iterable[str]) -> str:
    """Warnings as the value of a header: a JSON list in ASCII, without the last ones where it would be too long."""
    kept = list(said)
    while len(value := json.dumps(kept)) > LONGEST_HEADER:
        kept.pop()
    return value


def as_field(said: Iterable[str]) -> dict[str, list[str]]:
    """The field of an answer; nothing where there is nothing to say."""
    found = list(said)
    return {"warnings": found} if found else {}


# ---- what is not known ----


class Lax(BaseModel):
    """A part of a request of which there may be very many: nothing is looked at one by one in Python."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())


class Schema(Lax):
    """A request, or a part of one: null is the default, and what is not known is named in the warnings."""

    @model_validator(mode="before")
    @classmethod
    def _leniently(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known, never_null = _fields(cls)
        _note_unknown((name for name in given if name not in known), [given])
        empty = [name for name in never_null & given.keys() if given[name] is None]
        return {name: value for name, value in given.items() if name not in empty} if empty else given


def entries(of: type[BaseModel], place: str, **inner: type[BaseModel]) -> BeforeValidator:
    """For a list of `Lax` entries at `place`: name what of them (and of the lists `inner` in them) is not known."""

    def check(value: Any) -> Any:
        if isinstance(value, list):
            found = [entry for entry in value if isinstance(entry, dict)]
            _note_unknown(set().union(*found) - _fields(of)[0], found, f"{place}.")
            for name, model in inner.items():
                lists = (entry[name] for entry in found if isinstance(entry.get(name), list))
                parts = [part for many in lists for part in many if isinstance(part, dict)]
                _note_unknown(set().union(*parts) - _fields(model)[0], parts, f"{place}.{name}.")
        return value

    return BeforeValidator(check)


def _note_unknown(names: Iterable[Any], given: Iterable[Mapping[str, Any]], place: str = "") -> None:
    for name in nsmallest(MOST, (name for name in names if name not in LABELS)):
        if any(entry.get(name) not in (None, "", [], {}) for entry in given):
            note(f"{place}{name}: not known here, left out.")


@functools.cache
def _fields(model: type[BaseModel]) -> tuple[frozenset[str], frozenset[str]]:
    """(names of a model's fields, those that have a default and cannot be null)."""
    known, never_null = set(), set()
    for name, field in model.model_fields.items():
        said = field.alias or name
        known.add(said)
        if not field.is_required() and type(None) not in get_args(field.annotation):
            never_null.add(said)
    return frozenset(known), frozenset(never_null)


# ---- numbers ----


def no_switch(value: Any) -> Any:
    """Refuses true and false."""
    if isinstance(value, bool):
        raise PydanticCustomError("number", "Input should be a number")
    return value


def _none_if(*none: object) -> BeforeValidator:
    def check(value: Any) -> Any:
        value = no_switch(value)
        if isinstance(value, str) and value.strip() in ("", *map(str, none)):
            return None
        return None if value in none else value

    return BeforeValidator(check)


Whole = Annotated[int, BeforeValidator(no_switch)]
Number = Annotated[float, BeforeValidator(no_switch)]
Most = Annotated[Annotated[int, Field(ge=0)] | None, _none_if(-1)]
"""The most of something: -1 and null are no limit."""
Seed = Annotated[Annotated[int, BeforeValidator(no_switch)] | None, _none_if(-1)]
"""-1 and null are a fresh seed, which the answer reports."""
