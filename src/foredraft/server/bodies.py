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
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from foredraft.requests.warnings import noting
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.lenient import HEADER, header
from foredraft.server.limits import check_json
from foredraft.server.origins import from_a_browser
from foredraft.server.pools import Pool
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
            taken = _Read(_as_json(request.scope), request.receive)
            try:
                body = await taken.body()
            except ClientDisconnect:
                raise ClientGoneError from None
            if body:
                untyped = _untyped(request.headers)
                services = cast(Services, request.app.state.services)
                try:
                    taken.read = await read_json(body, services.pools.bodies)
                except ValueError as error:  # FastAPI asks for it, and words it
                    if untyped:
                        raise _not_said(request.headers) from None
                    taken.read = error
            with noting() as said:
                answer = await inner(taken)
            if said:
                answer.headers[HEADER] = header(said)
            return answer

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


def _says_json(headers: Headers) -> bool:
    main, _, sub = headers.get("content-type", "").partition(";")[0].strip().lower().partition("/")
    return main == "application" and (sub == "json" or sub.endswith("+json"))


def _as_json(scope: Scope) -> Scope:
    """The scope of a request whose body is read as JSON, whatever it says that it is."""
    if _says_json(Headers(scope=scope)):
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _untyped(headers: Headers) -> bool:
    """Whether a body does not say that it is JSON, but may be: `curl -d` says it is a form. Never from a browser:
    web pages of others can send such bodies, and no others, without asking first."""
    if _says_json(headers):
        return False
    if from_a_browser(headers):
        raise _not_said(headers)
    return True


def _not_said(headers: Headers) -> RequestError:
    kind = headers.get("content-type", "").partition(";")[0].strip()[:100]
    hint = "Send JSON, with Content-Type: application/json."
    return RequestError(f"The body's Content-Type is {kind or 'missing'}.", hint=hint, status=415)
