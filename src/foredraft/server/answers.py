"""Answers that are sent whole: waited for, and read."""

from __future__ import annotations

from starlette.requests import Request

from foredraft.scheduling.answer import Generation
from foredraft.server.asking import Asked, Choice
from foredraft.server.sse import while_connected


async def results(request: Request, asked: Asked) -> list[Generation]:
    """Wait for every answer, unless the client leaves: then they are cancelled."""
    try:
        return await while_connected(request, _all(asked))
    finally:
        asked.cancel()


async def _all(asked: Asked) -> list[Generation]:
    return [await choice.result() for choice in asked.choices]


def read_whole(choice: Choice, answer: Generation) -> None:
    """Read a finished answer: its thinking, content and calls are in `choice.reader` then."""
    choice.reader.read(answer.pieces)
    choice.reader.end()
