"""Bodies of requests: read within the limits, and large ones off the event loop.

`LimitedRoute` is the class of every API route: FastAPI then finds the JSON read already.
"""

from __future__ import annotations

import contextlib
import gc
import json
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from foredraft.server.errors import RequestError
from foredraft.server.limits import check_json
from foredraft.server.pools import Pool
from foredraft.server.services import Services
from foredraft.server.sse import ClientGoneError

AT_ONCE = 16 << 10
"""Bytes that are read where they come: shorter than the way to another thread."""


class _Read(Request):
    """A request whose body has been read."""

    read: Any = None

    async def json(self) -> Any:
        if isinstance(self.read, ValueError):
            raise self.read
        return self.read


class LimitedRoute(APIRoute):
    """A route whose bodies are JSON within the limits of `limits.py`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        inner = super().get_route_handler()
        if self.body_field is None:
            return inner

        async def handler(request: Request) -> Response:
            taken = _Read(request.scope, request.receive)
            try:
                body = await taken.body()
            except ClientDisconnect:
                raise ClientGoneError from None
            if body:
                _check_type(request.headers.get("content-type", ""))
                services = cast(Services, request.app.state.services)
                try:
                    taken.read = await read_json(body, services.pools.bodies)
                except ValueError as error:  # FastAPI asks for it, and words it
                    taken.read = error
            return await inner(taken)

        return handler


async def read_json(body: bytes, pool: Pool) -> Any:
    """The value of a JSON text. Raises `ValueError`, or `LimitError` where it would be too much to read."""
    if len(body) <= AT_ONCE:
        return _read(body)
    return await pool.run(_read, body)


def _read(body: bytes) -> Any:
    check_json(body)
    try:
        with _COLLECTOR.off():
            return _parsed(body)
    except RecursionError:
        raise ValueError("nested too deep") from None


_HALVES = re.compile("[\ud800-\udfff]")


def _parsed(body: bytes) -> Any:
    """No other thread of Python runs meanwhile, and pydantic's parser takes half the time of the standard library's for
    the worst bodies there are. It refuses half of a surrogate pair, which JavaScript sends of an emoji that was cut in
    two: no text can hold one, so U+FFFD takes its place."""
    try:
        return from_json(body)
    except ValueError:
        value = json.loads(body)
    return json.loads(_HALVES.sub("\ufffd", json.dumps(value, ensure_ascii=False)))


class _Collector:
    """The garbage collector, for as long as somebody reads a body: it would look again and again at all that has been
    read so far, and holds up every thread while it does. JSON has no circles, so nothing is missed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0

    @contextlib.contextmanager
    def off(self) -> Iterator[None]:
        with self._lock:
            self._readers += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    gc.enable()


_COLLECTOR = _Collector()


def _check_type(content_type: str) -> None:
    """A body that does not say that it is JSON is refused: web pages of others can send no other without asking."""
    kind = content_type.partition(";")[0].strip().lower()
    main, _, sub = kind.partition("/")
    if main != "application" or (sub != "json" and not sub.endswith("+json")):
        raise RequestError(
            f"The body's Content-Type is {kind or 'missing'}.", hint="Send Content-Type: application/json.", status=415
        )
