"""Connections as the server really makes them: what an accepted socket is like."""

from __future__ import annotations

import os
import socket

import httpx
import psutil
import pytest

from foredraft.server import run
from tests.server import toy


def accepted(address: str) -> list[socket.socket]:
    """Copies of the sockets that the server of this process has accepted."""
    port = int(address.rsplit(":", 1)[1])
    found = [one for one in psutil.Process().net_connections("tcp") if one.laddr and one.laddr.port == port]
    return [socket.socket(fileno=os.dup(one.fd)) for one in found if one.status == psutil.CONN_ESTABLISHED]


def check(address: str) -> None:
    with httpx.Client(base_url=address) as http:
        http.get("/health")
        (theirs,) = accepted(address)
        with theirs:
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.skipif(os.name != "posix", reason="sockets have descriptors on POSIX only")
def test_nothing_is_held_back_on_an_accepted_connection(address: str) -> None:
    check(address)


@pytest.mark.skipif(os.name != "posix", reason="sockets have descriptors on POSIX only")
def test_asyncio_alone_holds_nothing_back_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without uvloop: asyncio looks at the protocol that the listening socket was made with."""
    monkeypatch.setattr(run, "event_loop", lambda: None)
    with toy.serving(toy.services()) as address:
        check(address)


def test_the_fast_event_loop_is_used_where_it_is_there() -> None:
    uvloop = pytest.importorskip("uvloop")
    assert run.event_loop() is uvloop.new_event_loop
