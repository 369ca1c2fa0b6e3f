"""The chat history: one SQLite file, one connection, called from one process.

Every change is committed at once (WAL, so that a reader never waits and a killed process loses nothing committed).
A running answer is written down every second or so by whoever runs it (`save_answer`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from foredraft.chats.database import StoreError, make_file, worded
from foredraft.chats.migrations import migrate
from foredraft.chats.records import DONE, INTERRUPTED, RUNNING, Chat, Found, Message, Preset, Token
from foredraft.chats.search import excerpt, matching_messages

BUSY_S = 5.0
"""How long to wait for another process that writes."""
_CHAT = "id, title, created, changed, leaf, system_prompt, unsent, settings, folder"
_MESSAGE = "id, chat_id, parent, role, text, created, status, model, draft, tokens, meta"


NOT_A_CHAT = "not_a_chat"


ChatStoreError = StoreError
"""`code` is also `NOT_A_CHAT`, for what was to be imported and is none."""


class ChatStore:
    """All chats. Methods may be called from any thread; each is one transaction."""

    def __init__(self, path: Path | None) -> None:
        """Open (and bring up to date) the file at `path`; None keeps everything in memory. Raises `ChatStoreError`."""
        self.path = path
        self.notice: str = ""
        """Why this is not the usual file (a code of `ChatStoreError`); empty if it is."""
        self._lock = threading.RLock()
        with worded():
            if path is not None:
                make_file(path)
            db = sqlite3.connect(path or ":memory:", timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            with worded():
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA foreign_keys = ON")
                if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    raise ChatStoreError("damaged", "The chat database is damaged.")
                migrate(db)
                self._first = _first_to_open(path) if path is not None else None
                if self._first is not None:  # else they are another process's, and go on
                    db.execute("UPDATE messages SET status = ? WHERE status = ?", (INTERRUPTED, RUNNING))
        except BaseException:
            db.close()
            raise
        self._db = db

    def close(self) -> None:
        with self._lock:
            self._db.close()
            if self._first is not None:
                self._first.release()

    # ---- chats ----

    def create(self, title: str = "", *, settings: dict[str, Any] | None = None, system_prompt: str = "") -> Chat:
        """A new chat. Without a title it is named by its first message."""
        now = time.time()
        with self._transaction() as db:
            last = _after_all(db, now)
            chat = Chat(uuid.uuid4().hex[:12], title, now, last, system_prompt=system_prompt, settings=settings or {})
            db.execute(
                "INSERT INTO chats (id, title, created, changed, system_prompt, settings) VALUES (?, ?, ?, ?, ?, ?)",
                (chat.id, title, now, last, system_prompt, _dump(chat.settings)),
            )
        return chat

    def get(self, chat_id: str) -> Chat | None:
        with self._transaction() as db:
            row = db.execute(f"SELECT {_CHAT} FROM chats WHERE id = ?", (chat_id,)).fetchone()  # noqa: S608
        return _chat(row) if row else None

    def recent(self, limit: int = 100, offset: int = 0) -> list[Chat]:
        """Chats, the last changed first."""
        with self._transaction() as db:
            rows = db.execute(
                f"SELECT {_CHAT} FROM chats ORDER BY changed DESC LIMIT ? OFFSET ?",  # noqa: S608
                (limit, offset),
            ).fetchall()
        return [_chat(row) for row in rows]

    def count(self) -> int:
        with self._transaction() as db:
            return int(db.execute("SELECT count(*) FROM chats").fetchone()[0])

    def change(self, chat_id: str, **values: Any) -> None:
        """Set any of title, system_prompt, unsent, settings, folder, leaf. Unsent text does not make a chat newer."""
        allowed = {"title", "system_prompt", "unsent", "settings", "folder", "leaf"}
        if not values or not set(values) <= allowed:
            raise ValueError(f"A chat has no {', '.join(sorted(set(values) - allowed))}.")
        if "settings" in values:
            values["settings"] = _dump(values["settings"])
        columns = ", ".join(f"{name} = ?" for name in values)
        with self._transaction() as db:
            db.execute(f"UPDATE chats SET {columns} WHERE id = ?", (*values.values(), chat_id))  # noqa: S608

    def delete(self, chat_id: str) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM chats WHERE id = ?", (chat_id,))

    def search(self, words: str, limit: int = 50) -> list[Found]:
        """Chats with `words` in a title or message, each once."""
        words = words.strip()
        if not words:
            return [Found(chat) for chat in self.recent(limit)]
        with self._transaction() as db:
            titled = db.execute(
                f"SELECT {_CHAT} FROM chats WHERE instr(lower(title), lower(?)) > 0"  # noqa: S608
                " ORDER BY changed DESC LIMIT ?",
                (words, limit),
            ).fetchall()
            found = {row[0]: Found(_chat(row)) for row in titled}
            for chat_id, text in matching_messages(db, words, limit * 10):
                if len(found) >= limit:
                    break
                if chat_id not in found:
                    row = db.execute(f"SELECT {_CHAT} FROM chats WHERE id = ?", (chat_id,)).fetchone()  # noqa: S608
                    found[chat_id] = Found(_chat(row), excerpt(text, words))
        return list(found.values())

    # ---- messages ----

    def add(
        self,
        chat_id: str,
        role: str,
        text: str,
        *,
        parent: int | None,
        status: str = DONE,
        model: str = "",
        draft: str = "",
        tokens: Sequence[Token] = (),
        meta: dict[str, Any] | None = None,
    ) -> int:
        """Add a message below `parent` (None: the beginning) and show its branch. Returns its id."""
        now = time.time()
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO messages (chat_id, parent, role, text, created, status, model, draft, tokens, meta)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (chat_id, parent, role, text, now, status, model, draft, _dump(tokens), _dump(meta or {})),
            )
            message_id = int(cursor.lastrowid or 0)
            changed = _after_all(db, now)
            db.execute("UPDATE chats SET leaf = ?, changed = ? WHERE id = ?", (message_id, changed, chat_id))
        return message_id

    def save_answer(
        self, message_id: int, text: str, tokens: Sequence[Token], *, status: str, meta: dict[str, Any], draft: str = ""
    ) -> None:
        """Write down how far an answer has come, or how it ended."""
        with self._transaction() as db:
            db.execute(
                "UPDATE messages SET text = ?, tokens = ?, status = ?, meta = ?, draft = ? WHERE id = ?",
                (text, _dump(tokens), status, _dump(meta), draft, message_id),
            )

    def message(self, message_id: int) -> Message | None:
        with self._transaction() as db:
            row = db.execute(f"SELECT {_MESSAGE} FROM messages WHERE id = ?", (message_id,)).fetchone()  # noqa: S608
            return self._versioned(db, [row])[0] if row else None

    def branch_ids(self, chat_id: str) -> list[int]:
        """The ids of the messages of the branch that is shown, first to last."""
        return [message_id for message_id, _ in self._branch(chat_id)]

    def messages(self, chat_id: str, last: int | None = None) -> list[Message]:
        """The messages of the branch that is shown, first to last; with `last` only that many from its end."""
        ids = self.branch_ids(chat_id)
        return self.load(ids if last is None else ids[len(ids) - min(last, len(ids)) :])

    def load(self, ids: Sequence[int]) -> list[Message]:
        """The messages of these ids, in this order."""
        if not ids:
            return []
        marks = ", ".join("?" * len(ids))
        with self._transaction() as db:
            rows = db.execute(f"SELECT {_MESSAGE} FROM messages WHERE id IN ({marks})", ids).fetchall()  # noqa: S608
            by_id = {row[0]: row for row in rows}
            return self._versioned(db, [by_id[i] for i in ids if i in by_id])

    def show(self, message_id: int) -> None:
        """Show the branch through this message, down to its newest end."""
        query = """
            WITH RECURSIVE below (id) AS (
                SELECT ? UNION ALL
                SELECT (SELECT max(m.id) FROM messages m WHERE m.parent = below.id) FROM below WHERE below.id NOT NULL)
            SELECT max(id) FROM below"""
        with self._transaction() as db:
            leaf = db.execute(query, (message_id,)).fetchone()[0]
            db.execute("UPDATE chats SET leaf = ? WHERE id = (SELECT chat_id FROM messages WHERE id = ?)", (leaf, leaf))

    def remove(self, message_id: int) -> None:
        """Delete a message and everything below it; another version of it is shown, or else its parent."""
        message = self.message(message_id)
        if message is None:
            return
        others = [other for other in message.versions if other != message_id]
        with self._transaction() as db:
            db.execute("UPDATE chats SET leaf = ? WHERE id = ?", (message.parent, message.chat_id))
            db.execute("DELETE FROM messages WHERE id = ?", (message_id,))
        if others:
            self.show(others[-1])

    def branch_off(self, message_id: int, title: str) -> Chat:
        """A new chat with a copy of everything up to this message."""
        message = self.message(message_id)
        source = self.get(message.chat_id) if message else None
        if message is None or source is None:
            raise ChatStoreError("unusable", "This message is gone.")
        ids = [message_id]
        parents = dict(self._all_parents(message.chat_id))
        while (parent := parents.get(ids[-1])) is not None:
            ids.append(parent)
        chat = self.create(title, settings=source.settings, system_prompt=source.system_prompt)
        above: int | None = None
        for old in self.load(ids[::-1]):
            above = self.add(
                chat.id,
                old.role,
                old.text,
                parent=above,
                status=old.status if old.status != RUNNING else INTERRUPTED,
                model=old.model,
                draft=old.draft,
                tokens=old.tokens,
                meta=old.meta,
            )
        return chat

    # ---- presets and preferences ----

    def presets(self) -> list[Preset]:
        with self._transaction() as db:
            rows = db.execute("SELECT name, settings FROM presets ORDER BY name").fetchall()
        return [Preset(name, json.loads(settings)) for name, settings in rows]

    def save_preset(self, preset: Preset) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO presets VALUES (?, ?)", (preset.name, _dump(preset.settings)))

    def delete_preset(self, name: str) -> None:
        with self._transaction() as db:
            db.execute("DELETE FROM presets WHERE name = ?", (name,))

    def preference(self, name: str, default: Any = None) -> Any:
        with self._transaction() as db:
            row = db.execute("SELECT value FROM preferences WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_preference(self, name: str, value: Any) -> None:
        with self._transaction() as db:
            db.execute("INSERT OR REPLACE INTO preferences VALUES (?, ?)", (name, _dump(value)))

    # ---- inside ----

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, worded():
            self._db.execute("BEGIN")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:  # a commit that failed leaves the transaction open
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _all_parents(self, chat_id: str) -> list[tuple[int, int | None]]:
        with self._transaction() as db:
            return db.execute("SELECT id, parent FROM messages WHERE chat_id = ?", (chat_id,)).fetchall()

    def _branch(self, chat_id: str) -> list[tuple[int, int | None]]:
        query = """
            WITH RECURSIVE up (id, parent) AS (
                SELECT m.id, m.parent FROM chats c JOIN messages m ON m.id = c.leaf WHERE c.id = ?
                UNION ALL SELECT m.id, m.parent FROM up JOIN messages m ON m.id = up.parent)
            SELECT id, parent FROM up"""
        with self._transaction() as db:
            return db.execute(query, (chat_id,)).fetchall()[::-1]

    def _versioned(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> list[Message]:
        messages = []
        for i, chat_id, parent, role, text, created, status, model, draft, tokens, meta in rows:
            siblings = db.execute(
                "SELECT id FROM messages WHERE chat_id = ? AND parent IS ? AND role = ? ORDER BY id",
                (chat_id, parent, role),
            )
            versions = tuple(sibling for (sibling,) in siblings)
            messages.append(
                Message(
                    i,
                    chat_id,
                    parent,
                    role,
                    text,
                    created,
                    status,
                    model,
                    draft,
                    json.loads(tokens),
                    json.loads(meta),
                    versions.index(i) + 1,
                    versions,
                )
            )
        return messages


def open_or_set_aside(path: Path) -> ChatStore:
    """The chat history at `path`, or another one where that file cannot be used: it is never overwritten.

    A damaged file is renamed and a new one begun; one of a newer version stays and another is used beside it; a locked
    or unwritable one leaves this session's chats in memory. `ChatStore.notice` says which.
    """
    try:
        return ChatStore(path)
    except ChatStoreError as error:
        code = error.code
    if code == "damaged":
        kept = path.with_name(f"{path.stem}.damaged-{time.strftime('%Y%m%d-%H%M%S')}{path.suffix}")
        for part in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(kept.with_name(kept.name + part))
        store = ChatStore(path)
    elif code == "newer":
        store = ChatStore(path.with_name(f"{path.stem}.older-version{path.suffix}"))
    else:
        store = ChatStore(None)
    store.notice = code
    return store


def _first_to_open(path: Path) -> BaseFileLock | None:
    """A lock that is held for as long as the store is open; None where another process holds it."""
    lock = FileLock(path.with_name(f"{path.name}.lock"), timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        return None
    except (OSError, NotImplementedError):  # a file system without locks: there, nobody else is assumed
        pass
    return lock


def _chat(row: tuple[Any, ...]) -> Chat:
    chat_id, title, created, changed, leaf, system_prompt, unsent, settings, folder = row
    return Chat(chat_id, title, created, changed, leaf, system_prompt, unsent, _settings(settings), folder)


def _after_all(db: sqlite3.Connection, now: float) -> float:
    """Now, or just after the chat that was changed last where the clock has been put back since: what is done last
    stands first in the list, whatever the clock says."""
    (last,) = db.execute("SELECT MAX(changed) FROM chats").fetchone()
    return now if last is None else max(now, float(last) + 0.001)


def _settings(text: str) -> dict[str, Any]:
    """Settings as they were written down; none where something else wrote there."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
