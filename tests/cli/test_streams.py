"""The command line on odd terminals, locales and pipes, and what it says of words it does not know."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from foredraft.cli.main import ALIASES, COMMANDS
from foredraft.config.folders import data_folder
from tests import tiny_gguf
from tests.cli.terminals import COMMAND, at_a_terminal, read_until


def foredraft(*args: object, stdin: bytes = b"", **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *map(str, args)], input=stdin, capture_output=True, timeout=120, env={**os.environ, **env}
    )


def own(*names: str) -> None:
    """Models in the own folder, each `publisher/file`."""
    for name in names:
        path = data_folder() / "models" / f"{name}.gguf"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_gguf.llama(path)


@pytest.mark.parametrize("encoding", ["cp932", "ascii", "latin-1"])
@pytest.mark.parametrize(
    "command", [["ls"], ["show", "foredraft-demo"], ["pair", "foredraft-demo"], ["config", "show"]]
)
def test_every_command_writes_in_any_encoding(command: list[str], encoding: str) -> None:
    done = foredraft(*command, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8")


def test_standard_input_may_begin_with_a_mark_and_be_of_the_locale() -> None:
    plain, marked = (
        json.loads(foredraft("run", "-", "--json", "--seed", 1, "-n", 4, stdin=text).stdout)
        for text in (b"Hello", b"\xef\xbb\xbfHello")
    )
    assert marked["tokens"] == plain["tokens"]
    assert marked["stats"]["prompt_tokens"] == plain["stats"]["prompt_tokens"]


def test_standard_input_of_a_japanese_console(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from foredraft.cli import streams

    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "cp932")
    for content, text in (("こんにちは".encode("cp932"), "こんにちは"), ("こんにちは".encode(), "こんにちは")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        assert streams.standard_input() == text


def test_a_prompt_is_words_pipes_and_files(tmp_path: Path) -> None:
    def tokens(*args: object, stdin: bytes = b"") -> int:
        done = foredraft("run", *args, "--json", "--seed", 1, "-n", 2, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["stats"]["prompt_tokens"])

    assert tokens("What", "is", "this") == tokens("What is this")
    assert tokens("Summarise", stdin=b"one two three\n") == tokens("one two three\n\nSummarise")
    assert tokens(stdin=b"one two three") == tokens("one two three")
    note = tmp_path / "note.txt"
    note.write_text("one two three", encoding="utf-8")
    assert tokens("Summarise", "-f", note) == tokens("File: note.txt\n```\none two three\n```\n\nSummarise")
    (tmp_path / "x.png").write_bytes(b"\x89PNG....")
    assert b"it is an image" in foredraft("run", "What?", "-f", tmp_path / "x.png").stderr
    assert b"nothing.txt cannot be read" in foredraft("run", "What?", "-f", tmp_path / "nothing.txt").stderr


@pytest.mark.parametrize("proxy", ["http_proxy", "ALL_PROXY", "HTTP_PROXY"])
def test_a_proxy_is_not_asked_for_this_machine(proxy: str) -> None:
    value = "socks5://127.0.0.1:9" if proxy == "ALL_PROXY" else "http://127.0.0.1:9"
    done = foredraft("run", "hello", "-n", 2, FOREDRAFT_SERVER__PORT="9", **{proxy: value})
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="closed streams are POSIX's")
def test_a_closed_stream_and_a_full_disk_end_without_a_traceback() -> None:
    closed = subprocess.run(["/bin/sh", "-c", f"{' '.join(COMMAND)} ls >&-"], capture_output=True, timeout=60)
    assert (closed.returncode, b"Traceback" in closed.stderr) == (0, False)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            args = [*COMMAND, "run", "hi", "--json", "-n", "2"]
            done = subprocess.run(args, stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1
        assert b"No space left" in done.stderr
        assert b"Traceback" not in done.stderr


def test_unknown_commands_and_misspelt_names_are_told_the_nearest() -> None:
    done = foredraft("lst")
    assert done.returncode == 2
    assert b"no command 'lst'" in done.stderr
    assert b"ls" in done.stderr.splitlines()[-1]
    assert b"foredraft" in foredraft("version").stdout
    assert foredraft("-V").stdout == foredraft("--version").stdout
    assert b"Usage" in foredraft("help", "rm").stdout
    draft = foredraft("run", "hi", "--draft", "foredraft-demo-daft")
    assert draft.returncode == 1
    assert b"Did you mean: foredraft-demo-draft" in draft.stderr
    assert json.loads(foredraft("run", "--json", "--nope").stdout)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["run", "hi", "--kv-type", "foo"], "--kv-type is 'foo', but must be one of f32"),
        (["run", "hi", "--guardrail", "foo"], "--guardrail is 'foo'"),
        (["run", "hi", "--threads", "0"], "--threads is 0"),
        (["run", "hi", "--draft-device", "tpu9"], "--draft-device is 'tpu9'"),
        (["load", "foredraft-demo", "--kv-type", "foo", "--estimate-only"], "--kv-type is 'foo'"),
    ],
)
def test_parameters_have_the_names_that_were_typed(args: list[str], says: str) -> None:
    done = foredraft(*args)
    assert done.returncode == 2
    assert f"Error: {says}" in done.stderr.decode("utf-8")


def test_rm_takes_whole_names(user_folders: Path) -> None:
    own("acme/acme-main", "acme/acme-draft", "other/qwen3.5-9b-instruct")
    for part in ("acme", "qwen3", "qwen3.5", "main"):
        done = foredraft("rm", part, "--yes")
        assert done.returncode == 1, done.stdout
    assert len(list((data_folder() / "models").rglob("*.gguf"))) == 3
    assert foredraft("rm", "acme-main", "--yes").returncode == 0
    assert len(list((data_folder() / "models").rglob("*.gguf"))) == 2


def test_settings_of_a_model_apply_when_it_is_the_default(user_folders: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[model."foredraft-demo"]\ncontext = 64\n', encoding="utf-8")
    env = {"FOREDRAFT_CONFIG": str(config)}
    for named in ([], ["--model", "foredraft-demo"]):
        done = foredraft("run", "word " * 80, *named, **env)
        assert b"the context holds 64" in done.stderr
    plain = tmp_path / "noext"
    shutil.copyfile(tiny_gguf.llama(tmp_path / "x.gguf"), plain)
    assert foredraft("run", "a b", "--raw", "-n", 2, "--model", plain, **env).returncode == 0
    assert foredraft("show", plain, **env).returncode == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_models_and_drafts(shell: str) -> None:
    def complete(line: str) -> str:
        words = line.split(" ")
        env = {
            "_FOREDRAFT_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        }
        entry = [
            sys.executable,
            "-c",
            "import sys; sys.argv[0] = 'foredraft'; from foredraft.cli.main import app; app()",
        ]
        done = subprocess.run(entry, capture_output=True, env={**os.environ, **env}, timeout=60, check=False)
        return done.stdout.decode("utf-8")

    commands = complete("foredraft r")
    assert "run" in commands
    assert "rm" in commands
    assert not re.search(r"\bserve\b(?!r)['\"\t:]", commands)
    assert "foredraft-demo" in complete("foredraft show fore")
    assert "foredraft-demo" in complete("foredraft run --model fore")
    drafts = complete("foredraft run --draft o")
    assert "off" in drafts


def test_every_alias_is_a_command() -> None:
    assert set(ALIASES.values()) <= set(COMMANDS)


# ---- at a terminal ----


def test_ctrl_c_at_the_prompt_gives_up_the_line_and_keeps_the_conversation() -> None:
    process, leader = at_a_terminal("chat", "--draft", "off", "-t", "0")
    try:
        read_until(leader, "> ")
        os.write(leader, b"half a li")
        read_until(leader, "half a li")
        # readline notices a signal while it waits for a key: one that comes a moment earlier is noticed with the next
        read_until(leader, "Ctrl-D leaves", nudge=lambda: process.send_signal(signal.SIGINT))
        os.write(leader, b"What is 2 + 3?\n")
        read_until(leader, "5")
        assert process.poll() is None
        os.write(leader, b"/exit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_a_dumb_terminal_gets_no_colours() -> None:
    process, leader = at_a_terminal("run", "What is the quadratic equation formula?", "-t", "0", TERM="dumb")
    seen = ""
    try:
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data.decode("utf-8", "replace")
    finally:
        os.close(leader)
        process.wait(60)
    assert "4ac" in seen
    assert "\x1b" not in seen


def test_a_server_that_is_loading_is_running_already() -> None:
    """/health says 503 while it loads; it is a Foredraft all the same."""
    import threading

    from foredraft.ui.browser import already_running

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"name": "foredraft", "status": "loading"}'
                head = f"HTTP/1.1 503 Busy\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + body)

        thread = threading.Thread(target=answer)
        thread.start()
        assert already_running(f"http://127.0.0.1:{port}")
        thread.join()
