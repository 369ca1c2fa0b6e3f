"""Plain HTML controls. Native ones: they are light, and the browser makes them accessible."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

Handler = Callable[..., Any]


class Tag(TextElement):
    """An HTML element with text: `Tag("p", "Hello").classes("…")`. Text is never read as HTML."""

    def __init__(self, tag: str, text: object = "", **attributes: object) -> None:
        super().__init__(tag=tag, text=str(text))
        self.attributes(**attributes)

    def attributes(self, **attributes: object) -> Self:
        """Set attributes; `aria_label="x"` is `aria-label="x"`. None and False leave one out."""
        for name, value in attributes.items():
            if value is not None and value is not False:
                self._props[name.rstrip("_").replace("_", "-")] = value if value is True else str(value)
        return self


def icon(name: str) -> Tag:
    return Tag("i", name, aria_hidden="true").classes("material-icons")


def button(
    text: str, on_click: Handler | None = None, *, kind: str = "", icon_name: str = "", **attributes: object
) -> Tag:
    """A button with words. `kind`: primary, outline, quiet, link, danger, wide (several allowed)."""
    made = Tag("button", "", type="button", **attributes).classes(f"fd-btn {kind}")
    with made:
        if icon_name:
            icon(icon_name)
        Tag("span", text)
    if on_click is not None:
        made.on("click", lambda _: on_click(), args=[])
    return made


def icon_button(
    name: str, label: str, on_click: Handler | None = None, *, small: bool = False, **attributes: Any
) -> Tag:
    """A button with an icon; its name is read out, and shown when pointed at."""
    made = Tag("button", "", type="button", title=label, aria_label=label, **attributes)
    made.classes("fd-icon small" if small else "fd-icon")
    with made:
        icon(name)
    if on_click is not None:
        made.on("click", lambda _: on_click(), args=[])
    return made


def switch(text: str, value: bool, on_change: Callable[[bool], Any], **attributes: object) -> Element:
    with Tag("label").classes("fd-switch") as label:
        box = Tag("input", "", type="checkbox", role="switch", **attributes)
        box._props["checked"] = value
        box.on("change", lambda event: on_change(bool(event.args)), js_handler="(e) => emit(e.target.checked)")
        Tag("span", text)
    return label


def select(label: str, options: dict[str, str], value: str, on_change: Callable[[str], Any]) -> Element:
    """A list to choose one of, with a visible label above."""
    with ui.element("div").classes("fd-stack") as box:
        name = f"s{box.id}"
        Tag("label", label, for_=name).classes("fd-label")
        with Tag("select", "", id=name).classes("fd-field") as field:
            for key, text in options.items():
                option = Tag("option", text, value=key)
                option._props["selected"] = key == value
        field.on("change", lambda event: on_change(str(event.args)), js_handler="(e) => emit(e.target.value)")
    return box


def slider(
    label: str,
    value: float,
    on_change: Callable[[float], Any],
    *,
    low: float,
    high: float,
    step: float = 1,
    help_text: str = "",
) -> Element:
    """A number in a range, with its value at the right and words on what it does."""
    with ui.element("div").classes("fd-stack").style("gap: 0.15rem") as box:
        name = f"r{box.id}"
        with Tag("label", "", for_=name).classes("fd-label"):
            Tag("span", label)
            shown = Tag("output", f"{value:g}")
        field = Tag("input", "", id=name, type="range", min=low, max=high, step=step)
        field._props["defaultValue"] = f"{value:g}"
        if help_text:
            Tag("p", help_text, id=f"{name}h").classes("fd-help")
            field.attributes(aria_describedby=f"{name}h")

        def changed(event: Any) -> None:
            number = float(event.args)
            shown.set_text(f"{number:g}")
            on_change(number)

        field.on("change", changed, js_handler="(e) => emit(e.target.value)")
    return box


def text_field(
    label: str,
    value: str,
    on_change: Callable[[str], Any],
    *,
    area: bool = False,
    hidden_label: bool = False,
    on: str = "change",
    **attributes: object,
) -> Element:
    """A line (or an area) of text. `on`: "change" when it is left, "input" while typing (a little later)."""
    with ui.element("div").classes("fd-stack") as box:
        name = f"t{box.id}"
        Tag("label", label, for_=name).classes("fd-sr" if hidden_label else "fd-label")
        field = Tag("textarea" if area else "input", "", id=name, **attributes).classes("fd-field")
        field._props["defaultValue"] = value
        field.on(
            on,
            lambda event: on_change(str(event.args)),
            js_handler="(e) => emit(e.target.value)",
            throttle=0.25 if on == "input" else 0.0,
        )
    return box


def section(title: str, *, opened: bool = False, mark: str = "") -> Element:
    """A part of the sidebar that folds. Returns the body to fill."""
    details = Tag("details", "").classes("fd-section")
    if opened:
        details._props["open"] = True
    if mark:
        details.attributes(data_section=mark)
    with details:
        Tag("summary", title)
        return ui.element("div").classes("fd-section-body")


def table(
    head: Iterable[str], rows: Iterable[Iterable[object]], *, numbers_from: int = 1, caption: str = ""
) -> Element:
    """A plain table; columns from `numbers_from` on are numbers."""
    with Tag("table", "").classes("fd-data") as made:
        if caption:
            Tag("caption", caption).classes("fd-sr")
        with Tag("thead", ""), Tag("tr", ""):
            for column, text in enumerate(head):
                Tag("th", text, scope="col").classes("n" if column >= numbers_from else "")
        with Tag("tbody", ""):
            for row in rows:
                with Tag("tr", ""):
                    for column, cell in enumerate(row):
                        Tag("td", cell).classes("n" if column >= numbers_from else "")
    return made
