"""Who may come in: the key, the browser's origin, the size of a body. Runs before everything else.

The server listens on the loopback by default, where any web page that is open in a browser could reach it. So requests
with a foreign `Origin` are refused unless CORS allows it, and on the loopback the `Host` must be the loopback's too (a
name that an attacker points to 127.0.0.1 is not).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foredraft.core.errors import ForedraftError
from foredraft.server.errors import RequestError, error_body, word
from foredraft.server.limits import LimitError
from foredraft.server.services import ServerSettings

OPEN_PATHS = frozenset({"/health"})


def is_loopback(host: str) -> bool:
    """127.0.0.1, ::1, localhost."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class BodyTooLargeError(Exception):
    """More bytes came than a request may have."""


class Guard:
    """ASGI middleware. Refuses with an error in OpenAI's form."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._key = hashlib.sha256(settings.api_key.encode()).digest() if settings.api_key else b""
        self._local = is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        seen, begun, refused = 0, False, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > self._settings.max_body:
                    raise BodyTooLargeError
            return message

        async def watched(message: Message) -> None:
            nonlocal refused
            nonlocal begun
            if seen <= self._settings.max_body:
                begun = True
                await send(message)
            elif not (begun or refused):  # whatever the route made of the broken body
                refused = True
                await _refuse(scope, send, self._too_large(seen))

        try:
            await self._app(scope, counted, watched)
        except BodyTooLargeError:
            if not (begun or refused):
                await _refuse(scope, send, self._too_large(seen))

    def _refusal(self, scope: Scope, headers: Headers) -> ForedraftError | None:
        size = headers.get("content-length", "0")
        if not size.isdecimal() or len(size) > 18:
            return RequestError(f"Content-Length is {size[:40]!r}, not a number of bytes.")
        if int(size) > self._settings.max_body:
            return self._too_large(int(size))
        host = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if self._local and host and not is_loopback(host) and host != "testserver":
            return RequestError(f"This server is not called {host}.", status=403, hint="It serves the loopback only.")
        origin = headers.get("origin")
        if origin and not self._may_call(origin, headers.get("host", "")):
            return RequestError(
                f"Web pages of {origin} may not call this server.", status=403, hint="Allow them with --cors."
            )
        if self._key and scope["path"] not in OPEN_PATHS and not self._has_key(headers):
            return RequestError(
                "The API key is missing or wrong.",
                status=401,
                hint="Send it as `Authorization: Bearer KEY`.",
            )
        return None

    def _may_call(self, origin: str, host: str) -> bool:
        """The app's own pages may, and those of the origins that CORS allows."""
        allowed = self._settings.cors_origins
        return origin in allowed or "*" in allowed or urlsplit(origin).netloc == host

    def _has_key(self, headers: Headers) -> bool:
        kind, _, value = headers.get("authorization", "").partition(" ")
        if kind.lower() == "basic":  # what a browser asks for, when the app is opened
            try:
                value = base64.b64decode(value).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                value = ""
        elif kind.lower() != "bearer":
            value = headers.get("x-api-key", "")
        given = hashlib.sha256(value.strip().encode("utf-8", "surrogateescape")).digest()
        return hmac.compare_digest(given, self._key)

    def _too_large(self, seen: int) -> LimitError:
        most = self._settings.max_body
        return LimitError(
            f"The body has {seen:,} bytes or more, but at most {most:,} are allowed.", seen, most, status=413
        )


async def _refuse(scope: Scope, send: Send, error: ForedraftError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    status = word(error).status
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="Foredraft", charset="UTF-8"'))
    if status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(error_body(error)).encode()})
