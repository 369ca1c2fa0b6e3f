"""The commands that speak to the running server."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from foredraft.cli.main import app
from foredraft.server.context import Services


@pytest.fixture
def foredraft(address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("FOREDRAFT_SERVER__PORT", address.rsplit(":", 1)[1])

    def run(*words: str) -> str:
        with contextlib.suppress(SystemExit):  # a failure says so on stderr
            app(list(words), standalone_mode=False)
        said = capsys.readouterr()
        assert "Error" not in said.err
        return said.out

    return run


def test_load_ps_run_log_unload(foredraft) -> None:
    assert "with the draft good-draft" in foredraft("load", "toy", "--draft", "good-draft")
    shown = foredraft("ps")
    assert "good-draft" in shown
    assert "ACCEPTED" in shown
    states = json.loads(foredraft("ps", "--json"))["models"]
    assert [state["id"] for state in states] == ["toy"]
    words = ("run", "Say something.", "--model", "toy", "--seed", "1", "--max-tokens", "12")
    answer = json.loads(foredraft(*words, "--json"))
    assert answer["draft"] == "good-draft"
    assert answer["stats"]["drafted"] > 0
    assert answer["text"] == json.loads(foredraft(*words, "--draft", "off", "--json"))["text"]
    assert foredraft(*words).startswith(answer["text"])
    lines = foredraft("log", "-n", "50")
    assert "POST /v1/chat/completions 200" in lines
    assert "draft tokens accepted" in lines
    assert foredraft("unload", "toy") == "Unloaded toy.\n"
    assert foredraft("ps") == "No model is loaded.\n"


class Terminal:
    """`foredraft chat` on a pseudo-terminal, as a person has it before them."""

    def __init__(self, *words: str) -> None:
        pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX")
        self._leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foredraft", "chat", *words],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "300"},
            # whoever runs the tests in the background has Ctrl-C switched off, and children inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(follower)
        self.seen = ""

    def say(self, line: str) -> None:
        os.write(self._leader, line.encode() + b"\n")

    def until(self, words: str) -> str:
        """What came up to these words; they must come after what was read before."""
        while words not in self.seen:
            try:
                self.seen += os.read(self._leader, 65536).decode("utf-8", "replace")
            except OSError:
                raise AssertionError(f"it ended without {words!r}: {self.seen}") from None
        before, _, self.seen = self.seen.partition(words)
        return before

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._leader)


@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are POSIX")
def test_chat_uses_the_running_server(
    address: str, services: Services, monkeypatch: pytest.MonkeyPatch, foredraft
) -> None:
    foredraft("load", "toy", "--draft", "bad-draft")
    ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
    services.runtime.listeners.append(lambda model_id, outcome: ended.put(outcome))
    chat = Terminal("--seed", "1", "--max-tokens", "30")
    try:
        chat.until(f"Answered by toy of the server at {address}, draft: bad-draft.")
        chat.until("> ")
        chat.say("/draft good-draft")
        chat.until("speculation: ")
        chat.until("> ")
        chat.say("Say something.")
        answer = chat.until(" passes")
        assert "\x1b[32;4m" in answer, "accepted guesses are green and underlined"
        assert "drafted and accepted" in answer
        first = ended.get(timeout=30)
        assert (first.draft, first.stats.tokens) == ("good-draft", 30)
        chat.until("> ")
        chat.say("/stats")
        chat.until("by position")
        chat.until("> ")
        chat.say("/draft nobody")
        chat.until("There is no model 'nobody'.")
        chat.until("> ")
        chat.say("And now?")
        chat.until(" passes")
        second = ended.get(timeout=30)
        assert second.draft == "good-draft", "a draft that is not there changes nothing"
        assert second.stats.cached_tokens >= first.stats.prompt_tokens, "only what is new is read"
        chat.until("> ")
        chat.say("/draft off")
        chat.until("Switched off for this conversation.")
        with services.runtime.use("toy") as model:
            engine: Any = model.scheduler.engine
        reached, go = threading.Event(), threading.Event()

        def during() -> None:
            engine.during = None
            reached.set()
            assert go.wait(30)

        engine.during = during
        chat.until("> ")
        chat.say("Go on.")
        assert reached.wait(30)
        noticed = threading.Event()
        services.event_log.listeners.append(lambda entry: noticed.set() if entry.kind == "request" else None)
        chat.process.send_signal(signal.SIGINT)
        chat.until("cancelled")  # the statistics of what was cut short
        assert noticed.wait(30), "the server sees the connection closed, while a pass is being made"
        services.event_log.listeners.pop()
        go.set()
        third = ended.get(timeout=30)
        assert (third.stop_reason, third.stats.drafted) == ("cancelled", 0)
        chat.until("> ")
        chat.say("/new")
        chat.until("A new conversation.")
        chat.until("> ")
        chat.say("/exit")
        assert chat.process.wait(30) == 0
    finally:
        services.runtime.listeners.pop()
        chat.close()


def test_chat_without_a_terminal_at_the_server(address: str, monkeypatch: pytest.MonkeyPatch, foredraft) -> None:
    foredraft("load", "toy", "--draft", "good-draft")
    words = ["--model", "toy", "--seed", "1", "--max-tokens", "12", "--json"]
    lines = "Say something.\n" + "x" * 5000 + "\nAnd now?\n"
    command = [sys.executable, "-m", "foredraft", "chat", *words]
    done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.decode().splitlines())
    assert (first["draft"], first["model"]) == ("good-draft", "toy")
    assert second["stats"]["cached_tokens"] > 0
    assert b"the context holds 4096" in done.stderr, "a turn that does not fit leaves the conversation as it was"
    raw = subprocess.run([*command, "--raw"], input=b"a cat\n", capture_output=True, timeout=120)
    assert json.loads(raw.stdout)["stats"]["tokens"] == 12
    whole = foredraft("run", "a cat", *words, "--raw")
    assert json.loads(whole)["text"] == json.loads(raw.stdout)["text"]
