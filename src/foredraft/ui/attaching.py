"""Files on their way into a message: read, counted by the loaded model, refused with numbers where they do not fit.

Until the message is sent they live in the browser, as its text does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from foredraft.chats.attachments import LARGEST, Attachment, AttachmentError, attachments_of, read
from foredraft.core.errors import ForedraftError
from foredraft.ui.names import file_size
from foredraft.ui.state import AppState
from foredraft.words import Words


class Refused(Exception):
    """What was sent cannot be taken; the message is in the user's words, `status` is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def admit(state: AppState, words: Words, chat_id: str, name: str, content: bytes, pending: int) -> Attachment:
    """A file for the composer, with `pending` tokens of other files attached already. Raises `Refused`.

    Counting takes time on long files: not for the event loop.
    """
    try:
        one = read(name, content)
    except AttachmentError as error:
        values = {"name": error.name, "size": file_size(len(content)), "most": file_size(LARGEST)}
        raise Refused(words(f"attach.{error.code}", **values)) from None
    counted = dataclasses.replace(one, tokens=_count(state, words, one.text))
    free, context = _room(state, chat_id)
    if counted.tokens > free - pending:
        room = max(0, free - pending)
        raise Refused(
            words("attach.no_room", name=one.name, n=f"{counted.tokens:,}", free=f"{room:,}", context=f"{context:,}")
        )
    return counted


def accept(state: AppState, words: Words, chat_id: str, text: str, sent: object) -> list[Attachment]:
    """The files that come with a message, counted once more: what a browser says about them is not believed. Raises
    `Refused` where they and the text do not fit together."""
    attached = attachments_of({"attachments": sent})
    if not attached:
        return []
    counted = [dataclasses.replace(one, tokens=_count(state, words, one.text)) for one in attached]
    needed = sum(one.tokens for one in counted) + _count(state, words, text)
    free, context = _room(state, chat_id)
    if needed > free:
        raise Refused(words("attach.too_long", n=f"{needed:,}", free=f"{free:,}", context=f"{context:,}"))
    return counted


def used_tokens(state: AppState, chat_id: str) -> int:
    """Tokens that the conversation takes so far: those of its last answer and of everything before it."""
    chat = state.chats.get(chat_id) if chat_id else None
    leaf = state.chats.message(chat.leaf) if chat is not None and chat.leaf is not None else None
    stats: dict[str, Any] | None = leaf.meta.get("stats") if leaf is not None else None
    return stats["prompt_tokens"] + stats["tokens"] if stats else 0


def _room(state: AppState, chat_id: str) -> tuple[int, int]:
    """(tokens that are free, the context's size); one token is kept for the answer."""
    loaded = state.loaded()
    context = loaded.info.n_ctx if loaded is not None and loaded.info is not None else 0
    return max(0, context - used_tokens(state, chat_id) - 1), context


def _count(state: AppState, words: Words, text: str) -> int:
    model_id = state.generations.model_id()
    if model_id is None:
        raise Refused(words("errors.no_model"), 409)
    try:
        with state.services.runtime.use(model_id) as model:
            encode = state.services.preparation.tokenizer.encode
            return len(encode(model.engine, text, add_special=False, parse_special=False))
    except ForedraftError as error:
        raise Refused(str(error), 409) from None
