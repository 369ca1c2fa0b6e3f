"""What the chat history holds, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

RUNNING, DONE, INTERRUPTED, FAILED = "running", "done", "interrupted", "failed"
"""The states of a message. An answer that was running when the program ended is interrupted."""

Token = list[Any]
"""One token of an answer: [text, origin, draft position, source, …] (`ui/tokens.py`)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. Messages are a tree: versions of one message share their `parent`."""

    id: int
    chat_id: str
    parent: int | None
    role: str
    """user or assistant."""
    text: str
    created: float
    status: str = DONE
    model: str = ""
    draft: str = ""
    tokens: list[Token] = field(default_factory=list)
    meta: dict[str, Any] = field(default_factory=dict)
    """Statistics, stop reason, error, baseline: whatever was counted about it."""
    version: int = 1
    """Which of `versions` this is, 1 and up, in order of creation."""
    versions: tuple[int, ...] = ()
    """Ids of all messages with the same parent and role."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat without its messages. Times are Unix seconds."""

    id: str
    title: str
    created: float
    changed: float
    leaf: int | None = None
    """The last message of the branch that is shown."""
    system_prompt: str = ""
    unsent: str = ""
    """What was typed but not sent."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Sampling and speculation of this chat."""
    folder: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A chat that a search found, with the words around the first place."""

    chat: Chat
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class Preset:
    """Named settings: system prompt, sampling, speculation."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


LONGEST_TITLE = 60
"""Characters of a title that is made of a message."""


def title_of(text: str) -> str:
    """A chat's name from its first message."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1] + "…"
