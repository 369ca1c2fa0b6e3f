"""Who comes in, and to whom a command speaks, on a machine that others use too."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from foredraft.chats import ChatStore
from foredraft.config.folders import cache_folder, config_folder, data_folder, make_private, mend, private_file
from foredraft.server.client import Client, NoServerError, UnprovenServerError
from foredraft.server.context import ServerSettings
from foredraft.server.proof import Door, home_secret, proofs, ticket
from tests.server import toy

posix = pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")


@pytest.fixture(autouse=True)
def no_home_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREDRAFT_HOME", str(tmp_path / "foredraft"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- files ----


@posix
def test_folders_and_chats_are_their_owners_alone() -> None:
    path = data_folder() / "chats.db"
    chats = ChatStore(path)
    chats.create("private")
    assert mode(data_folder()) == 0o700
    assert {mode(file) for file in data_folder().iterdir()} == {0o600}
    chats.close()
    make_private(cache_folder() / "deep" / "er")
    assert mode(cache_folder()) == 0o700


@posix
def test_what_earlier_versions_left_open_is_closed() -> None:
    for folder in (data_folder(), config_folder(), cache_folder()):
        folder.mkdir(mode=0o755, parents=True)
        folder.chmod(0o755)
    path = data_folder() / "chats.db"
    ChatStore(path).close()
    path.chmod(0o644)
    assert mend() == []
    assert {mode(folder) for folder in (data_folder(), config_folder(), cache_folder())} == {0o700}
    ChatStore(path).close()
    assert mode(path) == 0o600


@posix
def test_every_command_closes_them(capsys: pytest.CaptureFixture[str]) -> None:
    from foredraft.cli.main import app

    data_folder().mkdir(parents=True)
    data_folder().chmod(0o755)
    app(["config", "path"], standalone_mode=False)
    assert mode(data_folder()) == 0o700
    assert "Warning" not in capsys.readouterr().err


@posix
def test_a_secret_that_others_could_read_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    assert private_file(file, lambda: b"first") == b"first"
    assert private_file(file, lambda: b"second") == b"first"
    assert mode(file) == 0o600
    file.chmod(0o644)
    assert private_file(file, lambda: b"third") == b"third"
    assert list(tmp_path.iterdir()) == [file]


def test_where_no_secret_can_be_kept_there_is_none() -> None:
    data_folder().parent.mkdir(parents=True)
    data_folder().write_text("a file where the folder should be", encoding="utf-8")
    assert home_secret() == b""


# ---- who answers on our port ----


class Squatter:
    """Another program on the port: notes what it is sent, and answers as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.seen = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.seen += connection.recv(65536)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.answer)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + self.answer)


@contextmanager
def squatting(answer: bytes) -> Iterator[Squatter]:
    one = Squatter(answer)
    try:
        yield one
    finally:
        one.listener.close()


def test_the_key_is_sent_to_nobody_who_does_not_know_it() -> None:
    for answer in (b'{"name": "foredraft"}', b'{"name": "foredraft", "proofs": {"key": "00", "home": "00"}}', b"[]"):
        with squatting(answer) as squatter:
            assert Client.find(port=squatter.port, api_key="my-secret-key") is None
            with pytest.raises((UnprovenServerError, NoServerError)):
                Client.connect(port=squatter.port, api_key="my-secret-key")
            assert b"GET /health?challenge=" in squatter.seen
            assert b"my-secret-key" not in squatter.seen


def test_a_prompt_goes_to_nobody_who_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key: the server of this home knows its secret, another user's program does not."""
    from foredraft.cli.options import GenerateOptions
    from foredraft.cli.remote import served

    with squatting(b'{"name": "foredraft"}') as squatter:
        monkeypatch.setenv("FOREDRAFT_SERVER__PORT", str(squatter.port))
        assert served(GenerateOptions()) is None
        assert squatter.seen.count(b"HTTP/1.1") == 1


def test_a_proof_is_of_one_port_and_one_question() -> None:
    shown = proofs("a", 1, "key")
    assert shown.keys() == {"key", "home"}
    for other in (proofs("b", 1, "key"), proofs("a", 2, "key")):
        assert not set(shown.values()) & set(other.values())
    assert proofs("a", 1, "other")["key"] != shown["key"]


