"""The file of a language: its entries by dotted key, and how it writes numbers, lists and plurals.

A table with the key `other` is one entry with plural forms: `tokens = { one = "{n} token", other = "{n} tokens" }`. The
value `n` decides, or the one that `by` names.
"""

from __future__ import annotations

import functools
import gettext
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

PLURAL_FORMS = frozenset({"zero", "one", "two", "few", "many", "other"})
"""As Unicode's CLDR names them."""


@dataclass(frozen=True, slots=True)
class Form:
    """The table `[language]`."""

    name: str
    """In the language itself."""
    locale: str
    """BCP 47, as NiceGUI and browsers know it."""
    decimal: str
    thousands: str
    plural: str
    """Which of `forms` is for n, as an expression of gettext: "n != 1"."""
    forms: tuple[str, ...]
    joins: Mapping[str, str]
    """What stands between the parts of a list, by the name that a placeholder gives: "{models:list}"."""

    def plural_form(self, n: float) -> str:
        return self.forms[_rule(self.plural)(int(n) if n == int(n) else 2)]  # 1.5 tokens: as many


@functools.cache
def _rule(expression: str) -> Callable[[int], int]:
    return gettext.c2py(expression)


@dataclass(frozen=True, slots=True)
class Plural:
    """One entry in the forms of its language."""

    forms: Mapping[str, str]
    by: str = "n"

    def choose(self, values: Mapping[str, object], form: Form) -> str:
        n = values.get(self.by)
        return self.forms[form.plural_form(n) if isinstance(n, int | float) else "other"]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything of one file."""

    form: Form
    entries: Mapping[str, str | Plural]


@functools.cache
def files_of_languages() -> tuple[str, ...]:
    """Codes of all languages, English first."""
    names = [file.name for file in files("foredraft.words").iterdir() if file.name.endswith(".toml")]
    codes = sorted(name.removesuffix(".toml") for name in names)
    return tuple(sorted(codes, key=lambda code: code != "en"))


@functools.cache
def catalogue(language: str) -> Catalogue:
    """The catalogue of a language that there is a file of."""
    data = tomllib.loads(files("foredraft.words").joinpath(f"{language}.toml").read_text(encoding="utf-8"))
    said = data.pop("language")
    form = Form(**{**said, "forms": tuple(said["forms"])})
    return Catalogue(form, dict(_flat(data, "")))


def _flat(data: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str | Plural]]:
    for key, value in data.items():
        if not isinstance(value, dict):
            yield f"{prefix}{key}", str(value)
        elif "other" in value and value.keys() <= PLURAL_FORMS | {"by"}:
            forms = {name: text for name, text in value.items() if name != "by"}
            yield f"{prefix}{key}", Plural(forms, value.get("by", "n"))
        else:
            yield from _flat(value, f"{prefix}{key}.")


class MissingWordsWarning(UserWarning):
    """A catalogue lacks a key or a value that it is asked for. Something is shown all the same."""
