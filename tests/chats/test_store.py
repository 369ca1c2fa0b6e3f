"""The chat history: branches, versions, search, and what happens to files that cannot be used."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from foredraft.chats import ChatStore, ChatStoreError, Preset, open_or_set_aside
from foredraft.chats import store as store_module
from foredraft.chats.migrations import MIGRATIONS
from foredraft.chats.transfer import from_json, to_json, to_markdown


@pytest.fixture
def store(tmp_path):
    store = ChatStore(tmp_path / "chats.db")
    yield store
    store.close()


def talk(store, *texts, title="Talk"):
    chat = store.create(title)
    parent, ids = None, []
    for number, text in enumerate(texts):
        parent = store.add(chat.id, "assistant" if number % 2 else "user", text, parent=parent)
        ids.append(parent)
    return chat, ids


def texts(store, chat):
    return [message.text for message in store.messages(chat.id)]


def test_a_chat_comes_back_as_it_was_written(tmp_path):
    store = ChatStore(tmp_path / "chats.db")
    chat, _ = talk(store, "Hello", "Hi there")
    store.change(chat.id, system_prompt="Be brief.", unsent="half a sen", settings={"temperature": 0})
    store.close()
    again = ChatStore(tmp_path / "chats.db")
    kept = again.get(chat.id)
    assert (kept.system_prompt, kept.unsent, kept.settings) == ("Be brief.", "half a sen", {"temperature": 0})
    assert texts(again, chat) == ["Hello", "Hi there"]
    again.close()


@pytest.mark.parametrize("jump", [-(10.0**8), 10.0**8])
def test_what_is_done_last_stands_first_whatever_the_clock_says(store, monkeypatch, jump):
    first = store.create("first")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    second = store.create("second")
    monkeypatch.setattr(time, "time", real)
    third = store.create("third")
    assert [chat.title for chat in store.recent()] == ["third", "second", "first"]
    store.add(first.id, "user", "again", parent=None)
    assert [chat.id for chat in store.recent()] == [first.id, third.id, second.id]


def test_versions_are_siblings_and_the_shown_branch_follows(store):
    chat, (question, first) = talk(store, "Q", "A1")
    second = store.add(chat.id, "assistant", "A2", parent=question)
    assert texts(store, chat) == ["Q", "A2"]
    assert store.message(second).version == 2
    assert store.message(second).versions == (first, second)
    store.show(first)
    assert texts(store, chat) == ["Q", "A1"]


def test_showing_a_message_goes_down_to_the_newest_end(store):
    chat, (question, first) = talk(store, "Q", "A1")
    store.add(chat.id, "assistant", "A2", parent=question)
    store.show(first)
    more = store.add(chat.id, "user", "Q2", parent=first)
    store.add(chat.id, "assistant", "B", parent=more)
    store.show(question)
    assert texts(store, chat)[:1] == ["Q"]
    store.show(first)
    assert texts(store, chat) == ["Q", "A1", "Q2", "B"]


def test_removing_a_message_removes_what_follows_and_shows_another_version(store):
    chat, (question, first) = talk(store, "Q", "A1")
    second = store.add(chat.id, "assistant", "A2", parent=question)
    store.add(chat.id, "user", "more", parent=second)
    store.remove(second)
    assert texts(store, chat) == ["Q", "A1"]
    store.remove(first)
    assert texts(store, chat) == ["Q"]
    store.remove(question)
    assert texts(store, chat) == []


def test_a_branch_is_a_copy(store):
    _, ids = talk(store, "Q", "A", "Q2", "B")
    branch = store.branch_off(ids[1], "Branch")
    assert texts(store, branch) == ["Q", "A"]
    store.remove(ids[0])
    assert texts(store, branch) == ["Q", "A"]


@pytest.mark.parametrize("words", ["投機", "金沢", "金沢旅行", "quicksort", "QUICK", "a", '"quoted"', "50%", "_"])
def test_search_finds_words_of_any_length(store, words):
    text = '投機的デコーディングと金沢旅行。 The quicksort of a "quoted" word: 50% _x'
    chat, ids = talk(store, "question", text)
    talk(store, "something else", "nothing")
    assert chat.id in [found.chat.id for found in store.search(words)]
    store.remove(ids[0])
    if words != "a":
        assert store.search(words) == []


def test_search_finds_titles_and_shows_the_words_around(store):
    chat, _ = talk(store, "hello", "x" * 200 + " needle " + "y" * 200, title="旅行の計画")
    assert [found.chat.id for found in store.search("旅行")] == [chat.id]
    (found,) = store.search("needle")
    assert "needle" in found.excerpt
    assert found.excerpt.startswith("…")


def test_an_answer_is_found_once_it_has_ended(store):
    chat, (question,) = talk(store, "Q")
    answer = store.add(chat.id, "assistant", "", parent=question, status="running")
    store.save_answer(answer, "first words", [], status="running", meta={})
    assert store.search("first") == []
    store.save_answer(answer, "first words and more", [["first", "a", 1]], status="done", meta={"n": 1})
    assert len(store.search("first")) == 1
    store.save_answer(answer, "again", [], status="running", meta={})
    store.save_answer(answer, "again and again", [], status="done", meta={})
    assert store.search("first") == []
    assert len(store.search("again")) == 1


def test_presets_and_preferences(store):
    store.save_preset(Preset("code", {"temperature": 0.1}))
    store.save_preset(Preset("code", {"temperature": 0.2}))
    assert store.presets() == [Preset("code", {"temperature": 0.2})]
    store.delete_preset("code")
    assert store.presets() == []
    assert store.preference("mode", "user") == "user"
    store.set_preference("mode", "developer")
    assert store.preference("mode") == "developer"


def test_a_killed_process_loses_nothing_that_was_saved(tmp_path):
    script = """
