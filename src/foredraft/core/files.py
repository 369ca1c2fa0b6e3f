"""Files that others may have open: on Windows neither can be replaced or deleted as long as they are.

A program that looks at a new file for a moment (a virus scanner, an indexer, another Foredraft that reads it) is waited
for. One that keeps it open, as a loaded model does of its file, is an error that says so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from foredraft.core.errors import FileInUseError

PATIENCE_S = 1.0
"""Seconds that others get to close a file."""
_PAUSE_S = 0.02
WINDOWS = sys.platform == "win32"
_HELD = frozenset({5, 32, 33, 1224})
"""Of Windows: access denied (to a file that is about to go, too), sharing violation, lock violation, mapped file."""


def replace(source: Path, target: Path) -> None:
    """Put a file in another's place, in one step. Raises `FileInUseError`, or another `OSError`."""
    _patiently(lambda: source.replace(target), target, "replaced")


def remove(path: Path) -> None:
    """Delete a file; one that is not there is none to delete. Raises `FileInUseError`, or another `OSError`."""
    _patiently(lambda: path.unlink(missing_ok=True), path, "deleted")


def _patiently(do: Callable[[], object], path: Path, what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            do()
        except OSError as error:
            if not WINDOWS or getattr(error, "winerror", None) not in _HELD:
                raise  # elsewhere it is a matter of rights, and stays one
            if time.monotonic() > ends:
                raise FileInUseError(path, what) from error
            time.sleep(_PAUSE_S)
        else:
            return
