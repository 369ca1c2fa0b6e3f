"""Responses that a server keeps, so that a later request can go on from them: one SQLite file, for every dialect.

A response has its own turn only (what was asked in it, and the answer), and the id of the one before it: a conversation
is a chain, and may fork. It is kept within `Bounds`: whatever was used longest ago goes first. Whoever goes on from a
response uses the whole chain, so of a chain the end goes before the beginning, and no chain loses its middle.

What is deleted is overwritten in the file. Ids of what has gone are remembered with the reason, without content.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foredraft.chats.database import StoreError, make_file, worded
from foredraft.chats.migrations import migrate

BUSY_S = 2.0
"""How long to wait for another process that writes: somebody waits for an answer meanwhile."""
GONE = 10_000
"""Ids of responses that have gone, which are remembered."""
STEPS: tuple[tuple[str, str], ...] = (
    (
        "r001_responses",
        """
        CREATE TABLE responses (
            id TEXT PRIMARY KEY,
            parent TEXT,
            created REAL NOT NULL,
            used REAL NOT NULL,
            size INTEGER NOT NULL,
            said INTEGER NOT NULL,
            messages TEXT NOT NULL,
            shown TEXT NOT NULL,
            input TEXT NOT NULL
        );
        CREATE INDEX responses_by_use ON responses (used, size);
        CREATE TABLE items (
            id TEXT PRIMARY KEY,
            response TEXT NOT NULL REFERENCES responses (id) ON DELETE CASCADE
        );
        CREATE INDEX items_of_response ON items (response);
        CREATE TABLE gone (id TEXT PRIMARY KEY, why TEXT NOT NULL);
        """,
    ),
)
_CHAIN = """
    WITH RECURSIVE up (id, parent, depth) AS (
        SELECT id, parent, 0 FROM responses WHERE id = ?
        UNION ALL SELECT r.id, r.parent, up.depth + 1 FROM up JOIN responses r ON r.id = up.parent)"""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept: responses, bytes of their text, and seconds since one was used last."""

    responses: int
    size: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """One response. `messages` is its turn as the chat template takes it, `shown` the object that its dialect answered
    with, `input` the items that were sent."""

    id: str
    parent: str | None
    messages: list[dict[str, Any]]
    shown: dict[str, Any]
    input: list[dict[str, Any]]


class MissingResponseError(Exception):
    """There is no such response (any more). `why` is deleted, room, age, or empty where it is not known."""

    def __init__(self, response_id: str, why: str) -> None:
        super().__init__(f"{response_id} is not kept.")
        self.id = response_id
        self.why = why


