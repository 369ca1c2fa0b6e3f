"""Fields of requests, made of the parameters where they are declared (`core/declared.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, create_model
from pydantic.fields import FieldInfo

from foredraft.config.choice import OneOf
from foredraft.core.declared import Declared, declared
from foredraft.requests.warnings import note
from foredraft.server.lenient import Schema, no_switch

Fields = dict[str, Any]


def model_of(name: str, of: Any, *, left_out: bool, but: frozenset[str] = frozenset()) -> type[Schema]:
    """A part of a request with a field for each parameter that `of` declares, and for its other names. With `left_out`
    each may be null, which is its default, so that a dialect may have defaults of its own. `but` are left out: their
    dialects say them otherwise."""
    fields: Fields = {}
    for one in declared(of).values():
        if one.name in but:
            continue
        kind = _kind(one)
        if left_out or one.optional:
            fields[one.name] = (kind | None, _field(None, one.param.help))
        else:
            fields[one.name] = (kind, _field(one.default, one.param.help))
        for alias in one.param.aliases:
            fields[alias] = (kind | None, _field(None, f"The same as {one.name}."))
    return create_model(name, __base__=Schema, __module__=__name__, **fields)


def given(body: Any, of: Any) -> dict[str, Any]:
    """What a body says of the parameters that `of` declares, by their own names; null is nothing."""
    found: dict[str, Any] = {}
    for one in declared(of).values():
        for name in (one.name, *one.param.aliases):
            value = getattr(body, name, None)
            if value is not None and found.setdefault(one.name, value) != value:
                note(f"{name}: left out, as {one.name} is given.")
    return found


def _kind(one: Declared) -> Any:
    param = one.param
    if param.choices is not None:
        return Annotated[str, OneOf(one.words, one.check)]
    kind: Any = one.kind
    if param.low is not None or param.high is not None:
        kind = Annotated[kind, Field(ge=param.low, le=param.high)]
    if one.kind in (int, float):
        kind = Annotated[kind, BeforeValidator(no_switch)]
    return Annotated[kind, BeforeValidator(_same(param.same))] if param.same else kind


def _same(values: Mapping[Any, Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        value = no_switch(value)
        for said, meant in values.items():
            if value == said or (isinstance(value, str) and value.strip() == str(said)):
                return meant
        return value

    return check


def _field(default: Any, words: str) -> FieldInfo:
    made: FieldInfo = Field(default=default, description=words)
    return made
