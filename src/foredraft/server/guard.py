"""Who may come in: the key, the browser's origin, the size of a body. Runs before everything else.

The server listens on the loopback by default, where any web page that is open in a browser could reach it. So requests
with a foreign `Origin` are refused unless `--cors` allows it for the API (`origins.py`), and on the loopback the `Host`
must be the loopback's too (a name that an attacker points to 127.0.0.1 is not), or what a container calls it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foredraft.core.errors import ForedraftError, LimitError
from foredraft.server.context import ServerSettings
from foredraft.server.errors import RequestError, error_answer
from foredraft.server.origins import CONTAINERS, allows, from_a_browser, is_loopback
from foredraft.server.proof import Door
from foredraft.words import negotiate, words

OPEN_PATHS = frozenset({"/health", "/lmstudio-greeting"})
SOCKETS = frozenset(
    {"/llm", "/embedding", "/system", "/files", "/repository", "/diagnostics", "/plugins", "/runtime"}
)  # fmt: skip
"""WebSockets of LM Studio's libraries. They cannot send a header: where a key is asked for, it is in their first frame,
and what serves them (`lmstudio/sdk/socket.py`) reads nothing else before it."""


def _hostname(host: str) -> str | None:
    """The name in a Host header, in small letters; None where there is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # such as "["
        return None


API = (
    *("/v1", "/api", "/health", "/metrics", "/docs", "/openapi.json"),
    *("/lmstudio-greeting", "/lms-status", "/tokenize", "/detokenize", "/tokenizer_info"),
)
"""What programs call. Everything else is the app's."""
COOKIE_S = 365 * 24 * 3600
_CLOSED = """<!doctype html>
<html lang="{language}"><meta charset="utf-8"><title>Foredraft</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color-scheme: light dark; margin: 15vh auto; max-width: 34em }}
</style>
<h1>Foredraft</h1>
<p>{text}</p>
</html>
"""


def _closed(headers: Headers) -> HTMLResponse:
    """The page for those who do not get in, in the browser's language."""
    t = words(negotiate(headers.get("accept-language", "")))
    page = _CLOSED.format(language=t.language, text=t("server.closed", command="<code>foredraft</code>"))
    return HTMLResponse(page, 403, {"Vary": "Accept-Language"})


def is_probe(scope: Scope, headers: Headers) -> bool:
    """Whether a program asks if somebody is there (Ollama's clients do, at /), and no browser for the app."""
    if scope["path"] != "/" or scope["method"] not in ("GET", "HEAD"):
        return False
    asks_for_a_page = "text/html" in headers.get("accept", "") or "cookie" in headers or scope["query_string"]
    return scope["method"] == "HEAD" or not asks_for_a_page


def _is_of_sdk(scope: Scope) -> bool:
    return scope["type"] == "websocket" and scope["path"] in SOCKETS


def _is_of_the_app(scope: Scope) -> bool:
    path = scope["path"]
    return not _is_of_sdk(scope) and not any(path == known or path.startswith(known + "/") for known in API)


