"""Bodies of requests: read within the limits and checked, larger ones in a thread, and large ones in a child process.

`LimitedRoute` is the class of every API route: FastAPI then finds the JSON read and, where that takes time, checked.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

from fastapi import Request
from fastapi._compat import ModelField
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from foredraft.child import ChildError
from foredraft.core.cancellation import still_wanted
from foredraft.requests.warnings import noting
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.jsontext import value_of
from foredraft.server.lenient import HEADER, header
from foredraft.server.origins import from_a_browser
from foredraft.server.pieces import put_together
from foredraft.server.pools import Pools
from foredraft.server.sse import ClientGoneError, while_connected

AT_ONCE = 16 << 10
"""Bytes that are read where they come: shorter than the way to another thread."""
LARGE = 128 << 10
"""Bytes that are read in a process of their own: the worst of fewer hold Python's lock for 10 ms, of more for 90."""


class BodyError(RequestError):
    """A body was not read to its end, though nothing was seen to be wrong with it. `reason` as a `ChildError`'s."""

    code = "body"

    def __init__(self, error: ChildError) -> None:
        died = error.reason not in ("time", "memory")
        hint = "Send it again." if died else "Send less at once."
        super().__init__(f"The body could not be read: {error.message}.", hint=hint, status=503 if died else 413)
        self.reason = error.reason


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

        field = self.body_field
        checked = field if any(field is one for one in self.dependant.body_params) else None

        async def handler(request: Request) -> Response:
            taken = _Read(_as_json(request.scope), request.receive)
            try:
                body = await taken.body()
            except ClientDisconnect:
                raise ClientGoneError from None
            with noting() as said:
                if body:
                    untyped = _untyped(request.headers)
                    pools = cast(Services, request.app.state.services).pools
                    try:
                        if len(body) <= AT_ONCE:
                            taken.read = value_of(body)
                        else:
                            reading = pools.bodies.run(_taken, body, pools, checked)
                            taken.read = await while_connected(taken, reading)
                    except ValueError as error:  # FastAPI asks for it, and words it
                        if untyped:
                            raise _not_said(request.headers) from None
                        taken.read = error
                answer = await inner(taken)
            if said:
                answer.headers[HEADER] = header(said)
            return answer

        return handler


async def read_json(body: bytes, pools: Pools) -> Any:
    """The value of a JSON text. Raises `ValueError`, `LimitError` where it would be too much to read, `BodyError`."""
    if len(body) <= AT_ONCE:
        return value_of(body)
    return await pools.bodies.run(_read, body, pools)


def _read(body: bytes, pools: Pools) -> Any:
    if len(body) <= LARGE:
        with _COLLECTOR.off():
            return value_of(body)
    try:
        found = pools.readers.pieces(body, still_wanted)
    except ChildError as error:
        raise BodyError(error) from None
    with _COLLECTOR.off():
        return put_together(found)


def _taken(body: bytes, pools: Pools, field: ModelField | None) -> Any:
    """A body as the route wants it. Raises `RequestValidationError`, too."""
    value = _read(body, pools)
    if field is None:
        return value
    with _COLLECTOR.off():
        checked, wrong = field.validate(value, {}, loc=("body",))
    if wrong:
        raise RequestValidationError(wrong, body=value)
    return checked


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
