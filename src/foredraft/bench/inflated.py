"""Inflated main models in the cache: the same text at a bigger model's cost, made once (`inflate.py` says how)."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from foredraft.bench.inflate import SIZES, inflate
from foredraft.config.folders import cache_folder
from foredraft.core.errors import ModelError, ModelNotFoundError, ParameterError

BYTES = {"0.5b": 0.6e9, "1b": 1.2e9, "3b": 3.4e9, "8b": 8.8e9}
"""About how much room a file takes (Q8_0)."""


def inflated(source: Path, size: str, say: Callable[[str], None] = lambda words: None) -> Path:
    """The model `source` at the cost of `size`, from the cache or made now. `say` is told what takes long.

    Raises `ParameterError` for an unknown size, `ModelError` when it cannot be made or there is no room.
    """
    if size not in SIZES:
        raise ParameterError("inflate", size, f"one of {', '.join(SIZES)}")
    if not source.is_file():
        raise ModelNotFoundError(str(source))
    folder = cache_folder() / "inflated"
    path = folder / f"{source.stem}-{_digest(source)}-{size}-q8_0.gguf"
    if path.is_file():
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ModelError(f"{folder} cannot be used: {error.strerror}.", path=str(folder)) from error
    if free < 1.1 * BYTES[size]:
        raise ModelError(
            f"The inflated model needs about {BYTES[size] / 1e9:.1f} GB in {folder}; {free / 1e9:.1f} GB are free.",
            path=str(folder),
            hint="Set FOREDRAFT_HOME to a folder with more room, or choose a smaller size.",
        )
    with FileLock(folder / ".lock", mode=0o600):  # two programs at once: the second finds it made
        if not path.is_file():
            say(f"Making {path} ({BYTES[size] / 1e9:.1f} GB), once …")
            inflate(source, path, size)
    return path


def _digest(source: Path) -> str:
    """So that another file of the same name is inflated anew."""
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
