"""What the shelf remembers between runs, in one SQLite file: facts of files, compared vocabularies, measured pairs.

Facts are kept by path, size and time: a file that changed is read again. Everything but the imports and the measured
pairs can be made anew, so a damaged cache is thrown away, and where none can be written the shelf works without.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VERSION = 2
"""Of the facts and how they are made. Another number reads every file anew; imports and measurements stay."""

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
        self._memory: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if self._memory is not None:
            yield self._memory
            return
        connection = self._connect()
        if connection is None:
            self._memory = connection = _prepared(sqlite3.connect(":memory:", check_same_thread=False))
            yield connection
            return
        try:
            with connection:
                yield connection
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection | None:
        if self.path is None:
            return None
        for attempt in range(2):
            connection = None
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                connection = sqlite3.connect(self.path, timeout=10)
                return _prepared(connection)
            except sqlite3.OperationalError:  # a folder that cannot be written, a lock that does not end
                if connection is not None:
                    connection.close()
                return None
            except (sqlite3.DatabaseError, OSError):
                if connection is not None:
                    connection.close()
                if attempt:
                    return None
                with contextlib.suppress(OSError):
                    self.path.unlink()
        return None

    def facts(self) -> dict[str, tuple[str, dict[str, Any] | None, str]]:
        """Path to (stamp, facts as plain values or None, error)."""
        with self._open() as connection:
            rows = connection.execute("SELECT path, stamp, facts, error FROM facts").fetchall()
        return {path: (stamp, json.loads(facts) if facts else None, error or "") for path, stamp, facts, error in rows}

    def remember(self, rows: Iterable[tuple[str, str, Mapping[str, Any] | None, str]]) -> None:
        """Keep (path, stamp, facts, error) of some files."""
        values = [
            (path, stamp, json.dumps(facts, ensure_ascii=False) if facts else None, error)
            for path, stamp, facts, error in rows
        ]
        if values:
            with self._open() as connection:
                connection.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)", values)

    def forget(self, paths: Iterable[str]) -> None:
        values = [(path,) for path in paths]
        if values:
            with self._open() as connection:
                connection.executemany("DELETE FROM facts WHERE path = ?", values)

    def difference(self, main: str, draft: str) -> tuple[bool, tuple[int, str, str] | None]:
        """(known, first differing token) of two vocabularies, by the hashes of their texts."""
        with self._open() as connection:
            row = connection.execute(
                "SELECT difference FROM differences WHERE main = ? AND draft = ?", (main, draft)
            ).fetchone()
        if row is None:
            return False, None
        found = json.loads(row[0])
        return True, tuple(found) if found else None

    def remember_difference(self, main: str, draft: str, difference: tuple[int, str, str] | None) -> None:
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO differences VALUES (?, ?, ?)", (main, draft, json.dumps(difference))
            )

    def measured(self) -> dict[tuple[str, str], Measured]:
        """All measured pairs, by the identities of main and draft."""
        with self._open() as connection:
            rows = connection.execute("SELECT main, draft, measured FROM measured").fetchall()
        return {(main, draft): Measured(**json.loads(text)) for main, draft, text in rows}

    def remember_measured(self, main: str, draft: str, measured: Measured) -> None:
        with self._open() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", (main, draft, json.dumps(asdict(measured)))
            )

    def imports(self) -> list[str]:
        """Paths of files that were registered where they lie."""
        with self._open() as connection:
            return [path for (path,) in connection.execute("SELECT path FROM imports ORDER BY path")]

    def remember_import(self, path: str) -> None:
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO imports VALUES (?)", (path,))

    def forget_import(self, path: str) -> None:
        with self._open() as connection:
            connection.execute("DELETE FROM imports WHERE path = ?", (path,))


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
