"""Chats of the terminal are kept where the app keeps its own, and gone on with by either."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from foredraft.chats import ChatStore
from foredraft.chats.transfer import from_json
from foredraft.config.folders import data_folder
from foredraft.ui.choices import Choices
from foredraft.ui.tokens import content_of
from tests.cli.terminals import COMMAND, at_a_terminal, read_until


def foredraft(*args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    return subprocess.run([*COMMAND, *args], capture_output=True, encoding="utf-8", timeout=120, **given)


def talk(*options: str, stdin: str = "What is 2 + 3?\n") -> list[dict[str, Any]]:
    done = foredraft("chat", "-t", "0", "--json", *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def listed() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(foredraft("chats", "ls", "--json").stdout)
    return found


@pytest.fixture
def store(user_folders: Path) -> Any:
    """The app's, open all the time: as while it runs."""
    data_folder().mkdir(parents=True, exist_ok=True)
    made = ChatStore(data_folder() / "chats.db")
    yield made
    made.close()


def test_a_chat_is_where_the_app_looks_with_its_tokens_and_settings(store: ChatStore) -> None:
    (answer,) = talk("--seed", "7", "--system", "Be brief.", "--max-draft", "4", "--controller", "fixed")
    (chat,) = store.recent()
    assert chat.title == "What is 2 + 3?"
    assert chat.system_prompt == "Be brief."
    assert Choices.of(chat.settings).temperature == 0.0
    assert Choices.of(chat.settings).seed == 7
    asked, said = store.messages(chat.id)
    assert (asked.role, asked.text) == ("user", "What is 2 + 3?")
    assert said.text == content_of(said.tokens) == answer["text"]
    assert "a" in {token[1] for token in said.tokens}, "accepted guesses keep their colour"
    assert (said.model, said.draft) == ("foredraft-demo", "foredraft-demo-draft")
    assert said.meta["stats"] == answer["stats"]


def test_a_chat_is_gone_on_with_after_a_restart_and_by_the_app(store: ChatStore) -> None:
    (first,) = talk()
    (chat,) = store.recent()
    (second,) = talk("--resume", stdin="What is 4 + 4?\n")
    assert second["stats"]["prompt_tokens"] > first["stats"]["prompt_tokens"]
    (third,) = talk(f"--resume={chat.id[:5]}", stdin="And 1 + 1?\n")
    assert third["stats"]["prompt_tokens"] > second["stats"]["prompt_tokens"]
    roles = [message.role for message in store.messages(chat.id)]
    assert roles == ["user", "assistant"] * 3
    again = foredraft("chats", "resume", chat.id, "-t", "0", stdin="Thanks\n")
    assert again.returncode == 0, again.stderr
    assert len(store.messages(chat.id)) == 8
    assert len(store.recent()) == 1


def test_nothing_is_kept_where_that_was_said(store: ChatStore) -> None:
    talk("--no-save")
    talk("--raw", "-n", "4")
    assert store.recent() == []
    done = foredraft("chat", "--resume", "--no-save", stdin="x\n")
    assert done.returncode == 2


