"""Ctrl K: everything that can be done, by name; and chats by their words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from foredraft.chats.records import Found
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, text_field
from foredraft.ui.panels.load_dialog import open_load
from foredraft.ui.panels.preferences import change, open_preferences
from foredraft.ui.state import MODES, Page

CHATS = 8


def palette(page: Page) -> None:
    """An unseen button that the shortcut presses."""
    opener = Tag("button", "", type="button", data_key="palette", tabindex="-1", aria_hidden="true", hidden=True)
    opener.on("click", lambda _: _open(page), args=[])


def _commands(page: Page) -> list[tuple[str, Callable[[], Any]]]:
    t = page.words
    commands: list[tuple[str, Callable[[], Any]]] = [
        (
            t("chats.new"),
            lambda: page.actions["show_chat"](None) if "show_chat" in page.actions else ui.navigate.to("/"),
        ),
        (t("load.title"), lambda: open_load(page)),
        (t("rail.models"), lambda: ui.navigate.to("/models")),
        (t("rail.settings"), lambda: open_preferences(page, "settings")),
        (t("rail.shortcuts"), lambda: open_preferences(page, "shortcuts")),
    ]
    if page.power and "open_section" in page.actions:
        # All the names it goes by, so that guides for other programs lead here.
        commands.insert(1, (t("palette.choose_draft"), lambda: page.actions["open_section"]("spec")))
        commands.append((t("rail.lab"), lambda: ui.navigate.to("/lab")))
    modes = [(f"{t('modes.label')}: {t('modes.' + mode)}", mode) for mode in MODES]
    commands.extend((name, lambda mode=mode: change(page, "mode", mode)) for name, mode in modes)  # type: ignore[misc]
    return commands


def _open(page: Page) -> None:
    t = page.words
    state: dict[str, Any] = {"words": "", "chats": [Found(chat) for chat in page.app.chats.recent(CHATS)]}

    with dialog(t("palette.title")) as made, Tag("div", "").classes("fd-palette fd-stack"):

        async def search(words: str) -> None:
            state["words"] = words.strip()
            state["chats"] = await run.io_bound(page.app.chats.search, words, CHATS)
            results.refresh()

        text_field(
            t("palette.title"), "", search, hidden_label=True, on="input", placeholder=t("palette.placeholder"),
            autofocus=True,
        )  # fmt: skip

        @ui.refreshable
        def results() -> None:
            wanted = state["words"].lower()
            with Tag("div", "", role="listbox", aria_label=t("palette.title")):
                for name, action in _commands(page):
                    if wanted in f"{name} {t('palette.also')}".lower() or not wanted:
                        if wanted and wanted not in name.lower() and name != t("palette.choose_draft"):
                            continue
                        _result(made, name, action)
                for found in state["chats"]:
                    chat_id = found.chat.id
                    title = found.chat.title or t("chats.untitled")
                    _result(made, title, lambda chat_id=chat_id: _show_chat(page, chat_id))  # type: ignore[misc]

        results()


def _show_chat(page: Page, chat_id: str | None) -> None:
    """In place where chats are shown, else by going there."""
    if "show_chat" in page.actions:
        page.actions["show_chat"](chat_id)
    else:
        ui.navigate.to(f"/c/{chat_id}" if chat_id else "/")


def _result(made: ui.dialog, name: str, action: Callable[[], Any]) -> None:
    item = Tag("button", name, type="button", role="option", aria_selected="false").classes("fd-option")

    async def chosen() -> None:
        made.close()
        result = action()
        if hasattr(result, "__await__"):
            await result

    item.on("click", chosen, args=[])
