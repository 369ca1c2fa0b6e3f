"""Answers that are sent whole: waited for, and read; and what is kept of any."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from foredraft.formats.response_parser import ResponseParser
from foredraft.scheduling.request import Generation
from foredraft.server.pipeline import Completion, Submitted
from foredraft.server.sse import while_connected


async def results(request: Request, asked: Submitted) -> list[Generation]:
    """Wait for every answer, unless the client leaves: then they are cancelled."""
    try:
        return await while_connected(request, _all(asked))
    finally:
        asked.cancel()


async def _all(asked: Submitted) -> list[Generation]:
    return [await choice.result() for choice in asked.choices]


def read_whole(choice: Completion, answer: Generation) -> None:
    """Read a finished answer: its thinking, content and calls are in `choice.parser` then."""
    choice.parser.read(answer.pieces)
    choice.parser.end()


def as_message(reader: ResponseParser) -> dict[str, Any]:
    """A whole answer as a message of the conversation, as chat templates take it."""
    message: dict[str, Any] = {"role": "assistant", "content": reader.content}
    if reader.reasoning:
        message["reasoning_content"] = reader.reasoning
    if reader.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in reader.calls
        ]
    return message