class TooLongError(Exception):
    """A conversation has more text, in bytes, than may be taken up again."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"The conversation has {size} bytes.")
        self.size = size
        self.most = most


class ResponseStore:
    """All that is kept. Methods may be called from any thread; each is one transaction, and raises `StoreError` where
    the file cannot be used."""

    def __init__(self, path: Path | None, bounds: Bounds) -> None:
        """Open the file at `path`, or begin it; None keeps everything in memory."""
        self._bounds = bounds
        self._lock = threading.Lock()
        with worded():
            if path is not None:
                make_file(path)
            db = sqlite3.connect(path or ":memory:", timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            with worded():
                db.execute("PRAGMA auto_vacuum = FULL")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = NORMAL")
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA foreign_keys = ON")
                if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    raise StoreError("damaged", "The database of responses is damaged.")
                migrate(db, STEPS)
                _make_room(db, self._bounds)
        except BaseException:
            db.close()
            raise
        self._db = db

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def add(self, kept: Kept, items: Sequence[str] = ()) -> None:
        """Keep a response, and with it every one before it. `items` are ids by which parts of it may be named."""
        messages, shown, given = _dump(kept.messages), _dump(kept.shown), _dump(kept.input)
        size = len(messages) + len(shown) + len(given)
        if size > self._bounds.size:
            raise StoreError("full", f"The response has {size:,} bytes; at most {self._bounds.size:,} are kept.")
        now = time.time()
        with self._transaction() as db:
            if kept.parent is not None:
                _use(db, kept.parent, now)
            db.execute(
                "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (kept.id, kept.parent, now, now, size, len(messages), messages, shown, given),
            )
            db.executemany("INSERT OR IGNORE INTO items VALUES (?, ?)", [(item, kept.id) for item in items])
            _make_room(db, self._bounds)
            if db.execute("SELECT 1 FROM responses WHERE id = ?", (kept.id,)).fetchone() is None:
                raise StoreError("full", "This conversation alone has as much as is kept of all.")

    def conversation(self, response_id: str, most: int) -> tuple[str, list[dict[str, Any]]]:
        """(id of the first response, messages of the whole chain, first to last). Raises `MissingResponseError` for the
        first link that is missing, `TooLongError` for more than `most` bytes."""
        with self._transaction() as db:
            _make_room(db, self._bounds)
        with self._transaction() as db:
            query = f"{_CHAIN} SELECT id, parent FROM up ORDER BY depth DESC"  # noqa: S608
            chain = db.execute(query, (response_id,)).fetchall()
            first, before = chain[0] if chain else ("", response_id)
            if before is not None:
                raise MissingResponseError(before, _why(db, before))
            query = f"{_CHAIN} SELECT sum(said) FROM up JOIN responses USING (id)"  # noqa: S608
            (size,) = db.execute(query, (response_id,)).fetchone()
            if size > most:
                raise TooLongError(size, most)
            _use(db, response_id, time.time())
            query = f"{_CHAIN} SELECT messages FROM up JOIN responses USING (id) ORDER BY depth DESC"  # noqa: S608
            turns = db.execute(query, (response_id,)).fetchall()
        return first, [message for (turn,) in turns for message in _load(turn)]

    def get(self, response_id: str) -> Kept:
        """One response. Raises `MissingResponseError`."""
        with self._transaction() as db:
            _make_room(db, self._bounds)
        with self._transaction() as db:
            query = "SELECT id, parent, messages, shown, input FROM responses WHERE id = ?"
            row = db.execute(query, (response_id,)).fetchone()
            if row is None:
                raise MissingResponseError(response_id, _why(db, response_id))
        return Kept(row[0], row[1], *map(_load, row[2:]))

    def item(self, item_id: str) -> Kept | None:
        """The response that an item's id names."""
        with self._transaction() as db:
            row = db.execute("SELECT response FROM items WHERE id = ?", (item_id,)).fetchone()
        return self.get(row[0]) if row is not None else None

    def delete(self, response_id: str) -> None:
        """Forget one response: what it says, though not those that went on from it. Raises `MissingResponseError`."""
        with self._transaction() as db:
            if not db.execute("DELETE FROM responses WHERE id = ?", (response_id,)).rowcount:
                raise MissingResponseError(response_id, _why(db, response_id))
            _gone(db, [response_id], "deleted")
        self._shrink()

    def forget(self) -> int:
        """Forget all, the ids of what has gone before too; how many responses there were."""
        with self._transaction() as db:
            count = db.execute("DELETE FROM responses").rowcount
            db.execute("DELETE FROM gone")
        self._shrink()
        return count

    # ---- inside ----

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, worded():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    def _shrink(self) -> None:
        """Bring what was overwritten into the file: until then its old pages are in the log beside it."""
        with self._lock, worded():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def open_responses(path: Path, bounds: Bounds) -> tuple[ResponseStore, str]:
    """(the store at `path`, why it is another one or ""). A damaged file is deleted and begun anew; where it cannot be
    used otherwise (a code of `StoreError`), responses are kept in memory, to the end of the process."""
    try:
        return ResponseStore(path, bounds), ""
    except StoreError as error:
        code = error.code
    if code == "damaged":
        with contextlib.suppress(StoreError, OSError):
            for part in ("", "-wal", "-shm"):
                path.with_name(path.name + part).unlink(missing_ok=True)
            return ResponseStore(path, bounds), code
    return ResponseStore(None, bounds), code


def _use(db: sqlite3.Connection, response_id: str, now: float) -> None:
    """The whole chain was used now, so that its beginning is never older than its end."""
    query = f"{_CHAIN} UPDATE responses SET used = ? WHERE id IN (SELECT id FROM up)"  # noqa: S608
    db.execute(query, (response_id, now))


def _make_room(db: sqlite3.Connection, bounds: Bounds) -> None:
    """Let go what is beyond the bounds: what was used longest ago, and of a chain its end first."""
    oldest = time.time() - bounds.age_s
    _drop(db, [row[0] for row in db.execute("SELECT id FROM responses WHERE used < ?", (oldest,))], "age")
    count, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM responses").fetchone()
    if count <= bounds.responses and size <= bounds.size:
        return
    going = []
    for response_id, its in db.execute("SELECT id, size FROM responses ORDER BY used, rowid DESC"):
        if count <= bounds.responses and size <= bounds.size:
            break
        going.append(response_id)
        count, size = count - 1, size - its
    _drop(db, going, "room")


def _drop(db: sqlite3.Connection, ids: Sequence[str], why: str) -> None:
    db.executemany("DELETE FROM responses WHERE id = ?", [(response_id,) for response_id in ids])
    _gone(db, ids, why)


def _gone(db: sqlite3.Connection, ids: Sequence[str], why: str) -> None:
    db.executemany("INSERT OR REPLACE INTO gone VALUES (?, ?)", [(response_id, why) for response_id in ids])
    if ids:
        db.execute("DELETE FROM gone WHERE rowid <= (SELECT max(rowid) FROM gone) - ?", (GONE,))


def _why(db: sqlite3.Connection, response_id: str) -> str:
    row = db.execute("SELECT why FROM gone WHERE id = ?", (response_id,)).fetchone()
    return row[0] if row is not None else ""


def _dump(value: Any) -> str:
    """ASCII, so that its length is its size, and half a surrogate pair of a client does no harm."""
    return json.dumps(value, separators=(",", ":"))


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise StoreError("damaged", f"What was kept cannot be read: {error}") from error
