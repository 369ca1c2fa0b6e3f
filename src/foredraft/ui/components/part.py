"""Pieces of the page that are built anew only when what they show has changed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

from nicegui import ui
from nicegui.element import Element


class Part(ui.element):
    """`show(value, build)` fills it by `build()`, unless it shows an equal `value` already."""

    def __init__(self, tag: str = "div") -> None:
        super().__init__(tag)
        self._value: object = self  # equal to nothing that is shown

    def show(self, value: object, build: Callable[[], None]) -> None:
        if value == self._value:
            return
        self._value = value
        self.clear()
        with self:
            build()


class Row(Protocol):
    """What `Rows` hold: anything with an element of its own."""

    @property
    def element(self) -> Element: ...


K = TypeVar("K", bound=Hashable)
R = TypeVar("R", bound=Row)


class Rows(Generic[K, R]):
    """The children of `box` by key: those that stay are left alone, and moved where their place has changed."""

    def __init__(self, box: Element) -> None:
        self._box = box
        self._rows: dict[K, R] = {}

    def show(self, keys: Sequence[K], make: Callable[[K], R]) -> list[R]:
        """The rows of `keys`, in this order; others are deleted, and new ones are made inside the box."""
        wanted = set(keys)
        for key in [key for key in self._rows if key not in wanted]:
            self._rows.pop(key).element.delete()
        for place, key in enumerate(keys):
            if key not in self._rows:
                with self._box:
                    self._rows[key] = make(key)
            element = self._rows[key].element
            if self._box.default_slot.children[place] is not element:
                element.move(target_index=place)
        return [self._rows[key] for key in keys]
