"""Where the server listens: 127.0.0.1 and ::1 alike, whichever `localhost` is for a client."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from foredraft.core.errors import ForedraftError
from foredraft.server.address import listen, url
from foredraft.server.client import Client, NoServerError
from foredraft.server.context import ServerSettings
from tests.server import toy


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def test_addresses_are_written_as_addresses() -> None:
    assert url("127.0.0.1", 1) == "http://127.0.0.1:1"
    assert url("::1", 1) == url("[::1]", 1) == "http://[::1]:1"
    assert url("localhost", 1) == "http://localhost:1"


@ipv6
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_localhost_is_both(host: str) -> None:
    with toy.serving(toy.services(ServerSettings(host=host))) as address:
        port = address.rsplit(":", 1)[1]
        for name in ("127.0.0.1", "[::1]", "localhost"):
            answer = httpx.post(
                f"http://{name}:{port}/v1/completions", json={"prompt": "Hi", "max_tokens": 2}, timeout=60
            )
            assert answer.json()["usage"]["completion_tokens"] == 2
            origin = httpx.get(f"http://{name}:{port}/v1/models", headers={"origin": f"http://{name}:{port}"})
            assert origin.status_code == 200


@ipv6
def test_one_that_is_named_is_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with toy.serving(toy.services(ServerSettings(host="::1"))) as address:
        port = int(address.rsplit(":", 1)[1])
        assert address == f"http://[::1]:{port}"
        assert httpx.get(f"{address}/health").status_code == 200
        with Client.connect("::1", port) as client:
            assert client.address == address
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.1:{port}/health")


@contextlib.contextmanager
def another_program(port: int = 0) -> Iterator[int]:
    with socket.socket(socket.AF_INET6) as one:
        one.bind(("::1", port))
        one.listen()
        yield one.getsockname()[1]


@ipv6
def test_another_program_at_the_other_address_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with another_program() as port:
        listeners, said = listen("127.0.0.1", port)
        assert [one.getsockname()[:2] for one in listeners] == [("127.0.0.1", port)]
        assert f"[::1]:{port}" in said
        for one in listeners:
            one.close()


def test_a_taken_port_is_said_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ForedraftError, match="choose one with --port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_without_ipv6_the_other_one_serves(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    real = socket.socket

    def no_six(family: int = socket.AF_INET, *more: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *more)

    monkeypatch.setattr("foredraft.server.address.socket.socket", no_six)
    with caplog.at_level(logging.WARNING), toy.serving(toy.services()) as address:
        assert httpx.get(f"{address}/health").status_code == 200
    assert not caplog.records


def test_commands_name_the_address_that_they_looked_at(tmp_path: Path) -> None:
    with pytest.raises(NoServerError, match=r"http://\[::1\]:9\."):
        Client.connect("::1", 9)
    home = {
        **os.environ,
        "FOREDRAFT_SERVER__HOST": "::1",
        "FOREDRAFT_SERVER__PORT": "9",
        "FOREDRAFT_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "foredraft", "ps"], env=home, capture_output=True, text=True, timeout=60
    )
    assert "No Foredraft server is running at http://[::1]:9." in done.stderr
