"""A stream goes at the pace of its reader, and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from foredraft.server.sse import EventStream

SCOPE: dict[str, Any] = {"type": "http"}


class Reader:
    """The other end of a connection: takes `room` chunks, then nothing more until it is told to."""

    def __init__(self, room: int) -> None:
        self.got: list[bytes] = []
        self.gone = asyncio.Event()
        self.full = asyncio.Event()
        self.go_on = asyncio.Event()
        self._room = room

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.body":
            self.got.append(message.get("body", b""))
            if len(self.got) >= self._room:
                self.full.set()
                await self.go_on.wait()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}


class Source:
    """An endless stream that counts what was asked of it."""

    def __init__(self, last: int = 10**9) -> None:
        self.made, self.closed = 0, False
        self._last = last

    async def events(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.made < self._last:
                self.made += 1
                yield b"data: %d\n\n" % self.made
        finally:
            self.closed = True


async def test_nothing_is_made_ahead_of_a_slow_reader() -> None:
    reader, source = Reader(room=3), Source(last=50)
    answer = asyncio.create_task(EventStream(source.events())(SCOPE, reader.receive, reader.send))
    await reader.full.wait()
    for _ in range(100):
        await asyncio.sleep(0)
    assert source.made == 3
    reader.go_on.set()
    await answer
    assert b"".join(reader.got) == b"".join(b"data: %d\n\n" % i for i in range(1, 51))


async def test_a_reader_that_goes_ends_its_stream() -> None:
    reader, source = Reader(room=10**9), Source()
    answer = asyncio.create_task(EventStream(source.events())(SCOPE, reader.receive, reader.send))
    while len(reader.got) < 5:
        await asyncio.sleep(0)
    reader.gone.set()
    await answer
    assert source.closed


async def test_a_silent_stream_is_kept_open() -> None:
    reader, go = Reader(room=10**9), asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        await go.wait()
        yield b"data: 1\n\n"

    answer = asyncio.create_task(EventStream(events(), ping_s=0.001)(SCOPE, reader.receive, reader.send))
    while len(reader.got) < 2:
        await asyncio.sleep(0)
    assert all(chunk.startswith(b":") for chunk in reader.got)
    go.set()
    await answer
    assert b"data: 1\n\n" in reader.got
