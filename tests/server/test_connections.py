"""Connections before anybody knows who is there: how long they may take, how much they may send, how many there are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from foredraft.server import connections
from tests.server import toy

BODY = b'{"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}'


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server whose patience is a tenth of a second."""
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    monkeypatch.setattr(connections, "BODY_S", 0.1)
    with toy.serving(toy.services()) as address:
        yield int(address.rsplit(":", 1)[1])


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as raw:
        yield raw


def rest(raw: socket.socket) -> bytes:
    """Everything to the end of the connection: it comes, or this waits a minute and fails."""
    said = b""
    while True:
        try:
            part = raw.recv(65536)
        except ConnectionResetError:
            return said
        if not part:
            return said
        said += part


def test_who_says_nothing_is_let_go(quick: int) -> None:
    with connected(quick) as silent, connected(quick) as slow, connected(quick) as half:
        slow.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n"
        half.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + BODY[:10])
        assert b" 408 " in rest(silent)
        assert b" 408 " in rest(slow)
        assert b" 200 " not in rest(half)


def test_an_answer_and_a_kept_connection_take_their_time(quick: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{quick}", timeout=60) as http:
        for _ in range(3):
            http.get("/health")
            with connected(quick) as silent:  # as long as the server's patience
                rest(silent)
        long = http.post("/v1/chat/completions", content=BODY, headers={"content-type": "application/json"})
        assert long.status_code == 200
        with http.stream("GET", "/api/foredraft/log?follow=true") as log:
            lines = log.iter_lines()
            next(lines)
            with connected(quick) as silent:
                rest(silent)
            assert httpx.get(f"http://127.0.0.1:{quick}/v1/models").status_code == 200
            while "GET /v1/models" not in next(lines):
                pass


def test_heads_have_an_end(address: str) -> None:
    port = int(address.rsplit(":", 1)[1])
    with connected(port) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
        sent = 0
        with pytest.raises(OSError):  # noqa: PT012 - closed while this sends
            while sent < 100 * connections.HEAD_BYTES:
                raw.sendall(b"a" * 65536)
                sent += 65536
    with httpx.Client(base_url=address) as http:
        assert http.get("/health", headers={"x": "a" * 60_000}).status_code == 200
        assert http.get("/health", headers={"x": "a" * 70_000}).status_code == 431


def test_more_connections_than_there_is_room_for_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_most", lambda: 5)
    with toy.serving(toy.services()) as address, contextlib_stack(address) as held:
        with connected(int(address.rsplit(":", 1)[1])) as one_more:
            said = rest(one_more)
        assert b" 503 " in said
        assert b"Retry-After" in said
        held.pop().close()
        while True:  # the server learns of it in its own time
            try:
                assert httpx.get(f"{address}/health").status_code == 200
                break
            except AssertionError:
                continue


@contextmanager
def contextlib_stack(address: str) -> Iterator[list[socket.socket]]:
    port = int(address.rsplit(":", 1)[1])
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
    for raw in held:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert raw.recv(65536)
    try:
        yield held
    finally:
        for raw in held:
            raw.close()


SMALL = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
from foredraft.server import run
from tests.server import toy
import threading
uvloop = sys.argv[1] == "uvloop"
if not uvloop:
    run.event_loop = lambda: None
with toy.serving(toy.services()) as address:
    print(address, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="descriptors are limited on POSIX")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_few_descriptors_are_enough(loop: str) -> None:
    """A hundred connections at a limit of 64 descriptors: the rest are refused, nothing is written to the log, and when
    they have gone the server answers as before."""
    command = [sys.executable, "-c", SMALL, loop]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        address = process.stdout.readline().strip()
        port = int(address.rsplit(":", 1)[1])
        held = [socket.create_connection(("127.0.0.1", port), timeout=60) for _ in range(100)]
        refused = sum(b" 503 " in part for part in map(_first, held[60:]))
        assert refused == 40
        for raw in held:
            raw.close()
        while True:
            try:
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            except httpx.TransportError:
                continue
        process.stdin.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""


def _first(raw: socket.socket) -> bytes:
    try:
        return raw.recv(4096)
    except OSError:
        return b""
