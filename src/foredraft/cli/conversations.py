"""Conversations of `foredraft chat` that are kept under a name, and the lines that were typed: in the data folder, for
their owner alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foredraft.config.folders import close_off, data_folder, make_private
from foredraft.core import files
from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.reasons import Reason

LINES = 1_000
"""Typed lines that are remembered."""
_NAME = re.compile(r"[\w][\w .-]{0,99}")
_ROLES = ("system", "user", "assistant")


def names() -> list[str]:
    """Kept conversations, the newest first."""
    found = sorted(_folder().glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in found]


def save(name: str, messages: list[dict[str, str]]) -> Path:
    """Keep a conversation; one of that name is replaced. Raises `ForedraftError`."""
    path = _path(name)
    try:
        make_private(path.parent)
        handle, partial = tempfile.mkstemp(dir=path.parent, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump({"messages": messages}, out, ensure_ascii=False, indent=1)
            files.replace(Path(partial), path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ForedraftError(Reason("conversation_unkept", {"error": error.strerror or str(error)})) from None
    return path


def load(name: str) -> list[dict[str, str]]:
    """A kept conversation. Raises `ForedraftError` for one that is not there, or is none."""
    path = _path(name)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["messages"]
        messages = [
            {"role": str(one["role"]), "content": str(one["content"])}
            | ({"reasoning_content": str(one["reasoning_content"])} if one.get("reasoning_content") else {})
            for one in said
        ]
    except FileNotFoundError:
        kept = ", ".join(names()[:10])
        hint = Reason("hint_there_are", {"names": kept}) if kept else Reason("hint_save_name")
        raise ForedraftError(Reason("no_conversation", {"name": name}), hint=hint) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ForedraftError(Reason("file_unreadable", {"file": str(path), "error": str(error)})) from None
    if any(message["role"] not in _ROLES for message in messages):
        raise ForedraftError(Reason("not_a_conversation", {"path": str(path)}))
    return messages


@contextlib.contextmanager
def remembered_lines() -> Iterator[None]:
    """Line editing with the lines of earlier chats, where the system has it. What is pasted stays one message."""
    try:
        import readline
    except ImportError:  # Windows' console has its own
        yield
        return
    path = data_folder() / "chat-lines"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(LINES)
    readline.parse_and_bind("set enable-bracketed-paste on")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            make_private(path.parent)
            readline.write_history_file(path)
            close_off(path)


def _folder() -> Path:
    return data_folder() / "conversations"


def _path(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ParameterError("name", name, Reason("allowed_name"))
    return _folder() / f"{name}.json"