def test_another_answer_is_another_version(store: ChatStore) -> None:
    process, leader = at_a_terminal("chat", "-t", "0", "--draft", "off", LC_ALL="C.UTF-8")
    try:
        read_until(leader, "> ")
        os.write(leader, b"What is 2 + 3?\n")
        read_until(leader, "numerics")
        os.write(leader, b"/regen\n")
        read_until(leader, "numerics")
        os.write(leader, b"/exit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    (chat,) = store.recent()
    asked, said = store.messages(chat.id)
    assert len(said.versions) == 2
    assert len(asked.versions) == 1


def test_chats_are_listed_found_shown_and_exported(store: ChatStore, tmp_path: Path) -> None:
    talk(stdin="What is 2 + 3?\nWhat is 4 + 4?\n")
    talk(stdin="What is the capital of Japan?\n")
    japan, sums = listed()
    assert (japan["title"], japan["messages"], sums["messages"]) == ("What is the capital of Japan?", 2, 4)
    assert sums["id"] in foredraft("chats").stdout
    assert [row["id"] for row in json.loads(foredraft("chats", "ls", "4 + 4", "--json").stdout)] == [sums["id"]]
    shown = foredraft("chats", "show", sums["id"]).stdout
    assert shown.startswith("# What is 2 + 3?")
    assert "## User\n\nWhat is 4 + 4?" in shown
    file = tmp_path / "chat.json"
    assert foredraft("chats", "export", "last", "--format", "json", "-o", str(file)).returncode == 0
    assert from_json(store, json.loads(file.read_text(encoding="utf-8"))).title == "What is the capital of Japan?"
    over = foredraft("chats", "export", "-o", str(file))
    assert over.returncode == 1
    assert "is there already" in over.stderr


def test_only_whole_ids_are_deleted(store: ChatStore) -> None:
    talk()
    (chat,) = store.recent()
    for wrong in (chat.id[:6], "last", ""):
        assert foredraft("chats", "rm", wrong, "--yes").returncode != 0
    assert foredraft("chats", "rm", chat.id).returncode == 1, "nobody could be asked"
    assert foredraft("chats", "rm").returncode == 2
    assert store.count() == 1
    assert foredraft("chats", "rm", chat.id, "--yes").stdout == "Deleted 1 chat.\n"
    assert store.count() == 0
    gone = foredraft("chats", "show")
    assert gone.returncode == 1
    assert "There is no chat yet." in gone.stderr


def test_without_a_usable_history_the_chat_goes_on_and_says_so(user_folders: Path) -> None:
    (data_folder() / "chats.db").mkdir(parents=True)
    done = foredraft("chat", "-t", "0", stdin="What is 2 + 3?\n")
    assert done.returncode == 0
    assert "5" in done.stdout
    assert "this chat is not kept" in done.stderr
    listed = foredraft("chats", "ls", "--json")
    assert json.loads(listed.stdout)["error"]["code"] == "history"


def test_a_chat_that_the_app_deleted_meanwhile_is_said(store: ChatStore) -> None:
    process, leader = at_a_terminal("chat", "-t", "0", "--draft", "off", LC_ALL="C.UTF-8")
    try:
        read_until(leader, "> ")
        os.write(leader, b"What is 2 + 3?\n")
        read_until(leader, "numerics")
        store.delete(store.recent()[0].id)
        os.write(leader, b"What is 4 + 4?\n")
        read_until(leader, "deleted meanwhile")
        os.write(leader, b"/exit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def test_at_a_terminal_the_model_changes_and_a_paste_is_one_message(store: ChatStore) -> None:
    process, leader = at_a_terminal("chat", "-t", "0", LC_ALL="C.UTF-8")
    try:
        read_until(leader, "> ")
        os.write(leader, b"What is 2 + 3?\n")
        read_until(leader, "numerics")
        os.write(leader, b"/model foredraft-dem0\n")
        read_until(leader, "Did you mean")
        os.write(leader, b"/draft foredraft-dem0-draft\n")
        read_until(leader, "Did you mean")
        os.write(leader, b"/model foredraft-demo-draft\n")
        read_until(leader, "foredraft-demo-draft answers from now on")
        os.write(leader, b"\x1b[200~One line,\nand another.\x1b[201~\n")
        read_until(leader, "numerics")
        os.write(leader, b"/exit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    (chat,) = store.recent()
    messages = store.messages(chat.id)
    assert [message.text for message in messages if message.role == "user"] == [
        "What is 2 + 3?",
        "One line,\nand another.",
    ]
    assert [message.model for message in messages if message.role == "assistant"] == [
        "foredraft-demo",
        "foredraft-demo-draft",
    ]
    lines = data_folder() / "chat-lines"
    assert "What is 2 + 3?" in lines.read_text(encoding="utf-8")
    assert lines.stat().st_mode & 0o077 == 0


def test_with_the_running_server_the_model_changes_there_and_the_chat_is_kept(own_server: None) -> None:
    process, leader = at_a_terminal("chat", "-t", "0", LC_ALL="C.UTF-8")
    try:
        assert "Answered by foredraft-demo of the server" in read_until(leader, "> ")
        os.write(leader, b"What is 2 + 3?\n")
        read_until(leader, "numerics")
        os.write(leader, b"/model foredraft-dem0\n")
        read_until(leader, "Did you mean")
        os.write(leader, b"/model foredraft-demo-draft\n")
        read_until(leader, "foredraft-demo-draft answers from now on")
        os.write(leader, b"What is 4 + 4?\n")
        read_until(leader, "numerics")
        os.write(leader, b"/exit\n")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    (chat,) = listed()
    assert chat["messages"] == 4
    whole = json.loads(foredraft("chats", "show", chat["id"], "--json").stdout)
    models = [message["model"] for message in whole["messages"] if message["role"] == "assistant"]
    assert models == ["foredraft-demo", "foredraft-demo-draft"]
