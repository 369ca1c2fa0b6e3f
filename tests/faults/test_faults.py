"""What goes wrong around the program: disks, homes, files, limits. It says so in words, and answers all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.program import Serving, fill, limited, run, serving, small_disk

posix = pytest.mark.skipif(os.name != "posix", reason="limits and mounts of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="mounts and memory limits of Linux")
NEWS = "What was said before"
CHAT = {"format": "foredraft-chat-1", "messages": [{"role": "user", "text": NEWS}, {"role": "assistant", "text": "Hi"}]}
COMMANDS = (["ls"], ["config", "show"], ["tune"], ["run", "--max-tokens", "4", "hello"], ["ps"])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A home on a disk of four megabytes."""
    try:
        with small_disk(tmp_path / "disk", "4m") as folder:
            yield folder
    except PermissionError as error:
        pytest.skip(f"no file system may be mounted here: {error}")


def go_on(server: Serving) -> None:
    """Everything that needs no disk, and what does says that it cannot, without a fault of the program's."""
    with server.http() as http:
        assert http.get("/health").status_code == 200
        assert http.get("/v1/models").json()["data"]
        assert server.answer(http)
    with server.app() as app:
        for request in (
            app.build_request("POST", "/_foredraft/send", json={"text": "Hello"}),
            app.build_request("POST", "/_foredraft/unsent", json={"text": "Hel"}),
            app.build_request("POST", "/_foredraft/import", json=CHAT),
            app.build_request("GET", "/_foredraft/export/nothing.json"),
        ):
            answer = app.send(request)
            assert answer.status_code in (200, 204, 404, 507), (request.url, answer.text)
        assert app.get("/", headers={"accept": "text/html"}).status_code == 200
    server.check()


def commands(home: Path, **more: object) -> None:
    for command in COMMANDS:
        ran = run(home, *command, **more)  # type: ignore[arg-type]
        assert "Traceback" not in ran.stderr, ran.stderr
        assert ran.returncode in (0, 1), (command, ran.stderr)
        assert ran.returncode == 0 or "Error: " in ran.stderr, (command, ran.stderr)


@linux
def test_a_disk_that_is_full_from_the_start(disk: Path) -> None:
    fill(disk)
    with serving(disk) as server:
        go_on(server)
    assert "Chats of this session are not kept" in server.said
    commands(disk)


@linux
def test_a_disk_that_fills_up_while_it_runs(disk: Path) -> None:
    with serving(disk) as server:
        with server.app() as app:
            kept = app.post("/_foredraft/import", json=CHAT).json()["chat"]
            go_on(server)
            fill(disk)
            refused = app.post(
                "/_foredraft/import",
                json={**CHAT, "messages": [*CHAT["messages"], {"role": "user", "text": "x" * 300_000}]},
            )
            assert refused.status_code == 507
            assert "full" in refused.json()["error"]
            assert NEWS in app.get(f"/_foredraft/export/{kept}.json").text
        (disk / "filler").unlink()
        with server.http() as http:
            server.answer(http)
    with serving(disk) as server, server.app() as app:
        assert NEWS in app.get(f"/_foredraft/export/{kept}.json").text


@posix
@pytest.mark.parametrize("most", [100, 5_000, 50_000])
def test_files_that_cannot_grow(tmp_path: Path, most: int) -> None:
    """Every write fails somewhere: at its beginning, in the middle, at its end."""
    limits = limited("RLIMIT_FSIZE", most)
    with serving(tmp_path, limits=limits) as server:
        go_on(server)
    commands(tmp_path, limits=limits)


@linux
def test_a_home_that_cannot_be_written(disk: Path) -> None:
    with serving(disk) as server:
        server.check()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with serving(disk) as server:
        go_on(server)
    commands(disk)


@pytest.mark.parametrize("damage", ["nonsense", "cut", "empty", "a folder", "gone"])
def test_a_home_whose_files_are_all_damaged(tmp_path: Path, damage: str) -> None:
    with serving(tmp_path) as server:
        go_on(server)
    run(tmp_path, "run", "--max-tokens", "4", "hello")
    spoilt = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(spoilt) >= 4, spoilt
    for path in spoilt:
        if damage == "nonsense":
            path.write_bytes(b"\xff{nonsense\0" * 100)
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        elif damage == "empty":
            path.write_bytes(b"")
        else:
            path.unlink()
            if damage == "a folder":
                path.mkdir()
                (path / "inside").touch()
    with serving(tmp_path) as server:
        go_on(server)
    commands(tmp_path)


