"""The messages of the chat that is shown: the newest ones at first, and no more work than has changed."""

from __future__ import annotations

from nicegui import ui

from foredraft.ui.components.elements import Tag, button
from foredraft.ui.components.part import Part, Rows
from foredraft.ui.panels.empty_chat import empty_chat
from foredraft.ui.panels.message import MessageView
from foredraft.ui.state import Page

AT_FIRST = 12
"""Messages shown at once when a chat is opened; earlier ones on request."""
MORE = 40


class Messages:
    """Built where it is made; `show()` again after every change of the chat, or of which chat is shown."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._chat_id: str | None = None
        self._most = AT_FIRST
        self._empty = Tag("div", "").classes("fd-empty-box")
        with Tag("div", "").classes("fd-column") as self._column:
            self._title, self._earlier = Part(), Part()
            self._views = Rows[int, MessageView](ui.element("div"))
        self.show()

    def show(self) -> None:
        page, chats = self._page, self._page.app.chats
        if page.chat_id != self._chat_id:
            self._chat_id, self._most = page.chat_id, AT_FIRST
        ids = chats.branch_ids(page.chat_id) if page.chat_id else []
        self._column.set_visibility(bool(ids))
        self._empty.set_visibility(not ids)
        if any(self._empty):
            self._empty.clear()
        if not ids:
            self._show([])
            with self._empty:
                empty_chat(page)
            return
        title = (page.chat.title if page.chat else "") or page.words("chats.untitled")
        self._title.show(title, lambda: _title(title))
        first = max(0, len(ids) - self._most)
        self._earlier.show(first, lambda: self._more(first))
        self._show(ids[first:])

    def _show(self, ids: list[int]) -> None:
        messages = {message.id: message for message in self._page.app.chats.load(ids)}
        views = self._views.show(list(messages), lambda i: MessageView(self._page, messages[i]))
        for view, message in zip(views, messages.values(), strict=True):
            view.show(message, last=view is views[-1])

    def _more(self, first: int) -> None:
        if not first:
            return

        def earlier() -> None:
            self._most += MORE
            self.show()

        text = self._page.words("conversation.earlier", n=first)
        made = button(text, earlier, kind="quiet wide").classes("fd-earlier")
        made.on("click", js_handler="() => fd.keepPlace()")


def _title(text: str) -> None:
    Tag("h1", text).classes("fd-sr")
