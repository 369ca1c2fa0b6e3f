"""The commands that speak to the running server."""

from __future__ import annotations

import contextlib
import json

import pytest

from foredraft.cli.main import app


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
    assert "guesses accepted" in lines
    assert foredraft("unload", "toy") == "Unloaded toy.\n"
    assert foredraft("ps") == "No model is loaded.\n"
