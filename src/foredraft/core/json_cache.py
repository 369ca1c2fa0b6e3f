"""JSON cache of what was measured or learned: one small file a key, replaced whole, never trusted blindly.

The folder is the caller's. A file that is missing, damaged, of another pair or not
writable is no error: it is rebuilt, and what happened is said in `notes`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from foredraft.core import files
from foredraft.core.reasons import Reason

T = TypeVar("T")

FORMAT = 3
Key = Mapping[str, str | int | float | None]
"""What a file is valid for: model file, size, time of change, machine, threads, library, KV type …"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored file. `key` and `content` are empty where it cannot be read."""

    path: Path
    kind: str
    key: Key
    content: Mapping[str, Any]
    changed: float
    """When it was written, in Unix seconds."""

    def load(self, make: Callable[[Mapping[str, Any]], T]) -> T | None:
        """What `make` makes of the content; None where it raises `ValueError`."""
        try:
            return make(self.content)
        except ValueError:
            return None


def entries(folder: Path | None) -> list[Entry]:
    """Everything that is stored in a folder, by name of file; what cannot be read is listed all the same."""
    found = []
    for path in sorted(folder.glob("*-*.json")) if folder is not None else []:
        try:
            changed, stored = path.stat().st_mtime, json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            changed, stored = 0.0, None
        whole = isinstance(stored, dict) and stored.get("format") == FORMAT
        key, content = (stored.get("key"), stored.get("content")) if whole else ({}, {})
        if not isinstance(key, dict) or not isinstance(content, dict):
            key, content = {}, {}
        found.append(Entry(path, path.name.rsplit("-", 1)[0], key, content, changed))
    return found


def place(folder: Path, kind: str, key: Key) -> Path:
    """The file of a key: readable kind, hashed key (file names of models may hold anything)."""
    digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"{kind}-{digest}.json"


def read(folder: Path | None, kind: str, key: Key, notes: list[Reason]) -> dict[str, Any] | None:
    """The content stored for a key, or None with the reason in `notes` (silent when there simply is no file yet)."""
    if folder is None:
        return None
    path = place(folder, kind, key)
    try:
        stored = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        notes.append(Reason("stored_unreadable", {"what": Reason(f"stored_{kind}"), "error": type(error).__name__}))
        return None
    if not isinstance(stored, dict) or stored.get("format") != FORMAT or stored.get("key") != dict(key):
        notes.append(Reason("stored_other", {"what": Reason(f"stored_{kind}")}))
        return None
    content = stored.get("content")
    if isinstance(content, dict):
        return content
    notes.append(Reason("stored_damaged", {"what": Reason(f"stored_{kind}")}))
    return None


def load(
    folder: Path | None, kind: str, key: Key, notes: list[Reason], make: Callable[[Mapping[str, Any]], T]
) -> T | None:
    """What `make` makes of the content stored for a key; None, with the reason in `notes`, where there is none, or
    `make` raises `ValueError`."""
    content = read(folder, kind, key, notes)
    try:
        return None if content is None else make(content)
    except ValueError:
        notes.append(Reason("stored_damaged", {"what": Reason(f"stored_{kind}")}))
        return None


def write(folder: Path | None, kind: str, key: Key, content: Mapping[str, Any], notes: list[Reason]) -> bool:
    """Replace the file of a key in one step; False, with the reason in `notes`, where that is not possible."""
    if folder is None:
        return False
    path = place(folder, kind, key)
    half = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        half.write_text(json.dumps({"format": FORMAT, "key": dict(key), "content": content}, allow_nan=False))
        files.replace(half, path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError):  # a folder that cannot be written, or is none
            half.unlink(missing_ok=True)
        notes.append(Reason("not_stored", {"what": Reason(f"stored_{kind}"), "error": str(error)}))
        return False
    return True