def shows_key(headers: Headers, key: str) -> bool:
    """Whether a request's headers show the key."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":  # what a browser asks for, when the app is opened
        try:
            value = base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            value = ""
    elif kind.lower() != "bearer":
        value = headers.get("x-api-key", "")
    given = hashlib.sha256(value.strip().encode("utf-8", "surrogateescape")).digest()
    return hmac.compare_digest(given, hashlib.sha256(key.encode()).digest())


class BodyTooLargeError(Exception):
    """More bytes came than a request may have."""


class Guard:
    """ASGI middleware. Refuses with an error in the form of the dialect."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._settings = settings
        self._key = settings.api_key
        self._local = is_loopback(settings.host)
        self._door = Door(settings.app_secret) if settings.app_secret and not settings.api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        closed = self._door is not None and _is_of_the_app(scope)
        if closed and scope["type"] == "http" and is_probe(scope, headers):
            closed = False
        if closed and self._door is not None and not await self._opened(self._door, scope, send):
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

    async def _opened(self, door: Door, scope: Scope, send: Send) -> bool:
        """Whether the app may be seen. A ticket in the address becomes a cookie, and the address is asked for without
        it; who has neither is told where to get one."""
        request = HTTPConnection(scope)
        _, port = scope.get("server") or ("", self._settings.port)
        given = request.query_params.get("token", "")
        known = door.knows(request.cookies, port)
        if given and scope["type"] == "http" and (door.admits(given, port) or known):
            name, value = door.cookie(port)
            answer: Response = RedirectResponse(str(request.url.remove_query_params("token")), 303)
            answer.set_cookie(name, value, max_age=COOKIE_S, httponly=True, samesite="lax")
        elif known:
            return True
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return False
        else:
            answer = _closed(request.headers)
        await answer(scope, _nothing, send)
        return False

    def _refusal(self, scope: Scope, headers: Headers) -> ForedraftError | None:
        size = headers.get("content-length", "0")
        if not size.isdecimal() or len(size) > 18:
            return RequestError(f"Content-Length is {size[:40]!r}, not a number of bytes.")
        if int(size) > self._settings.max_body:
            return self._too_large(int(size))
        hosts = headers.getlist("host")
        host = _hostname(hosts[0]) if len(hosts) == 1 else None
        if not hosts and scope.get("http_version") == "1.0":
            host = "localhost"  # it needs none
        if host is None:
            return RequestError("The Host header is missing, is there twice, or names no host.")
        allowed = self._settings.allowed_hosts
        known = is_loopback(host) or host in allowed or self._is_container(scope, host, headers)
        if (self._local or allowed) and not known:
            hint = "Allow the name with --allowed-host."
            return RequestError(f"This server is not called {host[:100]}.", status=403, hint=hint)
        origin = headers.get("origin")
        if origin and not self._may_call(scope, origin, headers.get("host", "")):
            return RequestError(
                f"Web pages of {origin[:100]} may not call this server.", status=403, hint="Allow them with --cors."
            )
        if not origin and headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            hint = "Allow them with --cors."  # an image, say: it names no origin, but costs the same
            return RequestError("Web pages of others may not call this server.", status=403, hint=hint)
        open_for_all = scope["path"] in OPEN_PATHS or _is_of_sdk(scope)
        if self._key and not open_for_all and not shows_key(headers, self._key):
            return RequestError(
                "The API key is missing or wrong.",
                status=401,
                hint="Send it as `Authorization: Bearer KEY`.",
            )
        return None

    def _may_call(self, scope: Scope, origin: str, host: str) -> bool:
        """The app's own pages may, and those of the origins that CORS allows may call the API."""
        try:
            own = urlsplit(origin).netloc == host
        except ValueError:  # "http://["
            own = False
        return own or (not _is_of_the_app(scope) and allows(self._settings.cors_origins, origin))

    def _is_container(self, scope: Scope, host: str, headers: Headers) -> bool:
        """A program in a container of this machine calls the API by a name that only containers know. From a browser it
        would be somebody who has taken the name."""
        return host in CONTAINERS and not _is_of_the_app(scope) and not from_a_browser(headers)

    def _too_large(self, seen: int) -> LimitError:
        most = self._settings.max_body
        return LimitError(
            f"The body has {seen:,} bytes or more, but at most {most:,} are allowed.", seen, most, status=413
        )


async def _refuse(scope: Scope, send: Send, error: ForedraftError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    answer = error_answer(scope["path"], Headers(scope=scope), error)
    if answer.status_code == 401:
        answer.headers["www-authenticate"] = 'Basic realm="Foredraft", charset="UTF-8"'
    if answer.status_code == 413:
        answer.headers["connection"] = "close"
    await answer(scope, _nothing, send)


async def _nothing() -> Message:
    return {"type": "http.disconnect"}
