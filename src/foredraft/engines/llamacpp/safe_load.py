"""Try a file of unknown origin in a process of its own, once.

A damaged file can trip an assertion inside llama.cpp, which ends the process: of the damaged headers that the header
reader lets through, about one in fifty. So a file that is opened for the first time is loaded elsewhere before it is
loaded here: its vocabulary, a small context, a few texts to tokens and back, and a pass of two tokens. What was found
is kept in the cache folder, by names, sizes and times of the file's parts and by the build of llama.cpp.

That costs a second of one core for a file of 1 GB with 152,000 tokens, half of which is the vocabulary. Beyond
`PASS_BYTES` the pass, which reads every weight, is left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from foredraft.config.folders import cache_folder
from foredraft.core import files
from foredraft.core.errors import ForedraftError
from foredraft.demo import is_embedded
from foredraft.engines.llamacpp.amx import TRIED, tiles_work
from foredraft.engines.llamacpp.failures import parts
from foredraft.engines.llamacpp.library import build_mark
from foredraft.engines.llamacpp.trial_process import DeadlyFileError, ends_well

KEPT = 500
"""Results kept."""


def require_survival(path: str | Path) -> None:
    """Raises `ModelFormatError` with the library's own words if opening the file would end this process.

    Files of this package are trusted. A file that the library refuses with an ordinary error passes: loading it here
    gives that error.
    """
    path = Path(path)
    if is_embedded(path):
        return
    place = _place(path)
    known = _read(place)
    if known is None:
        try:
            survives(path)
            words = ""
        except DeadlyFileError as error:
            words = error.words
        _keep(place, words)
    else:
        words = known
    if words:
        raise DeadlyFileError(path, words)


def survives(path: str | Path, *, timeout_s: float | None = None) -> bool:
    """`trial_process.ends_well`, with the processor's matrix tiles where they work."""
    return ends_well(path, {TRIED: "1" if tiles_work() else "0"}, timeout_s)


def _place(path: Path) -> Path:
    """Where the result for this file, as it is now, and this build of llama.cpp is kept."""
    digest = hashlib.blake2b(build_mark("llama").encode(), digest_size=16)
    with contextlib.suppress(ForedraftError):  # of a missing part: the load says so
        for part in parts(path):
            status = part.stat()
            digest.update(os.fsencode(part.absolute()) + b"\0%d\0%d\0" % (status.st_size, status.st_mtime_ns))
    return cache_folder() / "trials" / f"{digest.hexdigest()}.json"


def _read(place: Path) -> str | None:
    """The words of a death, "" for a file that survived, None where nothing is known."""
    try:
        words = json.loads(place.read_text(encoding="utf-8"))["words"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return words if isinstance(words, str) else None


def _keep(place: Path, words: str) -> None:
    """Where it cannot be kept, the file is tried again at its next load."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_suffix(f".{os.getpid()}")
        try:
            half.write_text(json.dumps({"words": words}), encoding="utf-8")
            files.replace(half, place)
        finally:
            half.unlink(missing_ok=True)
        kept = sorted(place.parent.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for old in kept[:-KEPT]:
            old.unlink(missing_ok=True)
