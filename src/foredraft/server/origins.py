"""Who may call from a browser's window, and from a container: the words of `--cors`, and names that containers use.

Pages of the web cannot have the origins of desktop programs (`app://…`), so those are allowed unless `none` is said.
Pages that another program of this machine serves on the loopback are not: they are allowed by name, or by `loopback`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from foredraft.server.lenient import HEADER

DESKTOP = ("app://*", "tauri://*", "http://tauri.localhost", "https://tauri.localhost")
EDITORS = ("vscode-webview://*", "vscode-file://*")
ALWAYS = (*DESKTOP, *EDITORS)
"""Windows of desktop programs, which no page of the web can claim to be. (`file://` is no such origin: its pages say
"null", and so does any page in a sandbox.)"""
CONTAINERS = frozenset({"host.docker.internal", "gateway.docker.internal", "host.containers.internal"})
"""What containers call the machine that they run on."""


def chosen(words: Collection[str]) -> tuple[str, ...]:
    """The origins that are allowed by what was said for `--cors`."""
    return tuple(word for word in words if word != "none") + (() if "none" in words else ALWAYS)


def is_loopback(host: str) -> bool:
    """127.0.0.1, ::1, localhost."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def allows(words: Collection[str], origin: str) -> bool:
    """Whether an origin is one of those that are allowed: itself, `*` (every page), `loopback` (a page of this machine,
    at any port), `app://*` (every host of a scheme) or `http://localhost:*` (every port of a host)."""
    if origin in words or "*" in words:
        return True
    try:
        parts = urlsplit(origin)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # "http://[", "http://a:b"
        return False
    if parts.path or parts.query or parts.fragment or parts.username is not None or not parts.scheme:
        return False  # no origin has these
    web = parts.scheme in ("http", "https")
    if web and "loopback" in words and is_loopback(host):
        return True
    if f"{parts.scheme}://*" in words:
        return True
    bare = parts.netloc.removesuffix(f":{port}") if port is not None else parts.netloc
    return bool(bare) and f"{parts.scheme}://{bare}:*" in words


def from_a_browser(headers: Headers) -> bool:
    """Whether a request may come from a web page. Node's `fetch` sends some of a browser's headers, too."""
    if any(name in headers for name in ("origin", "referer", "cookie", "sec-fetch-site")):
        return True
    return headers.get("user-agent", "").startswith("Mozilla/") or headers.get("accept-language", "*") != "*"


class Cors(CORSMiddleware):
    """Tells browsers what the guard allows. A page of the web that asks for a machine of a private network (Chromium)
    gets its leave where its origin is allowed, and no word of it elsewhere."""

    def __init__(self, app: ASGIApp, words: Collection[str]) -> None:
        everyone = ("*",) if "*" in words else ()
        super().__init__(
            app,
            allow_origins=everyone,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=[HEADER, "Retry-After"],
        )
        self._words = words

    def is_allowed_origin(self, origin: str) -> bool:
        return allows(self._words, origin)

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        if answer.status_code != 200:
            del answer.headers["Access-Control-Allow-Private-Network"]
        return answer
