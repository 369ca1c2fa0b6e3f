"""What the shelf remembers between runs, in one SQLite file: facts of files, compared vocabularies, measured pairs.

Facts are kept by path, size and time: a file that changed is read again. Everything but the imports and the measured
pairs can be made anew, so a damaged cache is set aside and begun anew, and where none can be written the shelf works
without; both are said (`ShelfCache.notes`).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from foredraft.core.reasons import Reason

VERSION = 4
"""Of the facts and how they are made. Another number reads every file anew; imports and measurements stay."""

T = TypeVar("T")

_NOT_DAMAGED = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
"""Faults of the disk or of others at work, after which the file is as good as before."""

_TABLES = """
CREATE TABLE facts (path TEXT PRIMARY KEY, stamp TEXT NOT NULL, facts TEXT, error TEXT);
CREATE TABLE differences (main TEXT, draft TEXT, difference TEXT, PRIMARY KEY (main, draft));
CREATE TABLE IF NOT EXISTS measured (main TEXT, draft TEXT, measured TEXT NOT NULL, PRIMARY KEY (main, draft));
CREATE TABLE IF NOT EXISTS imports (path TEXT PRIMARY KEY);
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement of a pair on this machine gave. Speeds in tokens a second."""

    speedup: float
    low: float
    """The interval of the speed-up: from `low` …"""
    high: float
    """… to `high`."""
    plain_speed: float
    draft_speed: float
    when: str
    """The day, ISO 8601."""


class ShelfCache:
    """The file, opened for each use: several processes may share it. `path` None keeps it in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.notes: list[Reason] = []
        """What happened to the file, in words: that it was damaged and set aside, or cannot be written."""
        self._memory: sqlite3.Connection | None = None

    @property
    def lasts(self) -> bool:
        """Whether what is kept here is there the next time."""
        return self.path is not None and self._memory is None

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Work with the database: a damaged one is set aside and made anew, one that cannot be used is left."""
        if self.path is not None and self._memory is None:
            for _ in range(2):
                try:
                    return self._with_file(self.path, work)
                except (sqlite3.DatabaseError, OSError) as error:
                    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
                    if isinstance(error, OSError) or code in _NOT_DAMAGED:
                        self._leave(str(error))
                        break
                    if not self._set_aside(self.path):
                        break
                except (ValueError, LookupError, TypeError):  # what stands in its rows was not written so
                    if not self._set_aside(self.path):
                        break
        if self._memory is None:
            self._memory = _prepared(sqlite3.connect(":memory:", check_same_thread=False))
        with self._memory as memory:
            return work(memory)

    def _with_file(self, path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            return work(_prepared(connection))

    def _set_aside(self, path: Path) -> bool:
        """Give the damaged file another name, so that a new one can be made."""
        aside = path.with_name(f"{path.stem}-damaged{path.suffix}")
        try:
            path.replace(aside)
            for tail in ("-journal", "-wal", "-shm"):
                path.with_name(path.name + tail).unlink(missing_ok=True)
        except FileNotFoundError:  # another process was faster
            return True
        except OSError as error:
            self._leave(error.strerror or str(error))
            return False
        self.notes.append(Reason("shelf_renewed", {"path": str(path), "aside": aside.name}))
        return True

    def _leave(self, why: str) -> None:
        self.notes.append(Reason("shelf_unusable", {"path": str(self.path), "why": why}))

    def facts(self) -> dict[str, tuple[str, dict[str, Any] | None, str]]:
        """Path to (stamp, facts as plain values or None, error)."""

        def read(connection: sqlite3.Connection) -> dict[str, tuple[str, dict[str, Any] | None, str]]:
            rows = connection.execute("SELECT path, stamp, facts, error FROM facts").fetchall()
            return {
                path: (stamp, json.loads(facts) if facts else None, error or "") for path, stamp, facts, error in rows
            }

        return self._do(read)

    def remember(self, rows: Iterable[tuple[str, str, Mapping[str, Any] | None, str]]) -> None:
        """Keep (path, stamp, facts, error) of some files."""
        values = [
            (path, stamp, json.dumps(facts, ensure_ascii=False) if facts else None, error)
            for path, stamp, facts, error in rows
        ]
        if values:
            self._do(lambda file: file.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", values))

    def forget(self, paths: Iterable[str]) -> None:
        values = [(path,) for path in paths]
        if values:
            self._do(lambda file: file.executemany("DELETE FROM facts WHERE path = ?", values))

    def difference(self, main: str, draft: str) -> tuple[bool, tuple[int, str, str] | None]:
        """(known, first differing token) of two vocabularies, by the hashes of their texts."""

        def read(connection: sqlite3.Connection) -> tuple[bool, tuple[int, str, str] | None]:
            row = connection.execute(
                "SELECT difference FROM differences WHERE main = ? AND draft = ?", (main, draft)
            ).fetchone()
            found = json.loads(row[0]) if row is not None else None
            return row is not None, (int(found[0]), str(found[1]), str(found[2])) if found else None

        return self._do(read)

    def remember_difference(self, main: str, draft: str, difference: tuple[int, str, str] | None) -> None:
        values = (main, draft, json.dumps(difference))
        self._do(lambda file: file.execute("INSERT OR REPLACE INTO differences VALUES (?, ?, ?)", values))

    def measured(self) -> dict[tuple[str, str], Measured]:
        """All measured pairs, by the identities of main and draft."""

        def read(connection: sqlite3.Connection) -> dict[tuple[str, str], Measured]:
            rows = connection.execute("SELECT main, draft, measured FROM measured").fetchall()
            return {(main, draft): Measured(**json.loads(text)) for main, draft, text in rows}

        return self._do(read)

    def remember_measured(self, main: str, draft: str, measured: Measured) -> None:
        values = (main, draft, json.dumps(asdict(measured)))
        self._do(lambda file: file.execute("INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", values))

    def imports(self) -> list[str]:
        """Paths of files that were registered where they lie."""
        return self._do(lambda file: [str(path) for (path,) in file.execute("SELECT path FROM imports ORDER BY path")])

    def remember_import(self, path: str) -> None:
        self._do(lambda file: file.execute("INSERT OR IGNORE INTO imports VALUES (?)", (path,)))

    def forget_import(self, path: str) -> None:
        self._do(lambda file: file.execute("DELETE FROM imports WHERE path = ?", (path,)))


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return connection
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been faster
        if version != VERSION:
            connection.execute("DROP TABLE IF EXISTS facts")
            connection.execute("DROP TABLE IF EXISTS differences")
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    return connection
