"""The conversation: its messages, what can be done with them, and the composer."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from foredraft.chats.attachments import KEY
from foredraft.chats.records import DONE, Message
from foredraft.ui.attaching import used_tokens
from foredraft.ui.components.composer import Composer
from foredraft.ui.components.elements import Tag
from foredraft.ui.panels.messages import Messages
from foredraft.ui.state import Page


def conversation(page: Page) -> None:
    """Messages and composer of `page.chat_id`; refreshed as "messages" and "composer"."""
    t = page.words
    section = Tag("section", "", id="fd-conversation", tabindex="0", aria_label=t("conversation.label"))
    with section.classes("fd-scroll"):
        messages = Messages(page)

    def sent(chat_id: str) -> None:
        """A message has gone out: its chat is shown already, unless it is a new one."""
        if chat_id != page.chat_id:
            show_chat(chat_id)
        ui.run_javascript("fd.toEnd()")

    def plain() -> None:
        """Free text again: answers must not be JSON unseen, whatever the sidebar shows."""
        page.choose(structured=False)
        page.refresh("composer", "side")

    def show_chat(chat_id: str | None) -> None:
        page.chat_id = chat_id
        ui.navigate.history.push(f"/c/{chat_id}" if chat_id else "/")
        page.refresh("messages", "composer", "chats", "side", "header")
        ui.run_javascript("fd.closeDrawers(); fd.toEnd()")

    with Tag("div", "").classes("fd-composer-box"):
        composer = Composer(
            t,
            page="",
            on_sent=sent,
            on_stop=lambda: page.app.generations.stop(page.chat_id or ""),
            on_plain=plain,
            **_composer_state(page),
        )

    page.actions["show_chat"] = show_chat
    page.refreshers["messages"] = messages.show
    page.refreshers["composer"] = lambda: composer.show(**_composer_state(page))
    page.actions.update(_message_actions(page))
    ui.run_javascript("window.fd?.toEnd()")


def _composer_state(page: Page) -> dict[str, Any]:
    state, chat = page.app.loaded(), page.chat
    return {
        "chat": page.chat_id or "",
        "unsent": chat.unsent if chat else page.app.chats.preference("unsent", ""),
        "busy": page.app.generations.in_chat(page.chat_id or "") is not None,
        "ready": state is not None and state.info is not None,
        "structured": page.choices.structured,
        "used": used_tokens(page.app, page.chat_id or ""),
        "context": state.info.n_ctx if page.power and state and state.info else 0,
    }


def _message_actions(page: Page) -> dict[str, Any]:
    """What the buttons below messages do. Every change is told to all pages of the chat."""
    app, chats = page.app, page.app.chats

    def changed(*topics: str) -> None:
        for topic in topics or ("messages",):
            app.hub.publish(topic, page.chat_id or "")

    def answer(below: int) -> None:
        if app.generations.answer(page.chat_id or "", below, inspect=page.developer) is None:
            ui.notify(page.words("errors.no_model"), type="warning")
        ui.run_javascript("fd.toEnd()")

    def regenerate(shown: Message) -> None:
        if shown.parent is not None and app.generations.in_chat(shown.chat_id) is None:
            answer(shown.parent)

    def edit(shown: Message, text: str) -> None:
        files = shown.meta.get(KEY)
        if not text and not files:
            return
        if shown.role == "assistant":
            # An answer edited by hand has no tokens of a model any more.
            chats.add(shown.chat_id, "assistant", text, parent=shown.parent, status=DONE, model=shown.model)
            changed()
        elif app.generations.in_chat(shown.chat_id) is None:
            meta = {KEY: files} if files else {}
            answer(chats.add(shown.chat_id, "user", text, parent=shown.parent, meta=meta))

    def branch(shown: Message) -> None:
        chat = app.chats.get(shown.chat_id)
        copy = chats.branch_off(shown.id, page.words("chats.branch", title=chat.title if chat else ""))
        page.actions["show_chat"](copy.id)
        app.hub.publish("chats")

    def delete(shown: Message) -> None:
        app.generations.stop(shown.chat_id)
        chats.remove(shown.id)
        changed("messages", "chats")

    def go_on(shown: Message) -> None:
        if not app.generations.go_on(shown, inspect=page.developer):
            ui.notify(page.words("errors.no_model"), type="warning")

    def show_version(message_id: int) -> None:
        chats.show(message_id)
        changed()

    return {
        "regenerate": regenerate,
        "edit": edit,
        "branch": branch,
        "delete": delete,
        "continue": go_on,
        "show_version": show_version,
    }
