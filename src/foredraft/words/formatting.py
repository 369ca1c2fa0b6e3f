"""Filling in a text's placeholders: numbers as the language writes them, sizes, lists, and reasons within reasons."""

from __future__ import annotations

import string
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from foredraft.words.catalogue import Form, MissingWordsWarning

_SIZES = ((1e9, "GB", 1), (1e6, "MB", 1), (0.0, "kB", 0))


class Formatter(string.Formatter):
    """`str.format` in one language. Beside Python's own specs there are `bytes` (a size) and the names of `Form.joins`.

    A value that is missing stays visible as its placeholder.
    """

    def __init__(self, form: Form, word: Callable[[Any], str]) -> None:
        self._form, self._word = form, word

    def fill(self, key: str, text: str, values: Mapping[str, object]) -> str:
        try:
            return self.vformat(text, (), values)
        except KeyError as missing:
            name = missing.args[0]
            warnings.warn(f"{key!r} got no value for {name!r}", MissingWordsWarning, stacklevel=4)
            return self.fill(key, text, {**values, str(name): f"{{{name}}}"})

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, list | tuple):
            return self._form.joins[format_spec or "list"].join(self.format_field(one, "") for one in value)
        if isinstance(value, str | bool) or value is None:
            return str(value)
        if isinstance(value, int | float):
            if format_spec == "bytes":
                return self._size(value)
            return self._local(format(value, format_spec))
        return self._word(value)

    def _size(self, size: float) -> str:
        """Bytes for people: "4.7 GB"."""
        unit, name, digits = next(row for row in _SIZES if size >= row[0])
        return f"{self._local(f'{size / (unit or 1e3):.{digits}f}')} {name}"

    def _local(self, number: str) -> str:
        if not any(character in number for character in ",.") or "inf" in number:
            return number
        swap = {",": self._form.thousands, ".": self._form.decimal}
        return "".join(swap.get(character, character) for character in number)
