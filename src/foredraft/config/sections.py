"""Sections of `config.toml`, made of the parameters where they are declared (`core/declared.py`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from foredraft.config.choice import OneOf
from foredraft.config.load_settings import LoadSettings
from foredraft.core.declared import Declared, declared
from foredraft.core.errors import ParameterError
from foredraft.core.params import SamplingParams, SpeculationParams

SECTIONS: dict[Any, str] = {SamplingParams: "sampling", SpeculationParams: "draft", LoadSettings: "load"}
"""Where parameters have their defaults, unless they say otherwise (`Param.setting`)."""


def key_of(of: Any, one: Declared) -> tuple[str, str] | None:
    """(section, name) of a parameter's default; None where it has none in the settings."""
    if one.param.setting == "":
        return None
    if one.param.setting is not None:
        section, _, name = one.param.setting.partition(".")
        return section, name
    return SECTIONS[of], one.name


def fields_of(section: str, *, optional: bool = False) -> dict[str, tuple[Any, FieldInfo]]:
    """The fields of a section. With `optional` each may be unset, and then is what another section says."""
    return {
        name: _field(one, optional=optional) for of in SECTIONS for one, (where, name) in _keys(of) if where == section
    }


def _keys(of: Any) -> Iterator[tuple[Declared, tuple[str, str]]]:
    for one in declared(of).values():
        key = key_of(of, one)
        if key is not None:
            yield one, key


def _field(one: Declared, *, optional: bool) -> tuple[Any, FieldInfo]:
    param = one.param
    kind: Any = one.kind
    if param.choices is not None:
        kind = Annotated[str, OneOf(one.words, one.check)]
    elif param.low is not None or param.high is not None:
        kind = Annotated[kind, Field(ge=param.low, le=param.high)]
    if param.check is not None and param.choices is None:
        kind = Annotated[kind, AfterValidator(lambda value: _checked(one, value))]
    unset = optional or one.optional
    made: Any = Field(default=None if unset else one.default, description=param.help)
    return (kind | None if unset else kind), made


def _checked(one: Declared, value: Any) -> Any:
    try:
        one.check(value)
    except ParameterError as error:
        raise PydanticCustomError("parameter", "{allowed}", {"allowed": error.allowed}) from None
    return value
