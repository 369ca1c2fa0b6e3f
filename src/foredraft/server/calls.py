"""Tool calls in answers."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json


def arguments_object(text: str) -> dict[str, Any]:
    """The arguments of a call as an object, for dialects that send no text. Of a call that was cut (`max_tokens`): what
    is whole of it; of what is no object: an empty one."""
    try:
        value = from_json(text or "{}", allow_partial=True)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
