"""Tools that a model may call: in OpenAI's form, or Python functions, whose types and words become that."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from foredraft.core.errors import ParameterError

Tool = Mapping[str, Any] | Callable[..., Any]
_ALLOWED = 'a Python function, or {"type": "function", "function": {"name": …, "description": …, "parameters": …}}'


def tool_of(tool: Tool) -> Mapping[str, Any]:
    """A tool in OpenAI's form. Raises `ParameterError`."""
    if isinstance(tool, Mapping):
        function = tool.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
            raise ParameterError("tools", tool, _ALLOWED)
        return tool
    if not hasattr(tool, "__name__"):
        raise ParameterError("tools", tool, _ALLOWED)
    return {"type": "function", "function": _described(tool)}


def _described(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's name, docstring, and the schema of its arguments as pydantic makes one of their types."""
    import pydantic

    name = function.__name__
    try:
        schema = pydantic.TypeAdapter[Any](function).json_schema()  # type: ignore[arg-type]
    except (pydantic.errors.PydanticUserError, NameError) as error:
        raise ParameterError("tools", name, f"{_ALLOWED}; {name} has an argument of a type without a schema") from error
    if schema.get("type") != "object":
        raise ParameterError("tools", name, f"{_ALLOWED}; the arguments of {name} have no names to give them by")
    described = {"name": name, "description": inspect.getdoc(function) or "", "parameters": _without_titles(schema)}
    return {key: value for key, value in described.items() if value}


def _without_titles(schema: Any) -> Any:
    """Titles repeat the names, which costs tokens of every prompt."""
    if isinstance(schema, list):
        return [_without_titles(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_titles(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _without_titles(value)
        for key, value in schema.items()
        if key != "title"
    }
