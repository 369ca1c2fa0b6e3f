"""docs/reference/settings.md: every setting, from the typed model that checks them."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from foredraft.config.choice import OneOf
from foredraft.config.folders import data_folder
from foredraft.config.settings import DELIMITER, PREFIX, ModelSection, Settings
from tools.reference.markdown import code, table

INTRODUCTION = """# Settings

All settings, with their defaults. They are read from `config.toml` (`foredraft config path` says where it lies), from
the environment, and from flags; each beats the one before it. `foredraft config list` shows what is in force and where
it comes from, `foredraft config set KEY VALUE` changes one, `foredraft config init` writes a file with all of them
commented out. A wrong key or value is refused with its line and what is allowed there.
"""


def page() -> str:
    parts = [INTRODUCTION]
    for name, field in Settings.model_fields.items():
        section: Any = ModelSection if name == "model" else field.annotation
        title = '[model."its name"]' if name == "model" else f"[{name}]"
        parts.append(f"## {title}\n")
        parts.append(f"{(section.__doc__ or '').strip().splitlines()[0]}\n")
        parts.append(table(("setting", "values", "default", "what it is for", "environment"), _rows(name, section)))
    return "\n".join(parts)


def _rows(name: str, section: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for key, field in section.model_fields.items():
        variable = "" if name == "model" else code(f"{PREFIX}{name}{DELIMITER}{key}".upper())
        yield code(key), _values(field), _default(field), field.description or "", variable


def _values(field: FieldInfo) -> str:
    words = _words(field.metadata)
    return words or ", ".join([_type(field.annotation), *_bounds(field.metadata)])


def _words(rules: Iterable[Any]) -> str:
    """The words of a table, where there are some."""
    table = next((rule for rule in rules if isinstance(rule, OneOf)), None)
    return ", ".join(code(word) for word in table.words()) if table is not None else ""


def _bounds(rules: Iterable[Any]) -> list[str]:
    found = []
    for rule in rules:
        if isinstance(rule, FieldInfo):
            found += _bounds(rule.metadata)
        found += [
            f"{word} {bound}"
            for word, bound in (("≥", getattr(rule, "ge", None)), ("≤", getattr(rule, "le", None)))
            if bound is not None
        ]
    return found


def _type(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Annotated:
        first, *rules = get_args(kind)
        return _words(rules) or ", ".join([_type(first), *_bounds(rules)])
    if get_origin(kind) is Literal:
        return ", ".join(code(value) for value in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_type(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is list:
        return f"list of {_type(get_args(kind)[0])}s"
    if get_origin(kind) is dict:
        return "table"
    words = {bool: "true, false", int: "whole number", float: "number", str: "text", Path: "path"}
    return words.get(kind, "secret text")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "":
        return "unset"
    if isinstance(value, Path):
        return f"{code(value.relative_to(data_folder()).as_posix())} in the data folder"
    if isinstance(value, bool):
        return code(str(value).lower())
    return code(value)