import sys
from pathlib import Path
from foredraft.chats import ChatStore
store = ChatStore(Path(sys.argv[1]))
chat = store.create("crash")
question = store.add(chat.id, "user", "Q", parent=None)
answer = store.add(chat.id, "assistant", "", parent=question, status="running")
store.save_answer(answer, "what was said so far", [["what", "a", 1]], status="running", meta={})
print(chat.id, flush=True)
sys.stdin.read()
"""
    path = tmp_path / "chats.db"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        chat_id = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)
    store = ChatStore(path)
    *_, answer = store.messages(chat_id)
    assert (answer.text, answer.status) == ("what was said so far", "interrupted")
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "chats.db"
    ChatStore(path).close()
    with sqlite3.connect(path) as db:
        db.execute("INSERT INTO migrations VALUES ('m999_from_the_future', 0)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(ChatStoreError, match="m999"):
        ChatStore(path)
    store = open_or_set_aside(path)
    assert store.notice == "newer"
    store.create("still works")
    store.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["garbage", "cut", "torn"])
def test_a_damaged_database_is_kept_aside(tmp_path, damage):
    path = tmp_path / "chats.db"
    store = ChatStore(path)
    for number in range(50):
        talk(store, "text " * 200, title=str(number))
    store.close()
    content = path.read_bytes()
    broken = {
        "garbage": b"not a database at all" * 500,
        "cut": content[: len(content) // 2],
        "torn": content[:5000] + b"\xff" * 20000 + content[25000:],
    }[damage]
    path.write_bytes(broken)
    again = open_or_set_aside(path)
    assert again.notice == "damaged"
    assert again.count() == 0
    (kept,) = tmp_path.glob("chats.damaged-*.db")
    assert kept.read_bytes() == broken
    again.close()


def test_a_locked_database_leaves_chats_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_S", 0.05)
    path = tmp_path / "chats.db"
    ChatStore(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store = open_or_set_aside(path)
    assert store.notice == "locked"
    store.create("in memory")
    store.close()
    other.close()


def test_a_full_disk_is_said_and_what_was_saved_stays(tmp_path):
    store = ChatStore(tmp_path / "chats.db")
    chat, ids = talk(store, "Q")
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(ChatStoreError) as raised:
        store.add(chat.id, "assistant", "x" * 1_000_000, parent=ids[0])
    assert raised.value.code == "full"
    assert texts(store, chat) == ["Q"]
    store.close()


def test_migrations_have_names_in_order():
    names = [name for name, _ in MIGRATIONS]
    assert names == sorted(set(names))


def test_ten_thousand_chats_are_listed_and_searched_quickly(store):
    with store._transaction() as db:
        db.executemany(
            "INSERT INTO chats (id, title, created, changed) VALUES (?, ?, ?, ?)",
            [(f"c{n}", f"Chat {n}", n, n) for n in range(10_000)],
        )
        db.executemany(
            "INSERT INTO messages (chat_id, role, text, created, status) VALUES (?, 'user', ?, 0, 'done')",
            [(f"c{n}", f"A question about number {n} 旅行") for n in range(10_000)],
        )
    began = time.process_time()
    assert store.recent(50)[0].title == "Chat 9999"
    assert store.search("number 4711")[0].chat.title == "Chat 4711"
    assert len(store.search("旅行")) == 50
    assert time.process_time() - began < 0.5


def test_a_message_of_a_megabyte_is_kept_whole(store):
    text = "長い文。" * 260_000
    chat, _ = talk(store, text)
    assert store.messages(chat.id)[0].text == text


def test_export_and_import_give_the_same_chat(store):
    chat, ids = talk(store, "Q", "A **bold**")
    store.save_answer(ids[1], "A **bold**", [["A", "a", 1]], status="done", meta={"tokens": 1})
    store.change(chat.id, system_prompt="Be brief.")
    chat = store.get(chat.id)
    copy = from_json(store, json.loads(to_json(store, chat)))
    assert texts(store, copy) == ["Q", "A **bold**"]
    assert copy.system_prompt == "Be brief."
    assert store.messages(copy.id)[1].tokens == [["A", "a", 1]]
    assert "A **bold**" in to_markdown(store, chat)


def test_a_chat_of_lm_studio_is_read(store):
    text = """{"name": "From LM Studio", "systemPrompt": "Sys", "messages": [
      {"versions": [{"type": "singleStep", "role": "user", "content": [{"type": "text", "text": "Hello"}]}],
       "currentlySelected": 0},
      {"versions": [
        {"type": "multiStep", "role": "assistant", "steps": [
          {"type": "contentBlock", "content": [{"type": "text", "text": "old"}]}]},
        {"type": "multiStep", "role": "assistant", "senderInfo": {"senderName": "qwen"}, "steps": [
          {"type": "contentBlock", "content": [{"type": "text", "text": "Hi "}, {"type": "file"}]},
          {"type": "debugInfoBlock"},
          {"type": "contentBlock", "content": [{"type": "text", "text": "there"}]}]}],
       "currentlySelected": 1}]}"""
    chat = from_json(store, json.loads(text))
    assert (chat.title, chat.system_prompt) == ("From LM Studio", "Sys")
    assert texts(store, chat) == ["Hello", "Hi there"]
    assert store.messages(chat.id)[1].model == "qwen"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"messages": 3}', '{"format":"foredraft-chat-1","messages":[{"role":"root"}]}']
)
def test_what_is_not_a_chat_is_refused(store, text):
    with pytest.raises((ChatStoreError, ValueError)):
        from_json(store, json.loads(text))
    assert store.count() == 0


def test_where_nothing_can_be_written_chats_are_kept_in_memory(tmp_path):
    (tmp_path / "home").write_text("a file where the folder should be", encoding="utf-8")
    store = open_or_set_aside(tmp_path / "home" / "chats.db")
    assert store.notice == "unusable"
    assert store.path is None
    assert store.get(store.create("kept for now").id).title == "kept for now"
    store.close()


OTHER = """
import sys
from pathlib import Path
from foredraft.chats import ChatStore
store = ChatStore(Path(sys.argv[1]))
print(store.message(int(sys.argv[2])).status, flush=True)
store.close()
"""


def test_a_second_process_leaves_running_answers_alone(tmp_path):
    path = tmp_path / "chats.db"
    store = ChatStore(path)
    chat = store.create("a")
    answer = store.add(chat.id, "assistant", "", parent=None, status="running")
    command = [sys.executable, "-c", OTHER, str(path), str(answer)]

    def seen_by_another():
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert seen_by_another() == "running"
    store.close()
    assert seen_by_another() == "interrupted"


def test_a_commit_that_fails_is_taken_back_and_the_next_one_works(tmp_path):
    store = ChatStore(tmp_path / "chats.db")
    denied = True

    def authorize(action, argument, *_):
        commits = action == sqlite3.SQLITE_TRANSACTION and argument == "COMMIT"
        return sqlite3.SQLITE_DENY if commits and denied else sqlite3.SQLITE_OK

    store._db.set_authorizer(authorize)
    with pytest.raises(ChatStoreError):
        store.create("lost")
    denied = False
    store.create("kept")
    assert [chat.title for chat in store.recent()] == ["kept"]
    store.close()
