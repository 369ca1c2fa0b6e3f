"""All chats: search, new, open, rename, export, delete."""

from __future__ import annotations

from typing import Any

from nicegui import run, ui

from foredraft.chats.records import Chat, Found
from foredraft.ui.components.dialog import dialog
from foredraft.ui.components.elements import Tag, button, icon_button, text_field
from foredraft.ui.components.part import Part, Rows
from foredraft.ui.state import Page

SHOWN = 60
"""Chats listed at first; more on request."""


def chat_list(page: Page) -> None:
    t = page.words
    state: dict[str, Any] = {"words": "", "shown": SHOWN, "found": None}

    def entries() -> None:
        found = state["found"]
        if found is None:
            found = [Found(chat) for chat in page.app.chats.recent(state["shown"])]
        none = "" if found else t("chats.none_found" if state["words"] else "chats.none")
        nothing.show(none, lambda: _nothing(none))
        by_id = {item.chat.id: item for item in found}
        for row, item in zip(rows.show(list(by_id), lambda _: Entry(page)), found, strict=True):
            row.show(item)
        rest.set_visibility(state["found"] is None and page.app.chats.count() > state["shown"])

    def more() -> None:
        state["shown"] += 200
        entries()

    async def search(words: str) -> None:
        state["words"] = words.strip()
        state["found"] = await run.io_bound(page.app.chats.search, words, SHOWN) if state["words"] else None
        entries()

    with Tag("aside", "", aria_label=t("chats.title")).classes("fd-list"):
        with Tag("div", "").classes("fd-list-head"):
            Tag("span", t("chats.title"))
            with Tag("span", ""):
                icon_button("upload_file", t("chats.import"), lambda: ui.run_javascript("fd.importChat()"))
                icon_button("add", t("chats.new"), lambda: page.actions["show_chat"](None), data_key="new")
        with Tag("div", "").classes("fd-list-search"):
            text_field(
                t("chats.search"),
                "",
                search,
                hidden_label=True,
                on="input",
                type="search",
                placeholder=t("chats.search"),
            )
        nothing = Part()
        with Tag("div", "").classes("fd-chats"):
            rows = Rows[str, Entry](Tag("ul", "", aria_label=t("chats.title")))
            rest = button(t("chats.more"), more, kind="link")
    entries()
    page.refreshers["chats"] = entries


def _nothing(text: str) -> None:
    if text:
        Tag("p", text).classes("fd-help").style("padding: 0 1rem")


class Entry:
    """One chat of the list."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.element = Part("li")

    def show(self, item: Found) -> None:
        current = item.chat.id == self._page.chat_id
        self.element.show((item.chat.title, item.excerpt, current), lambda: _entry(self._page, item, current))


def _entry(page: Page, item: Found, current: bool) -> None:
    t, chat = page.words, item.chat
    title = chat.title or t("chats.untitled")
    with Tag("button", "", type="button").classes("fd-chat") as made:
        Tag("span", title)
        if item.excerpt:
            Tag("small", item.excerpt)
    made.on("click", lambda _: page.actions["show_chat"](chat.id), args=[])
    made.attributes(aria_current="true" if current else None)
    opener = icon_button("more_horiz", t("chats.menu", title=title), small=True).classes("fd-chat-menu")
    opener.on("click", lambda _: _menu(page, chat, opener), args=[])


def _menu(page: Page, chat: Chat, opener: Tag) -> None:
    """Made when it is opened: most of a long list's menus never are."""
    t = page.words
    with opener, ui.menu().classes("fd-menu").props("auto-close no-parent-event") as menu:
        for name, action in (
            ("rename", lambda: _rename(page, chat)),
            ("export_markdown", lambda: ui.download(f"/_foredraft/export/{chat.id}.md")),
            ("export_json", lambda: ui.download(f"/_foredraft/export/{chat.id}.json")),
            ("delete", lambda: _delete(page, chat)),
        ):
            made = Tag("button", t(f"chats.{name}"), type="button", role="menuitem").classes("fd-option")
            made.on("click", lambda _, action=action: action(), args=[])
    menu.on("hide", lambda _: menu.delete(), args=[])
    menu.open()


def _rename(page: Page, chat: Chat) -> None:
    t = page.words
    title = {"value": chat.title}
    with dialog(t("chats.rename")) as made:
        text_field(t("chats.name"), chat.title, lambda value: title.update(value=value), on="input")

        def save() -> None:
            page.app.chats.change(chat.id, title=title["value"].strip())
            page.app.hub.publish("chats")
            made.close()

        button(t("common.save"), save, kind="primary")


def _delete(page: Page, chat: Chat) -> None:
    t = page.words
    with dialog(t("chats.delete")) as made:
        Tag("p", t("chats.delete_question", title=chat.title or t("chats.untitled")))

        def delete() -> None:
            page.app.generations.stop(chat.id)
            page.app.chats.delete(chat.id)
            made.close()
            if page.chat_id == chat.id:
                page.actions["show_chat"](None)
            page.app.hub.publish("chats")

        with Tag("div", "").classes("fd-row"):
            button(t("chats.delete"), delete, kind="outline danger")
            button(t("common.cancel"), made.close, kind="quiet")
