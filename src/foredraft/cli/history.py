"""Conversations of `foredraft chat` in the chat history, which the app shows too. A turn is kept when it has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from foredraft.core.errors import ForedraftError
from foredraft.core.params import SamplingParams

if TYPE_CHECKING:
    from foredraft.chats import Chat, ChatStore
    from foredraft.chats.records import Token
    from foredraft.cli.options import GenerateOptions
    from foredraft.cli.partners import Message
    from foredraft.cli.told import Told
    from foredraft.formats.token_parser import Placed
    from foredraft.scheduling.request import Generation

LAST = "last"
"""The chat that was changed last."""
_HINTS = {
    "newer": "Update Foredraft, or leave the history as it is with --no-save.",
    "damaged": "The app puts it aside and begins a new one.",
    "locked": "Another program is writing; try again.",
}


class HistoryError(ForedraftError):
    """The chat history cannot be used. `code` is "history"."""

    code = "history"


@contextlib.contextmanager
def history() -> Iterator[ChatStore]:
    """The chat history of this user; several programs may have it open. Raises `HistoryError`."""
    from foredraft.chats import ChatStore
    from foredraft.config.folders import data_folder

    with worded():
        store = ChatStore(data_folder() / "chats.db")
    try:
        with worded():
            yield store
    finally:
        store.close()


@contextlib.contextmanager
def worded() -> Iterator[None]:
    """The store's errors, in words."""
    from foredraft.chats import ChatStoreError

    try:
        yield
    except ChatStoreError as error:
        raise HistoryError(f"The chat history cannot be used: {error}", hint=_HINTS.get(error.code, "")) from None


def chat_named(store: ChatStore, wanted: str, *, whole: bool = False) -> Chat:
    """A chat by its id or the beginning of one ("last": the newest); only by the whole id where `whole`. Raises
    `HistoryError`."""
    if wanted == LAST and not whole:
        newest = store.recent(1)
        if not newest:
            raise HistoryError("There is no chat yet.", hint="`foredraft chat` begins one.")
        return newest[0]
    chat = store.get(wanted)
    if chat is not None:
        return chat
    every = store.recent(store.count())
    found = [chat for chat in every if len(wanted) >= 3 and chat.id.startswith(wanted)]
    if len(found) == 1 and not whole:
        return found[0]
    near = ", ".join(f"{chat.id} ({chat.title})" for chat in (found or every)[:3])
    hint = f"There are: {near}." if near else "`foredraft chat` begins one."
    raise HistoryError(f"There is {'more than one' if len(found) > 1 else 'no'} chat {wanted!r}.", hint=hint)


def messages_of(store: ChatStore, chat: Chat) -> list[Message]:
    """The branch that is shown, as a model reads it."""
    from foredraft.chats.attachments import attachments_of, with_attachments
    from foredraft.ui.tokens import thought_of

    messages = [{"role": "system", "content": chat.system_prompt}] if chat.system_prompt else []
    for message in store.messages(chat.id):
        thought = thought_of(message.tokens)
        said = with_attachments(message.text, attachments_of(message.meta))
        more = {"reasoning_content": thought} if thought else {}
        messages.append({"role": message.role, "content": said, **more})
    return messages


class Kept:
    """A conversation as it is kept: nothing before its first answer."""

    def __init__(self, store: ChatStore, chat: Chat | None = None) -> None:
        self._store = store
        self._chat = chat

    @property
    def id(self) -> str:
        return self._chat.id if self._chat is not None else ""

    def begin(self, messages: Sequence[Message] = ()) -> None:
        """From now on a new chat. With `messages` (of a conversation that was loaded) they are its beginning."""
        self._chat = None
        if not messages:
            return
        system = next((message["content"] for message in messages if message["role"] == "system"), "")
        turns = [message for message in messages if message["role"] != "system"]
        with worded():
            chat = self._begun(turns[0]["content"] if turns else "", system, {})
            above: int | None = None
            for message in turns:
                above = self._store.add(
                    chat.id,
                    message["role"],
                    message["content"],
                    parent=above,
                    tokens=_as_tokens(message.get("reasoning_content", ""), message["content"])
                    if message["role"] == "assistant"
                    else [],
                )

    def set_system(self, text: str) -> None:
        if self._chat is not None:
            with worded():
                self._store.change(self._chat.id, system_prompt=text)

    def turn(
        self,
        said: str,
        told: Told,
        generation: Generation,
        placed: Sequence[Placed],
        names: tuple[str, str],
        asked: GenerateOptions,
    ) -> None:
        """Keep a message and its answer. `names`: of model and draft. Raises `HistoryError`."""
        with worded():
            chat = self._chat or self._begun(said, asked.system or "", _settings(asked))
            below = self._store.add(chat.id, "user", said, parent=self._leaf(chat))
            self._answer(chat, below, told, generation, placed, names)

    def again(self, told: Told, generation: Generation, placed: Sequence[Placed], names: tuple[str, str]) -> None:
        """Keep another answer to the last message, beside the one there is. Raises `HistoryError`."""
        if self._chat is None:
            return
        with worded():
            leaf = self._leaf(self._chat)
            last = self._store.message(leaf) if leaf is not None else None
            if last is not None and last.parent is not None:
                self._answer(self._chat, last.parent, told, generation, placed, names)

    def _begun(self, first: str, system: str, settings: dict[str, Any]) -> Chat:
        from foredraft.chats.records import title_of

        self._chat = self._store.create(title_of(first), settings=settings, system_prompt=system)
        return self._chat

    def _leaf(self, chat: Chat) -> int | None:
        now = self._store.get(chat.id)
        if now is None:
            raise HistoryError("This chat was deleted meanwhile.", hint="/new begins another.")
        return now.leaf

    def _answer(
        self,
        chat: Chat,
        below: int,
        told: Told,
        generation: Generation,
        placed: Sequence[Placed],
        names: tuple[str, str],
    ) -> None:
        from foredraft.ui.tokens import content_of, thought_of, token_of

        tokens = [token_of(one) for one in placed]
        if (thought_of(tokens), content_of(tokens)) != (told.reasoning, told.content):
            tokens = _as_tokens(told.reasoning, told.content)
        self._store.add(
            chat.id,
            "assistant",
            told.content,
            parent=below,
            model=names[0],
            draft=names[1],
            tokens=tokens,
            meta={**_meta(generation), "draft": names[1] or None},
        )


def _as_tokens(thought: str, content: str) -> list[Token]:
    """Thinking and content in two pieces, where their tokens are not known."""
    return [[thought, "m", 0, "", None, "", "t"], [content, "m", 0]] if thought else []


def _settings(asked: GenerateOptions) -> dict[str, Any]:
    """What the app goes on with."""
    from foredraft.ui.choices import Choices

    return Choices(max_tokens=asked.max_tokens, **asked.said(SamplingParams)).stored()


def _meta(generation: Generation) -> dict[str, Any]:
    """What was counted about an answer, as the app keeps it."""
    stats = generation.stats
    return {
        "stop_reason": generation.stop_reason,
        "seed": generation.seed,
        "speculation": generation.speculation.as_dict(),
        "exact": generation.numerics.batches_exact if generation.numerics else None,
        "stats": stats.as_dict(),
        "timeline": [[0.0, 0], [round(stats.generation_s, 3), stats.tokens]],
        "events": [],
    }