def test_the_own_server_gets_the_key() -> None:
    locked = toy.services(ServerSettings(api_key="my-secret-key"))
    with toy.serving(locked) as address:
        port = int(address.rsplit(":", 1)[1])
        with Client.connect(port=port, api_key="my-secret-key") as client:
            assert client.proven
            assert client.models() == []
        found = Client.find(port=port, api_key="my-secret-key")
        assert found is not None
        found.close()
        with pytest.raises(Exception, match="key is missing or wrong"), Client.connect(port=port) as client:
            client.models()


# ---- the app's door ----

SECRET = b"s" * 32
BROWSER = {"accept": "text/html,*/*;q=0.8"}
"""Who asks for / without it is a program that looks whether somebody is there."""


@pytest.fixture(scope="module")
def closed() -> Iterator[tuple[str, int]]:
    made = toy.services(ServerSettings(app_secret=SECRET))
    with toy.serving(made) as address:
        yield address, int(address.rsplit(":", 1)[1])


def test_the_app_opens_with_a_ticket_and_knows_the_browser_again(closed: tuple[str, int]) -> None:
    address, port = closed
    with httpx.Client(base_url=address, headers=BROWSER) as stranger:
        for path in ("/", "/models", "/_foredraft/export/1.md", "/_nicegui/x", f"/?token=1-2-{'0' * 64}", "/?token=x"):
            answer = stranger.get(path)
            assert answer.status_code == 403, path
            assert "foredraft" in answer.text
            assert not answer.cookies
        assert stranger.get("/v1/models").status_code == 200
        assert stranger.get("/health").status_code == 200
        assert stranger.post("/_foredraft/send", json={}).status_code == 403
    given = ticket(SECRET, port)
    with httpx.Client(base_url=address) as browser:
        answer = browser.get(f"/models?token={given}&a=b")
        assert (answer.status_code, answer.headers["location"]) == (303, f"{address}/models?a=b")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert browser.get("/").status_code == 404  # nothing is mounted there, but the door is open
    with httpx.Client(base_url=address) as second:
        assert second.get(f"/?token={given}").status_code == 403, "a ticket is good for once"
        assert second.get(f"/?token={ticket(SECRET, port + 1)}").status_code == 403
        assert second.get(f"/?token={ticket(b'other', port)}").status_code == 403


def test_a_ticket_ends_and_a_cookie_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door(SECRET)
    given = ticket(SECRET, 1)
    name, value = door.cookie(1)
    assert Door(SECRET).knows({name: value}, 1)  # after the next start too
    assert not door.knows({name: value}, 2)
    assert not door.knows({}, 1)
    monkeypatch.setattr("foredraft.server.proof.time.time", lambda: 1e12)
    assert not door.admits(given, 1)


def test_a_socket_of_the_app_needs_the_cookie(closed: tuple[str, int]) -> None:
    _, port = closed
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(
            b"GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert b" 403 " in raw.recv(4096)


def test_serve_prints_the_address_that_opens_the_app(tmp_path: Path) -> None:
    home = {**os.environ, "FOREDRAFT_HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "foredraft", "serve", "--port", "0"]
    for extra, token in (([], True), (["--no-token"], False)):
        with subprocess.Popen([*command, *extra], env=home, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                line = next(line for line in process.stdout if "browser" in line)
                page = line.rsplit(" ", 1)[1].strip()
                assert ("?token=" in page) is token
                with httpx.Client(follow_redirects=True) as browser:
                    assert browser.get(page).status_code == 200
                    plain = httpx.get(page.partition("?")[0], headers=BROWSER)
                    assert plain.status_code == (403 if token else 200)
            finally:
                process.terminate()


# ---- names ----


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (["localhost"], b"200"),
        (["[::1]:3673"], b"200"),
        (["MY.example:80"], b"200"),
        (["evil.example"], b"403"),
        (["testserver"], b"403"),
        (["["], b"400"),
        ([], b"400"),
        (["localhost", "localhost"], b"400"),
    ],
)
def test_the_server_knows_its_names(named: str, hosts: list[str], status: bytes) -> None:
    with socket.create_connection(("127.0.0.1", int(named.rsplit(":", 1)[1]))) as raw:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        raw.sendall(f"GET /health HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert raw.recv(65536).split(b" ", 2)[1] == status


@pytest.fixture(scope="module")
def named() -> Iterator[str]:
    with toy.serving(toy.services(ServerSettings(allowed_hosts=("my.example",)))) as address:
        yield address


def test_an_origin_that_is_none_is_refused(named: str) -> None:
    assert httpx.get(f"{named}/health", headers={"Origin": "http://["}).status_code == 403
