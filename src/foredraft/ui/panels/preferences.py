"""The dialogs of the rail: settings of the app, and the list of shortcuts."""

from __future__ import annotations

from nicegui import ui

from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, select
from foredraft.ui.state import MODES, THEMES, Page
from foredraft.words import AUTO, language_names

SHORTCUTS = (
    ("palette", "Ctrl K"),
    ("new", "Ctrl Shift O"),
    ("chats", "Ctrl B"),
    ("side", "Ctrl ."),
    ("stop", "Esc"),
    ("edit", "↑"),
    ("send", "Enter"),
    ("line", "Shift Enter"),
    ("list", "Ctrl /"),
)


def open_preferences(page: Page, name: str) -> None:
    (_shortcuts if name == "shortcuts" else _settings)(page)


def change(page: Page, name: str, value: str) -> None:
    """Keep a preference and show the page anew, in the new language, theme or mode."""
    page.app.chats.set_preference(name, value)
    ui.navigate.reload()


def _settings(page: Page) -> None:
    t, chats = page.words, page.app.chats
    with dialog(t("rail.settings")):
        languages = {AUTO: t("settings.auto_language"), **language_names()}
        select(
            t("settings.language"),
            languages,
            chats.preference("language", "auto"),
            lambda v: change(page, "language", v),
        )
        themes = {theme: t(f"settings.{theme}") for theme in THEMES}
        select(t("settings.theme"), themes, chats.preference("theme", "auto"), lambda v: change(page, "theme", v))
        modes = {mode: t(f"modes.{mode}") for mode in MODES}
        select(t("modes.label"), modes, page.mode, lambda v: change(page, "mode", v))
        Tag("p", t("settings.modes_help")).classes("fd-help")


def _shortcuts(page: Page) -> None:
    t = page.words
    with dialog(t("rail.shortcuts")), Tag("table", "").classes("fd-data"), Tag("tbody", ""):
        for name, keys in SHORTCUTS:
            with Tag("tr", ""):
                Tag("th", t(f"shortcuts.{name}"), scope="row")
                with Tag("td", ""):
                    for key in keys.split():
                        Tag("kbd", key).style("margin-right: 0.25rem")