@pytest.mark.parametrize("content", ["[server\nport = 3", "[server]\nport = 'x'\n", "\0\xff", "[serve]\n"])
def test_damaged_settings_are_named_by_their_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_bytes(content.encode("latin-1"))
    for command in (["serve", "--port", "0"], ["config", "show"], ["run", "hello"]):
        ran = run(tmp_path, *command)
        assert ran.returncode == 1
        assert "config.toml" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_two_programs_on_one_home(tmp_path: Path) -> None:
    with serving(tmp_path) as first, serving(tmp_path) as second:
        with first.app() as one, second.app() as other:
            ours = one.post("/_foredraft/import", json=CHAT).json()["chat"]
            theirs = other.post("/_foredraft/import", json=CHAT).json()["chat"]
            for app in (one, other):
                for chat in (ours, theirs):
                    assert app.get(f"/_foredraft/export/{chat}.json").status_code == 200
        with first.http() as one, second.http() as other:
            assert first.answer(one) == second.answer(other)
        commands(tmp_path)
        go_on(first)
        go_on(second)


@linux
def test_little_memory_is_said_and_blames_no_file(tmp_path: Path, tiny_llama: Path) -> None:
    """`ulimit -v`, as batch systems set it: children that may have more elsewhere stay within it."""
    (tmp_path / "models").mkdir()
    shutil.copy(tiny_llama, tmp_path / "models" / "tiny.gguf")
    huge = tmp_path / "models" / "huge.gguf"
    with tiny_llama.open("rb") as sound, huge.open("wb") as file:
        file.write(sound.read())
        file.truncate(6 << 30)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "a cat"}], "max_tokens": 4}
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": 1}}}
    more = {"FOREDRAFT_MODELS__FOLDERS": str(tmp_path / "models")}
    with serving(tmp_path, limits=limited("RLIMIT_AS", 3 << 30), **more) as server, server.http() as http:
        server.answer(http, response_format=schema)
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        refused = http.post("/v1/chat/completions", json={**body, "model": "huge"})
        assert 400 <= refused.status_code < 504
        assert "damaged" not in refused.text
        server.answer(http)
    with serving(tmp_path, **more) as server, server.http() as http:
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        assert http.post("/v1/chat/completions", json={**body, "model": "huge"}).status_code == 200, "not remembered"


@posix
def test_few_descriptors(tmp_path: Path) -> None:
    with serving(tmp_path, limits=limited("RLIMIT_NOFILE", 64)) as server:
        go_on(server)
        with server.http() as http:
            form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": 1}}}
            server.answer(http, response_format=form)


def test_a_load_that_asks_for_too_little_ends_only_itself(tmp_path: Path) -> None:
    """llama.cpp asserts room for every slot, and ends the process where there is none."""
    with serving(tmp_path) as server, server.http() as http:
        for settings in ({"context": 1}, {"context": 2, "slots": 64}, {"batch": 1}, {"batch": 2, "slots": 256}):
            body = {"model": "foredraft-demo-draft", "settings": settings}
            answer = http.post("/api/foredraft/load", json=body)
            assert answer.status_code == 400, answer.text
            assert answer.json()["error"]["param"] in ("context", "batch")
        native = {"model": "foredraft-demo-draft", "input": "a", "context_length": 1}
        assert http.post("/api/v1/chat", json=native).status_code == 400
        server.answer(http)


@posix
def test_a_database_that_is_damaged_while_it_is_open(tmp_path: Path) -> None:
    with serving(tmp_path) as server, server.app() as app:
        assert app.post("/_foredraft/import", json=CHAT).status_code == 200
        for path in tmp_path.rglob("chats.db*"):
            with path.open("r+b") as file:
                file.write(b"\xff" * path.stat().st_size)
        for _ in range(3):
            answer = app.post("/_foredraft/import", json=CHAT)
            assert answer.status_code in (200, 507), answer.text
            json.loads(answer.text)
        with server.http() as http:
            server.answer(http)


def test_what_is_on_the_way_when_nobody_reads_it_is_bounded(tmp_path: Path) -> None:
    """Readers that ask for long answers and never read a byte: others are answered, and the server can end."""
    import socket

    with serving(tmp_path, "--no-ui") as server:
        port = int(server.address.rsplit(":", 1)[1])
        body = json.dumps(
            {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1500, "ignore_eos": True, "stream": True}
        ).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        held = []
        for _ in range(10):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            raw.connect(("127.0.0.1", port))
            raw.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            held.append(raw)
        with server.http() as http:
            assert server.answer(http)
            assert httpx.get(f"{server.address}/health").status_code == 200
        for raw in held:
            raw.close()
