"""The shared library of llama.cpp: imported late, started once, its log kept instead of printed.

llama.cpp has one log for the whole process, so this is the one place with process-wide state.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger("foredraft.llamacpp")
"""Receives llama.cpp's own log at level DEBUG. Silent unless the application asks for it."""

# of ggml_log_level; a line may come in pieces, the later ones marked as continued
_DEBUG, _CONT = 1, 5


class Library:
    """llama.cpp, ready to use. `api` holds its C functions; made by `library()` only."""

    def __init__(self) -> None:
        # GNU OpenMP's threads wait for each other by spinning, by default for milliseconds. On a machine that does
        # anything else (a browser, another program) that stalls every pass. This much spinning covers a normal wait.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
        # LLVM's and Intel's (Clang, Homebrew's libomp) wait so for 200 ms unless told how many; Microsoft's cannot be
        # told, and builds without OpenMP (Apple's Clang, Metal) use llama.cpp's own threads.
        os.environ.setdefault("KMP_BLOCKTIME", "1")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package's own deprecations are not the user's business
            from llama_cpp import llama_cpp as api

        self.api: Any = api
        self.recent: deque[str] = deque(maxlen=50)
        """The last lines of llama.cpp's log, oldest first, without its debug lines."""
        self._recorders: dict[int, list[str]] = {}
        self._half_line = ""
        self._level = _DEBUG
        # llama.cpp keeps the bare pointer: without this reference the next log line would end the process.
        self._callback = api.llama_log_callback(self._log)
        api.llama_log_set(self._callback, ctypes.c_void_p(0))
        api.llama_backend_init()

    @contextmanager
    def record(self) -> Iterator[list[str]]:
        """Collect every line that llama.cpp logs inside the block."""
        lines: list[str] = []
        self._recorders[id(lines)] = lines
        try:
            yield lines
        finally:
            del self._recorders[id(lines)]

    def flag_reader(self) -> Any:
        """A C function `bool f(char *flag)`: is the byte at `flag` set?

        llama.cpp asks its abort callback before every node of the compute graph, hundreds of times a token. A Python
        function would take the interpreter lock each time; the C library's `strlen` answers the same in nanoseconds:
        it is 0 for an empty string and 1 for one byte before the end.
        """
        libc = ctypes.CDLL("msvcrt") if sys.platform == "win32" else ctypes.CDLL(None)
        return ctypes.cast(libc.strlen, self.api.ggml_abort_callback)

    def _log(self, level: int, text: bytes, _: object) -> None:
        if level == _CONT:
            level = self._level
        self._level = level
        if level == _DEBUG:
            return
        *lines, self._half_line = (self._half_line + text.decode("utf-8", "replace")).split("\n")
        for line in lines:
            self.recent.append(line)
            for recorder in list(self._recorders.values()):
                recorder.append(line)
            logger.debug("%s", line)


def library() -> Library:
    """The library, loaded at the first call (about 0.2 s), from any thread. Started twice, the log of the one that is
    thrown away would end the process."""
    with _starting:
        return _started()


@functools.cache
def build_mark(part: str) -> str:
    """Another text for each build of llama.cpp: size and time of its library whose name has `part`."""
    import llama_cpp

    libraries = sorted((Path(llama_cpp.__file__).parent / "lib").glob(f"*{part}*"))
    return "-".join(f"{s.st_size:x}{s.st_mtime_ns:x}" for s in (lib.stat() for lib in libraries[:1])) or "build"


_starting = threading.Lock()


@functools.cache
def _started() -> Library:
    return Library()
