"""JSON that an answer must be: from a schema, or from a Python type, and back to a value.

`schema=` takes a JSON schema (a mapping, or its JSON text), or what pydantic makes one of: a model class, a dataclass,
a `TypedDict`, `list[int]` … The answer's `parsed` is then a value of that type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from foredraft.core.errors import ForedraftError, ParameterError

Schema = Mapping[str, Any] | bool | str | type[Any]
_ALLOWED = "a JSON schema (a dict, or its text), a pydantic model or another type that pydantic makes a schema of"


class StructureError(ForedraftError):
    """An answer is not the value that was asked for: it ended before its JSON was whole, or a check of the type that no
    grammar knows turned it down. `text` is the answer."""

    code = "structure"

    def __init__(self, message: str, text: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


@dataclass(frozen=True, slots=True)
class Structure:
    """What the answer must be, and how its text becomes a value."""

    schema: Mapping[str, Any] | bool
    value: Callable[[str], Any]
    """Raises `ValueError`."""

    @classmethod
    def of(cls, schema: Any) -> Structure:
        """Raises `ParameterError` for what is no schema."""
        if isinstance(schema, str):
            try:
                schema = json.loads(schema)
            except ValueError as error:
                raise ParameterError("schema", _short(schema), f"{_ALLOWED}: this text is no JSON ({error})") from None
        if isinstance(schema, (Mapping, bool)):
            return cls(schema, json.loads)
        import pydantic

        try:
            adapter = pydantic.TypeAdapter(schema)
            return cls(adapter.json_schema(), adapter.validate_json)
        except pydantic.errors.PydanticUserError as error:
            reason = str(error).partition("\n")[0]
            raise ParameterError("schema", _short(schema), f"{_ALLOWED} ({reason})") from error

    def parse(self, text: str, stop_reason: str) -> Any:
        """The value of an answer. Raises `StructureError`."""
        try:
            return self.value(text)
        except ValueError as error:  # pydantic's, too
            if _is_json(text):
                raise StructureError(f"The answer is no value of its type: {error}", text) from error
            raise StructureError(
                f"The answer ended ({stop_reason}) before its JSON was whole.",
                text,
                hint="Allow it more tokens (max_tokens)." if stop_reason in ("length", "context") else "",
            ) from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
