"""One connection, before anybody knows who is there: what it may send, and how long it may take.

uvicorn's protocol with three limits more. Who has not sent the whole head of a request within `HEAD_S`, or sends
nothing of its body for `BODY_S`, is let go; a head has at most `HEAD_BYTES`; and of more connections than there are
descriptors for, those too many are closed at once, so that the listening socket never runs dry. Answers may take as
long as they take.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""Seconds for the head of a request, from its first byte, or from the connection's beginning, to its end."""
BODY_S = 30.0
"""Seconds without a byte of a body that is being sent."""
HEAD_BYTES = 64 << 10
MOST = 1024
"""Connections at once, where there are descriptors for so many."""
KEPT_BACK = 32
"""Descriptors that connections leave to files, to models, and to connections that are being closed."""
AT_ONCE = 8
"""Connections that asyncio accepts before it looks at the first of them."""
_TOO_LONG = b"431 Request Header Fields Too Large"


class Connection(HttpToolsProtocol):
    """One client. Its timers run only while it is the client's turn."""

    most = MOST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self.url = b""
        self._head = 0
        """Bytes of a head that is not complete."""
        self._in_head = True
        if len(self.connections) > self.most:
            self._refuse(b"503 Service Unavailable", b"Retry-After: 10\r\n")
        else:
            self._wait(HEAD_S)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._in_head and self._idle:  # the first byte of the next head
            self._in_head = True
            self._wait(HEAD_S)
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            self._stop()
        elif self._in_head:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self._refuse(_TOO_LONG)
        elif not self._idle and self.cycle.more_body:
            self._wait(BODY_S)
        else:
            self._stop()

    def on_headers_complete(self) -> None:
        if self._whole_head() > HEAD_BYTES:
            raise ValueError("The head is too long.")  # to `send_400_response`, by way of the parser
        self._in_head, self._head = False, 0
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        if self._in_head and self._whole_head() > HEAD_BYTES:
            self._refuse(_TOO_LONG)
        else:
            super().send_400_response(msg)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _whole_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers or ())

    @property
    def _idle(self) -> bool:
        cycle: Any = self.cycle  # None before the first request
        return cycle is None or bool(cycle.response_complete)

    def _wait(self, seconds: float) -> None:
        self._stop()
        self._timer = self.loop.call_later(seconds, self._let_go)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _let_go(self) -> None:
        if self._in_head:
            self._refuse(b"408 Request Timeout")
        else:  # a body: whoever reads it is told that the client has gone
            self.transport.abort()

    def _refuse(self, status: bytes, more: bytes = b"") -> None:
        self._stop()
        self.transport.write(b"HTTP/1.1 %s\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n" % (status, more))
        self.transport.close()


def protocol() -> type[Connection]:
    """The protocol of a server's connections, with as many of them as this process has descriptors for."""
    return type("Connection", (Connection,), {"most": _most()})


def _most() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * MOST
    if soft < wanted and soft < hard:
        with contextlib.suppress(ValueError, OSError):
            soft_wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft_wanted, hard))
            soft = soft_wanted
    if soft == resource.RLIM_INFINITY:
        return MOST
    return max(4, min(MOST, soft - _open() - KEPT_BACK))


def _open() -> int:
    """Descriptors that are open now."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        with contextlib.suppress(OSError):
            return sum(1 for _ in Path(folder).iterdir())
    return 32
