"""Conversations as SDKs send them, to messages in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from foredraft.chats.attachments import with_attachments
from foredraft.server import limits
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk.wire import Heard
from foredraft.server.uploads import Uploads


class CallRequest(Heard):
    id: str | None = None
    name: str
    arguments: dict[str, Any] | None = None


class Part(Heard):
    """Text, a file, a call of a tool, or what came of one; `type` decides which fields are there."""

    type: str
    text: str = ""
    name: str | None = None
    identifier: str = ""
    file_type: str = ""
    tool_call_request: CallRequest | None = None
    content: str = ""
    tool_call_id: str | None = None


class Message(Heard):
    role: Literal["system", "user", "assistant", "tool"]
    content: Annotated[list[Part], limits.at_most(limits.PARTS, "content")] = Field(default=[])


class History(Heard):
    messages: Annotated[list[Message], limits.at_most(limits.MESSAGES, "history.messages")] = Field(default=[])


def messages_of(history: History, uploads: Uploads) -> list[dict[str, Any]]:
    """The conversation. A file's text stands before the text of the message that brings it. Raises `RequestError` for
    parts that cannot be read, by their place."""
    messages: list[dict[str, Any]] = []
    for i, message in enumerate(history.messages):
        place = f"history.messages.{i}.content"
        if message.role == "tool":
            messages += [_result(part, f"{place}.{k}") for k, part in enumerate(message.content)]
            continue
        result: dict[str, Any] = {"role": message.role, "content": _text(message.content, uploads, place)}
        calls = [part.tool_call_request for part in message.content if part.type == "toolCallRequest"]
        if calls:
            result["tool_calls"] = [_call(call, f"call_{i}_{k}") for k, call in enumerate(calls) if call is not None]
        messages.append(result)
    return messages


def plain_text(history: History) -> str:
    """All text of a conversation, one after the other: what is continued where no template is wanted."""
    return "".join(part.text for message in history.messages for part in message.content if part.type == "text")


def _text(parts: Sequence[Part], uploads: Uploads, place: str) -> str:
    texts, files = [], []
    for k, part in enumerate(parts):
        if part.type == "text":
            texts.append(part.text)
        elif part.type == "file":
            file = uploads.get(part.identifier)
            if file is None:
                raise RequestError(
                    f"The file {part.name or part.identifier!r} is not here (any more).",
                    param=f"{place}.{k}",
                    hint="Upload it again: files are kept while there is room for them, and until the server ends.",
                )
            files.append(file)
        elif part.type != "toolCallRequest":
            raise RequestError(f"Content of the type {part.type!r} cannot be read.", param=f"{place}.{k}.type")
    return with_attachments("".join(texts), files)


def _call(call: CallRequest, without: str) -> dict[str, Any]:
    arguments = json.dumps(call.arguments or {}, ensure_ascii=False)
    return {"id": call.id or without, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _result(part: Part, place: str) -> dict[str, Any]:
    if part.type != "toolCallResult":
        raise RequestError(f"A tool's message has content of the type {part.type!r}.", param=f"{place}.type")
    message: dict[str, Any] = {"role": "tool", "content": part.content, "tool_call_id": part.tool_call_id or ""}
    if part.name is not None:
        message["name"] = part.name
    return message
