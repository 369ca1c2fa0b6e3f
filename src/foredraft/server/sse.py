"""Streams (server-sent events, or lines of JSON), and noticing that the client has gone.

FastAPI frames the events; the response is our own because one path answers with JSON or with a stream, and because a
client that leaves must end its answer within one round, also while nothing is being sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.types import Receive, Scope, Send

T = TypeVar("T")
DONE = format_sse_event(data_str="[DONE]")


def event(data: Any, name: str | None = None) -> bytes:
    """One event with JSON in it."""
    return format_sse_event(data_str=json.dumps(data, ensure_ascii=False, separators=(",", ":")), event=name)


class ClientGoneError(Exception):
    """The client has closed its connection; there is nobody to answer."""


def line(data: Any) -> bytes:
    """One line of JSON."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class EventStream(Response):
    """Sends what an async generator of events yields. When the client goes, the generator is closed at once.

    A silent stream gets a `ping` every `ping_s` seconds."""

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        ping_s: float | None = 15.0,
        ping: Callable[[], bytes] = lambda: KEEPALIVE_COMMENT,
    ) -> None:
        """After `ping_s` seconds of silence `ping` is sent: a comment, or an event for clients that count no others."""
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._ping_s = ping_s
        self._ping = ping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_disconnected(receive))
        coming: asyncio.Task[bytes] | None = None
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while True:
                coming = coming or asyncio.ensure_future(anext(self._events))
                await asyncio.wait({coming, gone}, timeout=self._ping_s, return_when=asyncio.FIRST_COMPLETED)
                if gone.done():
                    return
                if not coming.done():
                    await send({"type": "http.response.body", "body": self._ping(), "more_body": True})
                    continue
                try:
                    chunk = coming.result()
                except StopAsyncIteration:
                    break
                finally:
                    coming = None
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            if coming is not None:
                coming.cancel()
                with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                    await coming
            await self._events.aclose()


class LineStream(EventStream):
    """The same of lines of JSON (NDJSON), whose readers take nothing else: a silent one stays silent."""

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncGenerator[bytes, None]) -> None:
        super().__init__(lines, ping_s=None)


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`, unless the client goes first: then it is cancelled and `ClientGoneError` raised."""
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientGoneError
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
