"""The app's words in every language: one TOML file each, the same keys and placeholders in all (a test says so)."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

LANGUAGES = {"en": "English", "ja": "日本語"}
DEFAULT = "en"


class Words:
    """`words("chat.send")` in one language; `words("stats.tokens", n=3)` fills the placeholders."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else DEFAULT
        self._table = table(self.language)

    def __call__(self, key: str, **values: object) -> str:
        text = self._table[key]
        return text.format(**values) if values else text

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def group(self, prefix: str) -> dict[str, str]:
        """All words below `prefix`, for the browser's side."""
        return {key[len(prefix) + 1 :]: text for key, text in self._table.items() if key.startswith(prefix + ".")}


@functools.cache
def table(language: str) -> Mapping[str, str]:
    """Every word of a language under its dotted key."""
    data = tomllib.loads(files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8"))
    return dict(_flat(data, ""))


def _flat(data: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)


def negotiate(accept_language: str) -> str:
    """The language of ours that a browser's `Accept-Language` header likes best."""
    wishes = []
    for number, part in enumerate(accept_language.split(",")):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality) if quality else 1.0
        except ValueError:
            weight = 0.0
        wishes.append((-weight, number, tag.split("-")[0].lower()))
    return next((tag for _, _, tag in sorted(wishes) if tag in LANGUAGES), DEFAULT)
