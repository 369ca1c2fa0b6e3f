"""The rail: pages, theme, settings."""

from __future__ import annotations

from foredraft.ui.components.elements import Tag, icon
from foredraft.ui.panels.preferences import open_preferences
from foredraft.ui.state import Page

PLACES = (("chat", "/", "chat_bubble_outline"), ("models", "/models", "inventory_2"), ("lab", "/lab", "speed"))
SERVER = ("server", "/server", "terminal")


def rail(page: Page, here: str) -> None:
    t = page.words
    with Tag("nav", "", aria_label=t("rail.label")).classes("fd-rail"):
        places = PLACES[:2] if not page.power else PLACES if not page.developer else (*PLACES, SERVER)
        for name, path, icon_name in places:
            label = t(f"rail.{name}")
            with Tag("a", "", href=path, title=label, aria_label=label).classes("fd-rail-item") as item:
                icon(icon_name)
            if name == here:
                item.attributes(aria_current="page")
        Tag("div", "").classes("grow")
        for name, icon_name in (("shortcuts", "keyboard"), ("settings", "settings")):
            label = t(f"rail.{name}")
            key = "shortcuts" if name == "shortcuts" else None
            with Tag("button", "", type="button", title=label, aria_label=label, data_key=key) as item:
                icon(icon_name)
            item.classes("fd-rail-item").on("click", lambda _, name=name: open_preferences(page, name), args=[])
