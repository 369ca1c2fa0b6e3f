"""The chat page: chats, conversation, sidebar."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from foredraft.chats.attachments import KEY, Attachment
from foredraft.chats.records import title_of
from foredraft.ui.components.elements import Tag
from foredraft.ui.frame import begin, frame, notices
from foredraft.ui.panels.chat_list import chat_list
from foredraft.ui.panels.conversation import conversation
from foredraft.ui.panels.header import header
from foredraft.ui.panels.sidebar import sidebar
from foredraft.ui.state import AppState, Page


def chat_page(app: AppState, chat_id: str | None = None) -> None:
    page = begin(app)
    page.chat_id = chat_id if chat_id and app.chats.get(chat_id) is not None else None
    with frame(page, "chat", classes="" if page.power else "no-side"):
        chat_list(page)
        with Tag("div", "").classes("fd-main"):
            header(page)
            notices(page)
            conversation(page)
        if page.power:
            sidebar(page)
    page.refreshers["empty"] = lambda: _refresh_empty(page)
    page.actions["ask"] = lambda text: page.actions["show_chat"](send(app, page.chat_id, text, inspect=page.developer))
    page.actions.setdefault("open_section", lambda name: None)


def _refresh_empty(page: Page) -> None:
    """The first screen tells of loading; a conversation does not change with it."""
    if page.chat_id is None:
        page.refresh("messages")


def send(
    app: AppState, chat_id: str | None, text: str, files: Sequence[Attachment] = (), *, inspect: bool = False
) -> str:
    """Add a message (to a new chat if there is none) and begin its answer. Returns the chat."""
    chats = app.chats
    chat = chats.get(chat_id) if chat_id else None
    if chat is None:
        chat = chats.create(
            settings=dict(chats.preference("choices", {})), system_prompt=str(chats.preference("system_prompt", ""))
        )
    if not chat.title:
        chats.change(chat.id, title=title_of(text or files[0].name))
    chats.change(chat.id, unsent="")
    if chat_id is None or not chat_id:
        chats.set_preference("unsent", "")
    meta = {KEY: [one.stored() for one in files]} if files else {}
    asked = chats.add(chat.id, "user", text, parent=chat.leaf, meta=meta)
    if app.generations.answer(chat.id, asked, inspect=inspect) is None:
        app.hub.publish("messages", chat.id)
    return chat.id


def register(app: AppState) -> None:
    @ui.page("/", response_timeout=20)
    def new_chat() -> None:
        chat_page(app)

    @ui.page("/c/{chat_id}", response_timeout=20)
    def old_chat(chat_id: str) -> None:
        chat_page(app, chat_id)
