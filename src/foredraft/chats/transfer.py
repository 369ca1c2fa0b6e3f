"""Chats as files: Markdown to read, JSON to keep, and LM Studio's chat files coming in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from foredraft.chats.attachments import attachments_of, with_attachments
from foredraft.chats.records import Chat
from foredraft.chats.store import NOT_A_CHAT, ChatStore, ChatStoreError
from foredraft.core.stats import GenerationStats

FORMAT = "foredraft-chat-1"


def to_markdown(store: ChatStore, chat: Chat) -> str:
    """The branch that is shown, as Markdown."""
    parts = [f"# {chat.title}"]
    if chat.system_prompt:
        parts.append("> " + chat.system_prompt.replace("\n", "\n> "))
    for message in store.messages(chat.id):
        name = "User" if message.role == "user" else message.model or "Assistant"
        parts.append(f"## {name}\n\n{with_attachments(message.text, attachments_of(message.meta))}")
    return "\n\n".join(parts) + "\n"


def to_json(store: ChatStore, chat: Chat) -> str:
    """The branch that is shown with everything counted about it."""
    messages = [
        {
            "role": message.role,
            "text": message.text,
            "created": message.created,
            "model": message.model,
            "draft": message.draft,
            "tokens": message.tokens,
            "meta": message.meta,
        }
        for message in store.messages(chat.id)
    ]
    whole = {
        "format": FORMAT,
        "title": chat.title,
        "created": chat.created,
        "system_prompt": chat.system_prompt,
        "settings": chat.settings,
        "messages": messages,
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def from_json(store: ChatStore, data: Any) -> Chat:
    """A new chat from the JSON of a file of ours or of LM Studio's. Raises `ChatStoreError` with what was wrong."""
    if not isinstance(data, dict) or not isinstance(data.get("messages"), list):
        raise ChatStoreError(NOT_A_CHAT, "Not a chat: there is no list of messages.")
    ours = data.get("format") == FORMAT
    turns = list(_our_turns(data["messages"]) if ours else _lmstudio_turns(data["messages"]))
    title = data.get("title") if ours else data.get("name")
    system = data.get("system_prompt") if ours else data.get("systemPrompt")
    settings = data.get("settings") if ours else {}
    chat = store.create(
        title if isinstance(title, str) else "",
        settings=settings if isinstance(settings, dict) else {},
        system_prompt=system if isinstance(system, str) else "",
    )
    above: int | None = None
    try:
        for turn in turns:
            above = store.add(chat.id, parent=above, **turn)
    except ChatStoreError:  # the disk is full, say: half a chat is none
        with contextlib.suppress(ChatStoreError):
            store.delete(chat.id)
        raise
    return store.get(chat.id) or chat


def _our_turns(messages: list[Any]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            raise ChatStoreError(NOT_A_CHAT, "A message has no role.")
        tokens, meta = message.get("tokens"), message.get("meta")
        yield {
            "role": message["role"],
            "text": str(message.get("text", "")),
            "model": str(message.get("model", "")),
            "draft": str(message.get("draft", "")),
            "tokens": tokens if isinstance(tokens, list) else [],
            "meta": _sound(meta) if isinstance(meta, dict) else {},
        }


def _sound(meta: dict[str, Any]) -> dict[str, Any]:
    """What is known about an answer, without the parts that a page could not show."""
    stats = meta.get("stats")
    if stats is not None and not _like(stats, GenerationStats().as_dict()):
        meta = {name: value for name, value in meta.items() if name != "stats"}
    for name, shape in (("timeline", 2), ("events", 3)):
        rows = meta.get(name, [])
        if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == shape for row in rows):
            meta = {key: value for key, value in meta.items() if key != name}
    return meta


def _like(value: object, example: dict[str, Any]) -> bool:
    """Whether it has everything that the example has, numbers for numbers."""
    if not isinstance(value, dict):
        return False
    for name, wanted in example.items():
        found = value.get(name, ...)
        numbers = isinstance(wanted, (int, float, type(None)))
        if found is ... or not isinstance(found, (int, float, type(None)) if numbers else type(wanted)):
            return False
        if found is None and wanted is not None:
            return False
    return True


def _lmstudio_turns(messages: list[Any]) -> Iterator[dict[str, Any]]:
    """LM Studio keeps versions of every message, each one step (user) or several (assistant), each a list of parts."""
    for message in messages:
        versions = message.get("versions") if isinstance(message, dict) else None
        if not isinstance(versions, list) or not versions:
            continue
        chosen = message.get("currentlySelected", 0)
        version = versions[chosen if isinstance(chosen, int) and 0 <= chosen < len(versions) else -1]
        role = version.get("role")
        if role not in ("user", "assistant"):
            continue
        sender = version.get("senderInfo") or {}
        text = "".join(_texts(version.get("content"))) + "".join(
            text
            for step in version.get("steps") or []
            if isinstance(step, dict) and step.get("type") == "contentBlock"
            for text in _texts(step.get("content"))
        )
        yield {"role": role, "text": text, "model": str(sender.get("senderName", "")) if role == "assistant" else ""}


def _texts(content: Any) -> Iterator[str]:
    for part in content if isinstance(content, list) else []:
        if isinstance(part, dict) and part.get("type") == "text":
            yield str(part.get("text", ""))
