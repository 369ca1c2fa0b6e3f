"""Trial of a file in a process of its own: whether loading it, and a first pass, end that process.

The other side is `trial_child.py`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from foredraft import child
from foredraft.core.errors import ForedraftError, MemoryLimitError, ModelError, ModelFormatError
from foredraft.core.reasons import Reason
from foredraft.engines.llamacpp.failures import parts

PASS_BYTES = 4 * 2**30
"""Files up to this size are also computed with."""
AS_LOADED_BYTES = 2**27
"""Files up to this size are laid out in memory as a real load does; with larger ones that takes seconds."""
MEMORY_BYTES = 2 * 2**30
"""Memory that a trial may take beside twice the file's size. Some damaged vocabularies ask for all there is."""
TRIAL_SECONDS, BYTES_A_SECOND = 60.0, 20 * 2**20
"""Time that a trial may take, and the slowest disk it has patience for."""
REFUSED = 3
_FROM_OUTSIDE = {getattr(signal, name, 0) for name in ("SIGTERM", "SIGKILL", "SIGINT", "SIGHUP")} - {0}


class DeadlyFileError(ModelFormatError):
    """A file that ends the process which opens it. `words`: what llama.cpp said last, or how it ended."""

    def __init__(self, path: str | Path, words: str) -> None:
        super().__init__(
            Reason("load_deadly", {"path": str(path), "words": words}),
            path=str(path),
            hint=Reason("hint_download_again"),
        )
        self.words = words


def ends_well(path: str | Path, environment: Mapping[str, str], timeout_s: float | None = None) -> bool:
    """Load the file elsewhere, with these variables, and read two tokens in one pass.

    False if it was refused with an ordinary error, which a load here will raise as well. Raises `DeadlyFileError` if
    the file ended that process, `ModelFormatError` if it hung it for `timeout_s` seconds, `MemoryLimitError` if it
    ended where processes have less memory than a trial may take, and `ModelError` if somebody else ended it.
    """
    if timeout_s is None:
        timeout_s = TRIAL_SECONDS + size_of(Path(path)) / BYTES_A_SECOND
    run = [*child.command("foredraft.engines.llamacpp.trial_child"), os.fspath(path)]
    # tried on the processor: a GPU that is at work elsewhere is left alone
    further = child.environment({"CUDA_VISIBLE_DEVICES": "-1", **environment})
    try:
        done = subprocess.run(run, env=further, capture_output=True, timeout=timeout_s, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        hung = Reason("load_hung", {"path": str(path), "seconds": timeout_s})
        raise ModelFormatError(hung, path=str(path), hint=Reason("hint_download_again")) from None
    if -done.returncode in _FROM_OUTSIDE:
        raise ModelError(Reason("load_ended", {"path": str(path)}), path=str(path))
    if done.returncode not in (0, REFUSED):
        words = child.last_words((done.stderr or b"").decode("utf-8", "replace")) or child.how_it_ended(done.returncode)
        allowed, needed = child.allowed_memory(), MEMORY_BYTES + 2 * size_of(Path(path))
        if 0 < allowed < needed:
            raise MemoryLimitError(
                Reason("trial_memory", {"path": str(path), "words": words, "allowed": allowed, "needed": needed}),
                path=str(path),
                hint=Reason("hint_raise_limit"),
                needed=needed,
                free=allowed,
            )
        raise DeadlyFileError(path, words)
    return done.returncode == 0


def size_of(path: Path) -> int:
    """Bytes of all parts of a file; what is not there counts nothing, the load says so."""
    with contextlib.suppress(ForedraftError, OSError):
        return sum(part.stat().st_size for part in parts(path))
    return 0
