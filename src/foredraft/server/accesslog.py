"""A line of the log for every request: what was called, how it ended, how long it took. Never what was said."""

from __future__ import annotations

import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foredraft.server.event_log import EventLog

QUIET = frozenset({"/health", "/metrics"})
"""Asked for by machines, all the time."""
LONGEST_PATH = 500
_RESPONSE = re.compile(r"resp_\w+")
"""Who knows a response's id can read it: ids are not for everybody who reads the log."""


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, event_log: EventLog) -> None:
        self._app = app
        self._event_log = event_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _RESPONSE.sub("resp_…", scope.get("path", "")[:LONGEST_PATH])
        if scope["type"] != "http" or path in QUIET or path.startswith("/_nicegui"):
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            took = time.perf_counter() - began
            self._event_log.write(
                "request",
                f"{scope['method']} {path} {status or 'cut'} in {took * 1e3:.0f} ms",
                method=scope["method"],
                path=path,
                status=status,
                seconds=round(took, 4),
            )
