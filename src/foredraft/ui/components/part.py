"""A piece of the page that is built anew only when what it shows has changed."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui


class Part(ui.element):
    """`show(value, build)` fills it by `build()`, unless it shows an equal `value` already."""

    def __init__(self) -> None:
        super().__init__("div")
        self._value: object = self  # equal to nothing that is shown

    def show(self, value: object, build: Callable[[], None]) -> None:
        if value == self._value:
            return
        self._value = value
        self.clear()
        with self:
            build()
