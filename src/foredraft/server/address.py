"""Where the server listens, as sockets and as an address."""

from __future__ import annotations

import errno
import socket

from foredraft.core.errors import ForedraftError

BACKLOG = 1024
"""Connections that wait to be accepted."""


def url(host: str, port: int) -> str:
    """The address of a server: the numbers of IPv6 stand in brackets."""
    bare = host.strip("[]")
    return f"http://[{bare}]:{port}" if ":" in bare else f"http://{bare}:{port}"


def listen(host: str, port: int) -> tuple[list[socket.socket], str]:
    """(listening sockets, what somebody should know or ""), so that a taken port is said in words before any model is
    loaded. Raises `ForedraftError`.

    `localhost` is ::1 for many clients, and 127.0.0.1 for others: where one is asked for, both are listened on. Where
    another program has the port at ::1, its clients would speak to that: it is said.
    """
    try:
        first = _listening(host, port)
    except OSError as error:
        raise ForedraftError(
            f"Cannot listen on {url(host, port).removeprefix('http://')}: {error.strerror or error}.",
            hint="Another program may use the port: choose one with --port.",
        ) from None
    if host not in ("127.0.0.1", "localhost"):
        return [first], ""
    taken: int = first.getsockname()[1]
    try:
        return [first, _listening("::1", taken)], ""
    except OSError as error:
        said = ""
        if error.errno == errno.EADDRINUSE:
            said = (
                f"Another program listens on [::1]:{taken}: who asks for http://localhost:{taken} may reach that one."
            )
        return [first], said  # else there is no IPv6 on this machine


def _own_address() -> int:
    """The option by which a server gets its port again right after its last end, and no other program gets it
    meanwhile. On Windows SO_REUSEADDR would let a second server take a port that is in use."""
    exclusive: int | None = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)  # Windows alone has it
    return socket.SO_REUSEADDR if exclusive is None else exclusive


def _listening(host: str, port: int) -> socket.socket:
    """The protocol is named: accepted sockets inherit it, and asyncio switches Nagle's algorithm off (TCP_NODELAY) only
    where it says TCP. With it, every answer on a kept connection waits for the client's delayed acknowledgement, 40 ms.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, _own_address(), 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
