"""Settings as SDKs send them: layers of dotted keys, a later layer over an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk.wire import Heard

RAW_LAYER = "completeModeFormatting"
"""A template in this layer means: no template at all, the text as it is."""


class ConfigField(Heard):
    key: str
    value: Any = None


class Fields(Heard):
    fields: list[ConfigField] = Field(default=[])


class Layer(Heard):
    layer_name: str = ""
    config: Fields = Fields()


class Stack(Heard):
    layers: list[Layer] = Field(default=[])

    def merged(self) -> dict[str, Any]:
        """Values by key."""
        return {one.key: one.value for layer in self.layers for one in layer.config.fields}

    @property
    def raw(self) -> bool:
        """The text of the conversation is to be continued as it is."""
        return any(layer.layer_name == RAW_LAYER and layer.config.fields for layer in self.layers)


class Values:
    """Merged settings under one prefix, which remembers what nobody has asked for."""

    def __init__(self, values: Mapping[str, Any], prefix: str) -> None:
        self._values = {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
        self._asked: set[str] = set()

    def get(self, key: str) -> Any:
        """The value, or None. `{"checked": …, "value": …}` counts as its value where it is checked."""
        self._asked.add(key)
        value = self._values.get(key)
        if isinstance(value, Mapping) and "checked" in value:
            inner = value.get("value")
            return inner if value["checked"] and inner is not False else None
        return value

    def number(self, key: str) -> float | None:
        value = self.get(key)
        if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
            return value
        raise RequestError(f"{key} must be a number.", param=key)

    def whole(self, key: str) -> int | None:
        value = self.number(key)
        if value is None or isinstance(value, int):
            return value
        if value.is_integer():
            return int(value)
        raise RequestError(f"{key} must be a whole number.", param=key)

    def text(self, key: str) -> str | None:
        value = self.get(key)
        if value is None or isinstance(value, str):
            return value
        raise RequestError(f"{key} must be a text.", param=key)

    def texts(self, key: str) -> list[str]:
        value = self.get(key)
        if value is None:
            return []
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            return value
        raise RequestError(f"{key} must be a list of texts.", param=key)

    def table(self, key: str) -> Mapping[str, Any]:
        value = self._values.get(key)
        self._asked.add(key)
        if value is None or isinstance(value, Mapping):
            return value or {}
        raise RequestError(f"{key} must be an object.", param=key)

    def unheard(self) -> list[str]:
        """Keys with a value that nobody has asked for."""
        return sorted(key for key, value in self._values.items() if key not in self._asked and _says(value))


def _says(value: Any) -> bool:
    if isinstance(value, Mapping) and "checked" in value:
        return bool(value["checked"])
    return value is not None
