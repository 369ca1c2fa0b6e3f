"""What an endpoint is: a call that has one result, or a channel on which messages go both ways until it closes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.sdk.wire import Heard, Said

PULSE_S = 10.0
"""Something is said on a waiting channel this often: the Python library gives up after 60 s of silence."""
LONGEST_SAID = 700


@dataclass(slots=True)
class Channel:
    """One open channel. `say` sends a message on it."""

    send: Callable[[Said], Awaitable[None]]
    stopped: bool = False
    """The client has asked for the end, with `cancel` or `stop`."""
    _on_stop: list[Callable[[], object]] = field(default_factory=list)
    _last: float = 0.0

    async def say(self, message: Said) -> None:
        self._last = asyncio.get_running_loop().time()
        await self.send(message)

    def hear(self, message: Mapping[str, Any]) -> None:
        """A message of the client's. All that clients say on the channels served here is that it is enough."""
        if message.get("type") in ("cancel", "stop") and not self.stopped:
            self.stopped = True
            for act in self._on_stop:
                act()

    def on_stop(self, act: Callable[[], object]) -> None:
        """Call this when the client has had enough; at once where it has already."""
        self._on_stop.append(act)
        if self.stopped:
            act()

    async def until_stopped(self) -> None:
        """Wait for the client to say that it is enough."""
        stopped = asyncio.Event()
        self.on_stop(stopped.set)
        await stopped.wait()

    @contextlib.asynccontextmanager
    async def pulsing(self, message: Callable[[], Said]) -> AsyncGenerator[None, None]:
        """Say `message()` whenever nothing else was said for `PULSE_S`."""

        async def pulse() -> None:
            loop = asyncio.get_running_loop()
            while True:
                rest = self._last + PULSE_S - loop.time()
                if rest > 0:
                    await asyncio.sleep(rest)
                else:
                    await self.say(message())

        self._last = asyncio.get_running_loop().time()
        pulsing = asyncio.create_task(pulse())
        try:
            yield
        finally:
            pulsing.cancel()
            await asyncio.gather(pulsing, return_exceptions=True)


Result = Said | list[Any] | None
Call = Callable[[Services, Any], Awaitable[Result]]
Follow = Callable[[Services, Any, Channel], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Namespace:
    """The endpoints behind one path, each with the form of its parameter (None where it takes none)."""

    calls: Mapping[str, tuple[type[Heard] | None, Call]]
    channels: Mapping[str, tuple[type[Heard] | None, Follow]] = field(default_factory=dict)


def parameter(form: type[Heard] | None, given: Any) -> Heard | None:
    """The parameter of a call. Raises `RequestError`, which names the field."""
    if form is None:
        return None
    try:
        return form.model_validate(given if given is not None else {})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestError(f"{place or 'The parameter'}: {first['msg']}.", param=place or None) from None


def on_one_line(text: str) -> str:
    """What a client said, for the log: short, and without what would move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text[:LONGEST_SAID]).strip()
