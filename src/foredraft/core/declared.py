"""A parameter declared once: its type, default, range and words stand at the field that holds it.

    top_k: Annotated[int, Param("Keep the k most likely tokens; 0 keeps all.", low=0, same={-1: 0})] = 40

From that come the checks of the values, the options of the command line, the sections of `config.toml`, the fields of
REST requests, the bounds of the app's sliders, and the tables in `docs/reference`.
"""

from __future__ import annotations

import functools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from foredraft.core.errors import ParameterError
from foredraft.core.reasons import Reason, one_of


@dataclass(frozen=True, slots=True)
class Param:
    """What is said of a parameter. `help` is one or two English sentences."""

    help: str
    low: float | None = None
    high: float | None = None
    """Range, both ends allowed. None is no limit."""
    choices: Sequence[str] | Callable[[], Sequence[str]] | None = None
    """The words it may be; a function where they may become more."""
    check: Callable[[Any], None] | None = None
    """Raises `ParameterError` for what is wrong otherwise; instead of the checks by type and range."""
    note: str = ""
    """What a number in the range means, behind the range in the message about a wrong one."""
    same: Mapping[Any, Any] = field(default_factory=dict)
    """Other ways to say a value where clients and people do: {-1: None}."""
    flags: tuple[str, ...] | None = None
    """Its options on the command line; None is one made of its name, () none."""
    aliases: tuple[str, ...] = ()
    """Other names of it in requests: those of other programs."""
    setting: str | None = None
    """Its key in `config.toml`; None is its name in the section of its kind, "" none."""
    slider: tuple[float, float, float] | None = None
    """Least, most and step of the app's slider, where that is narrower than the range."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A field with its parameter."""

    name: str
    kind: type
    """int, float, bool, str, or something else that only `Param.check` knows."""
    optional: bool
    """Whether None is a value."""
    default: Any
    param: Param

    @property
    def options(self) -> tuple[str, ...]:
        """Its options on the command line."""
        if self.param.flags is not None:
            return self.param.flags
        option = self.name.replace("_", "-")
        return (f"--{option}/--no-{option}",) if self.kind is bool else (f"--{option}",)

    def words(self) -> Sequence[str]:
        """The words it may be, where it is chosen among some."""
        choices = self.param.choices
        return choices() if callable(choices) else choices or ()

    @property
    def range(self) -> Reason:
        """What it may be: "a number from 0 to 1"."""
        param = self.param
        if param.choices is not None:
            return one_of(self.words())
        if self.kind is bool:
            return Reason("allowed_bool")
        kind = {int: "whole", float: "number"}.get(self.kind, "text")
        low, high = _figure(param.low), _figure(param.high)
        where = "between" if low and high else "least" if low else "most" if high else "any"
        allowed = Reason(f"allowed_{kind}_{where}", {"low": low, "high": high})
        return Reason("allowed_note", {"allowed": allowed, "note": param.note}) if param.note else allowed

    def check(self, value: object) -> None:
        """Raises `ParameterError` for a value that it may not have."""
        if value is None and self.optional:
            return
        if self.param.check is not None:
            self.param.check(value)
        elif self.param.choices is not None:
            if value not in self.words():
                raise ParameterError(self.name, value, self.range)
        elif not self._fits(value):
            raise ParameterError(self.name, value, self.range)

    def _fits(self, value: object) -> bool:
        if self.kind is bool or self.kind is str:
            return isinstance(value, self.kind)
        if not (is_whole(value) if self.kind is int else is_number(value)):
            return False
        number, low, high = cast(float, value), self.param.low, self.param.high
        return math.isfinite(number) and (low is None or number >= low) and (high is None or number <= high)


def is_whole(value: object) -> bool:
    """Whether it is a whole number, as which true and false do not count."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """The same of any number, nan and infinity included."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@functools.cache
def declared(of: Any) -> Mapping[str, Declared]:
    """The parameters that a dataclass declares, by name, in their order."""
    hints = get_type_hints(of, include_extras=True)
    found = {}
    for one in fields(of):
        hint = hints[one.name]
        if get_origin(hint) is not Annotated:
            continue
        kind, *said = get_args(hint)
        param = next((entry for entry in said if isinstance(entry, Param)), None)
        if param is None:
            continue
        kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
        first = next(entry for entry in kinds if entry is not type(None))
        default = one.default if one.default is not MISSING else None
        found[one.name] = Declared(one.name, get_origin(first) or first, type(None) in kinds, default, param)
    return found


def check_all(values: Any) -> None:
    """Check every parameter of a dataclass that declares them: for its `__post_init__`."""
    of: Any = type(values)
    for name, one in declared(of).items():
        one.check(getattr(values, name))


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    if value == 2**64 - 1:
        return "2^64 - 1"
    return str(int(value)) if value == int(value) else f"{value:g}"
