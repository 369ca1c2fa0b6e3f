"""All words of the program, one TOML file a language: for the command line, the API and the app.

A language is a file of this folder and nothing else. It is complete (a test says so): the same keys and placeholders as
`en.toml`. What a reason (`core/reasons.py`) says stands under `[reason]`, by its code.

>>> words("en")("common.save")
'Save'
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Protocol

from foredraft.words.catalogue import Catalogue, MissingWordsWarning, Plural, catalogue, files_of_languages
from foredraft.words.formatting import Formatter

DEFAULT = "en"
"""The language of programs and logs; and of what another language has no words for."""
AUTO = "auto"


class Coded(Protocol):
    """A reason, as far as words are concerned."""

    @property
    def code(self) -> str: ...

    @property
    def numbers(self) -> Mapping[str, object]: ...


class Words:
    """The words of one language: `t("chat.send")`, `t("stats.tokens", n=3)`, `t(reason)`."""

    def __init__(self, language: str) -> None:
        self.language = language if language in languages() else DEFAULT
        self._catalogue = catalogue(self.language)
        self._formatter = Formatter(self._catalogue.form, self.__call__)

    def __call__(self, key: str | Coded, /, **values: object) -> str:
        return self._fill(key, values) if isinstance(key, str) else self._fill(f"reason.{key.code}", key.numbers)

    def _fill(self, key: str, values: Mapping[str, object]) -> str:
        entry = self._catalogue.entries.get(key)
        if entry is None:
            return self._lacking(key, values)
        text = entry.choose(values, self._catalogue.form) if isinstance(entry, Plural) else entry
        return self._formatter.fill(key, text, values)

    def __contains__(self, key: str) -> bool:
        return key in self._catalogue.entries

    @property
    def locale(self) -> str:
        """The language as browsers name it."""
        return self._catalogue.form.locale

    def group(self, prefix: str) -> dict[str, str]:
        """All words below `prefix`, for the browser's side."""
        entries = self._catalogue.entries.items()
        return {
            key[len(prefix) + 1 :]: text
            for key, text in entries
            if key.startswith(prefix + ".") and isinstance(text, str)
        }

    def _lacking(self, key: str, values: Mapping[str, object]) -> str:
        """English, or the bare key with its values, where there are no words."""
        warnings.warn(f"{self.language}.toml has no words for {key!r}", MissingWordsWarning, stacklevel=3)
        if self.language != DEFAULT:
            return words(DEFAULT)._fill(key, values)
        said = ", ".join(f"{name}={value}" for name, value in values.items())
        return f"[{key}: {said}]" if said else f"[{key}]"


@functools.cache
def words(language: str) -> Words:
    """The words of a language; of English where there is no file of it."""
    return Words(language)


def languages() -> tuple[str, ...]:
    """Codes of the languages that there are files of."""
    return tuple(files_of_languages())


def language_names() -> dict[str, str]:
    """Code of each language to its own name ("en": "English")."""
    return {code: catalogue(code).form.name for code in languages()}


def of_locale(locale: str) -> str:
    """Our language for a POSIX locale ("ja_JP.UTF-8")."""
    code = locale.replace("-", "_").split("_")[0].split(".")[0].lower()
    return code if code in languages() else DEFAULT


def negotiate(accept_language: str) -> str:
    """Our language that an `Accept-Language` header likes best."""
    wishes = []
    for number, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        wishes.append((-weight, number, tag.split("-")[0].lower()))
    known = languages()
    return next((tag for _, _, tag in sorted(wishes) if tag in known), DEFAULT)


__all__ = [
    "AUTO",
    "DEFAULT",
    "Catalogue",
    "Coded",
    "MissingWordsWarning",
    "Words",
    "language_names",
    "languages",
    "negotiate",
    "of_locale",
    "words",
]
