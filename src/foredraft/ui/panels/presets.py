"""The section "Preset": named settings, to be used again in any chat."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from foredraft.chats.records import Preset
from foredraft.ui.choices import SPECULATION, Choices
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon_button, section, select, text_field
from foredraft.ui.state import PRESET_SPECULATION, Page

SYSTEM_PROMPT = "system_prompt"


def presets(page: Page) -> None:
    t, chats = page.words, page.app.chats
    known = {preset.name: preset for preset in chats.presets()}
    with section(t("preset.title"), mark="preset"):

        def use(name: str) -> None:
            if name in known:
                apply(page, known[name].settings)
                page.refresh("side", "header", "spec", "composer")
                ui.notify(t("preset.used", name=name))

        select(t("preset.choose"), {"": t("preset.none"), **{name: name for name in known}}, "", use)
        with Tag("div", "").classes("fd-row"):
            button(t("preset.save"), lambda: _save(page), kind="quiet")
            if known:
                icon_button("delete_outline", t("preset.delete"), lambda: _delete(page), small=True)


def apply(page: Page, stored: dict[str, Any]) -> None:
    """Settings that a preset holds; what it does not hold stays as it is."""
    values = {**stored}
    system = values.pop(SYSTEM_PROMPT, None)
    known = Choices.of({**page.choices.everything(), **values}).everything()
    page.choose(**{name: known[name] for name in values if name in known})
    if system is not None:
        page.set_system_prompt(str(system))


def collect(page: Page) -> dict[str, Any]:
    """What a preset of the settings now holds: all of them, those of speculation only where they are to be included."""
    values = page.choices.everything()
    if not page.app.chats.preference(PRESET_SPECULATION, True):
        values = {name: value for name, value in values.items() if name not in SPECULATION}
    return {**values, SYSTEM_PROMPT: page.system_prompt}


def _save(page: Page) -> None:
    t = page.words
    name = {"value": ""}
    with dialog(t("preset.save")) as made:
        text_field(t("preset.name"), "", lambda value: name.update(value=value.strip()), on="input", autofocus=True)

        def keep() -> None:
            if name["value"]:
                page.app.chats.save_preset(Preset(name["value"], collect(page)))
                made.close()
                page.refresh("side")

        button(t("common.save"), keep, kind="primary")


def _delete(page: Page) -> None:
    t, chats = page.words, page.app.chats
    with dialog(t("preset.delete")) as made:
        for preset in chats.presets():

            def delete(name: str = preset.name) -> None:
                chats.delete_preset(name)
                made.close()
                page.refresh("side")

            button(t("preset.delete_name", name=preset.name), delete, kind="outline danger wide")
