"""Kept responses: chains, bounds, and nothing left of what was forgotten."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foredraft.chats import responses
from foredraft.chats.database import StoreError
from foredraft.chats.responses import Bounds, Kept, MissingResponseError, ResponseStore, TooLongError, open_responses

PLENTY = Bounds(responses=1000, size=1 << 20, age_s=3600.0)


def kept(name: str, parent: str | None = None, text: str = "") -> Kept:
    return Kept(name, parent, [{"role": "user", "content": text or name}], {"id": name}, [{"id": f"in_{name}"}])


def said(store: ResponseStore, name: str) -> list[str]:
    return [message["content"] for message in store.conversation(name, 1 << 20)[1]]


def test_a_chain_forks_and_each_branch_is_whole(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite", PLENTY)
    for name, parent in (("a", None), ("b", "a"), ("c", "b"), ("d", "b")):
        store.add(kept(name, parent), [f"out_{name}"])
    assert store.conversation("d", 1 << 20)[0] == "a"
    assert said(store, "c") == ["a", "b", "c"]
    assert said(store, "d") == ["a", "b", "d"]
    assert store.get("c").parent == "b"
    assert store.item("out_b").id == "b"
    assert store.item("nothing") is None
    store.close()
    store = ResponseStore(tmp_path / "r.sqlite", PLENTY)
    assert said(store, "c") == ["a", "b", "c"], "after a restart"
    store.delete("b")
    with pytest.raises(MissingResponseError) as missing:
        store.conversation("d", 1 << 20)
    assert (missing.value.id, missing.value.why) == ("b", "deleted")
    assert store.item("out_b") is None
    with pytest.raises(MissingResponseError):
        store.delete("b")
    with pytest.raises(TooLongError) as long:
        store.conversation("a", 5)
    assert long.value.size > long.value.most == 5
    store.close()


@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=25),
    st.integers(1, 6),
)
def test_room_is_made_at_the_ends_of_what_was_used_longest_ago(steps: list[tuple[int, bool]], most: int) -> None:
    """After every step: at most so many, and whatever is there is a whole chain."""
    store = ResponseStore(None, Bounds(most, 1 << 20, 3600.0))
    made: list[str] = []
    for i, (parent, fresh) in enumerate(steps):
        alive = [name for name in made if _is_there(store, name)]
        before = None if fresh or not alive else alive[parent % len(alive)]
        try:
            store.add(kept(f"r{i}", before))
        except StoreError:
            assert len(said(store, before or "")) == most, "its own conversation fills everything"
        else:
            made.append(f"r{i}")
            assert _is_there(store, f"r{i}")
        alive = [name for name in made if _is_there(store, name)]
        assert len(alive) <= most
        for name in alive:
            assert said(store, name)[-1] == name
    store.close()


def _is_there(store: ResponseStore, name: str) -> bool:
    try:
        store.get(name)
    except MissingResponseError:
        return False
    return True


def test_what_is_used_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(responses.time, "time", lambda: clock[0])
    store = ResponseStore(None, Bounds(3, 1 << 20, 100.0))
    store.add(kept("a"))
    store.add(kept("b", "a"))
    clock[0] += 10
    store.add(kept("other"))
    clock[0] += 10
    assert said(store, "b") == ["a", "b"]
    store.add(kept("new"))
    with pytest.raises(MissingResponseError) as missing:
        store.get("other")
    assert missing.value.why == "room"
    assert said(store, "b") == ["a", "b"]
    clock[0] += 101
    with pytest.raises(MissingResponseError) as missing:
        store.conversation("b", 1 << 20)
    assert missing.value.why == "age"
    with pytest.raises(MissingResponseError) as missing:
        store.get("nobody")
    assert missing.value.why == ""
    store.close()


def test_bytes_are_bounded() -> None:
    store = ResponseStore(None, Bounds(100, 5000, 3600.0))
    for i in range(20):
        store.add(kept(f"r{i}", text="x" * 1000))
    there = [i for i in range(20) if _is_there(store, f"r{i}")]
    assert there == [16, 17, 18, 19]
    with pytest.raises(StoreError) as full:
        store.add(kept("large", text="x" * 6000))
    assert full.value.code == "full"
    assert [i for i in range(20) if _is_there(store, f"r{i}")] == there, "what cannot be kept pushes nothing out"
    store.close()


def everything(folder: Path) -> bytes:
    return b"".join(part.read_bytes() for part in folder.iterdir() if part.is_file())


@pytest.mark.parametrize("way", ["delete", "forget"])
def test_nothing_is_left_of_what_was_forgotten(tmp_path: Path, way: str) -> None:
    store = ResponseStore(tmp_path / "r.sqlite", PLENTY)
    store.add(kept("a", text="my secret"))
    store.add(kept("b", text="long " * 5000 + "my secret"))
    assert b"my secret" in everything(tmp_path)
    if way == "delete":
        store.delete("a")
        store.delete("b")
    else:
        assert store.forget() == 2
    assert b"my secret" not in everything(tmp_path), "while it is open"
    store.close()
    assert b"my secret" not in everything(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    store = ResponseStore(tmp_path / "r.sqlite", PLENTY)
    store.add(kept("a"))
    for part in tmp_path.iterdir():
        assert stat.S_IMODE(part.stat().st_mode) & 0o077 == 0, part
    store.close()


def test_texts_that_are_not_unicode_are_kept() -> None:
    store = ResponseStore(None, PLENTY)
    store.add(kept("a", text="half \ud800 a pair"))
    assert said(store, "a") == ["half \ud800 a pair"]
    store.close()


@pytest.mark.parametrize("content", [b"", b"not a database at all, but long enough to be looked at" * 50])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.sqlite").write_bytes(content)
    store, notice = open_responses(tmp_path / "r.sqlite", PLENTY)
    assert notice == ("damaged" if content else "")
    store.add(kept("a"))
    store.close()
    store, notice = open_responses(tmp_path / "r.sqlite", PLENTY)
    assert (notice, said(store, "a")) == ("", ["a"])
    store.close()


def test_a_file_of_a_newer_version_or_one_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    ResponseStore(tmp_path / "r.sqlite", PLENTY).close()
    with sqlite3.connect(tmp_path / "r.sqlite") as db:
        db.execute("INSERT INTO migrations VALUES ('r999_later', 0)")
    db.close()
    (tmp_path / "folder.sqlite").mkdir()
    for name, code in (("r", "newer"), ("folder", "unusable")):
        store, notice = open_responses(tmp_path / f"{name}.sqlite", PLENTY)
        assert notice == code
        store.add(kept("a"))
        assert said(store, "a") == ["a"], "in memory"
        store.close()


def test_a_locked_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "BUSY_S", 0.05)
    store = ResponseStore(tmp_path / "r.sqlite", PLENTY)
    store.add(kept("a"))
    other: Any = sqlite3.connect(tmp_path / "r.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError) as locked:
        store.add(kept("b"))
    assert locked.value.code == "locked"
    other.execute("ROLLBACK")
    store.add(kept("b"))
    other.close()
    store.close()
