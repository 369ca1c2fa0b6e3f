"""What the SQLite files of this package have in common: whose they are, and what goes wrong, in words."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from foredraft.chats.migrations import NewerDatabaseError
from foredraft.config.folders import close_off, make_private


class StoreError(Exception):
    """What is kept cannot be read or written. `code` is newer, damaged, locked, full or unusable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def make_file(path: Path) -> None:
    """The file, if there is none yet, so that its owner alone can read it: SQLite's further files get its modes."""
    try:
        make_private(path.parent)
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError("full" if error.errno == errno.ENOSPC else "unusable", str(error)) from error
    for part in ("", "-wal", "-shm"):
        close_off(path.with_name(path.name + part))


@contextlib.contextmanager
def worded() -> Iterator[None]:
    """SQLite's errors as ours, with a code."""
    try:
        yield
    except NewerDatabaseError as error:
        raise StoreError("newer", str(error)) from error
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "locked" in text or "busy" in text:
            code = "locked"
        elif "full" in text:
            code = "full"
        elif isinstance(error, sqlite3.OperationalError) and "malformed" not in text:
            code = "unusable"
        elif isinstance(error, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            raise
        else:
            code = "damaged"
        raise StoreError(code, text) from error
