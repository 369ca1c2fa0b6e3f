"""Work on what strangers wrote (grammars, chat templates), in processes of their own with limits of time and memory.

Neither can be bounded from within: one call of a C function holds the interpreter for as long as it likes, and a
library that recurses once a rule ends the process. Here that ends a child, and the caller gets a `ChildError`.

A child is started at the first call (0.1 to 0.3 s), kept for the next ones (a fraction of a millisecond each), and
replaced when it broke a limit. What is said to it and what it answers is JSON: nothing that it sends can run here. Work
on much data takes bytes and answers with pieces of bytes (`Children.pieces`).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import queue
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from foredraft.core.errors import ForedraftError

COUNT = 2
"""Processes of one kind that work at once; who finds them all busy waits."""
MAX_ANSWER = 2**27
"""Bytes of one answer read at most."""
STALE = 2**26
"""A child that grew by so many bytes is replaced after its answer: memory that was used once is kept by a process."""
PATIENCE = 0.5
"""Seconds that work goes on for which nobody waits any more: to end a process and start the next one costs as much."""
_POLL = 0.02
_IN_A_PIPE = 4096
"""Bytes that a pipe takes on every system, though nobody reads."""
_SIZE = struct.Struct("<Q")


class ChildError(ForedraftError):
    """Work in a child came to no result. `reason`: "time", "memory", "died" (the process ended), "fault" (the work
    raised an error), or "arguments" (they cannot be sent)."""

    code = "child"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Children:
    """Processes that do one kind of work: `work` is a function "package.module:name" of JSON values, or, for `pieces`,
    one of bytes that yields bytes.

    `seconds` and `n_bytes` are what one call may take; memory is counted above what the child has when it is ready.
    On Linux the system keeps the limit of memory; elsewhere (`watch`) it is looked at while the work is done.
    """

    def __init__(
        self, work: str, *, seconds: float, n_bytes: int, count: int = COUNT, watch: bool = sys.platform != "linux"
    ) -> None:
        self.work, self.seconds, self.n_bytes, self.watch = work, seconds, n_bytes, watch
        self._turns = threading.BoundedSemaphore(count)
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        atexit.register(self.close)

    def call(self, *arguments: Any) -> Any:
        """The work's result. Raises `ChildError`."""
        try:
            message = json.dumps(arguments).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            said = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise ChildError("arguments", f"what was given cannot be sent: {said}") from error
        answer, _ = self._ask(_VALUES, message, lambda: None)
        return answer.get("result")

    def pieces(self, message: bytes, wanted: Callable[[], object] = lambda: None) -> list[bytes]:
        """What the work yields of `message`. `wanted` is called again and again after a while, and raises when nobody
        waits for it any more. Raises `ChildError`, too."""
        return self._ask(_BYTES, message, wanted)[1]

    def _ask(self, kind: bytes, message: bytes, wanted: Callable[[], object]) -> tuple[dict[str, Any], list[bytes]]:
        with self._turns:
            child = self._take()
            try:
                answer, pieces = child.ask(kind, message, self.seconds, self.n_bytes if self.watch else None, wanted)
            except BaseException:
                child.end(at_once=True)
                raise
            if answer.get("last"):
                child.end()
            else:
                self._idle.put(child)
        if "fault" in answer:
            raise ChildError(answer.get("reason", "fault"), str(answer["fault"])[:2000])
        return answer, pieces

    def close(self) -> None:
        """End the idle children; the next call starts a new one."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().end()

    def _take(self) -> _Child:
        with contextlib.suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child.process.poll() is None:
                    return child
                child.end(at_once=True)  # somebody ended it while it was idle
        try:
            return _Child(self.work, self.seconds, 0 if self.watch else self.n_bytes)
        except OSError as error:
            raise ChildError("died", f"no process to try it in can be started: {error.strerror or error}") from error


class _Child:
    """One process, and the thread that waits for what it says."""

    def __init__(self, work: str, seconds: float, n_bytes: int) -> None:
        self.process = subprocess.Popen(  # noqa: S603 (this interpreter, and a function of this package)
            [*command("foredraft.child"), work, str(seconds), str(n_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, name="foredraft-child", daemon=True)
        self._reader.start()
        self._began_with = 0

    def ask(
        self, kind: bytes, message: bytes, seconds: float, watched: int | None, wanted: Callable[[], object]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a message and wait for the answer, and the pieces before it. `watched`: bytes it may grow by, if
        somebody has to look. `wanted` is asked whether anybody still waits."""
        if len(message) <= _IN_A_PIPE:
            self._write(kind, message)
        else:  # one that does not take it must not hold up whoever waits
            threading.Thread(target=self._write, args=(kind, message), name="foredraft-child", daemon=True).start()
        pieces: list[bytes] = []
        began = time.monotonic()
        until = began + seconds + (_STARTS if not self._began_with else 0)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise ChildError("time", f"it takes longer than {seconds:g} seconds")
            try:
                raw = self._answers.get(timeout=min(left, _POLL if watched is not None else PATIENCE))
            except queue.Empty:
                if watched is not None:
                    self._look(watched)
                if time.monotonic() - began > PATIENCE:
                    wanted()
                continue
            if raw is None:
                raise self._died()
            if raw.startswith(_PIECE):
                pieces.append(raw[len(_PIECE) :])
                continue
            if raw == _READY:
                self._began_with = 1 if watched is None else max(_resident(self.process.pid), 1)
                until = time.monotonic() + seconds
                continue
            answer = json.loads(raw)
            return (answer if isinstance(answer, dict) else {}), pieces

    def _write(self, kind: bytes, message: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, which its reader sees
            self.process.stdin.write(kind + _SIZE.pack(len(message)))
            self.process.stdin.write(message)
            self.process.stdin.flush()

    def end(self, *, at_once: bool = False) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if at_once:
            self.process.kill()
        with contextlib.suppress(OSError):
            self.process.stdin.close()  # it ends by itself when nothing more can come
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()

    def _look(self, most: int) -> None:
        if self._began_with and _resident(self.process.pid) > self._began_with + most:
            raise ChildError("memory", f"it takes more than {most / 2**20:,.0f} MiB of memory")

    def _died(self) -> ChildError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        return ChildError("died", f"it ended the process it was tried in (code {self.process.returncode})")

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            while head := self.process.stdout.read(_SIZE.size):
                if len(head) < _SIZE.size or _SIZE.unpack(head)[0] > MAX_ANSWER:
                    break
                self._answers.put(self.process.stdout.read(_SIZE.unpack(head)[0]))
        self._answers.put(None)


_READY = b'"ready"'
_VALUES, _BYTES = b"v", b"b"
"""What stands before a message: a list of arguments follows, or bytes."""
_PIECE = b"\0"
"""What stands before a piece of an answer: no JSON begins so."""
_STARTS = 30.0
"""Seconds in which a child must be ready: long, because a busy machine is no fault of the work's."""


def command(module: str) -> list[str]:
    """This interpreter, running `main` of a module of ours; arguments may follow.

    Not by "-m", which would let a file in the current folder stand in for any module.
    """
    root = str(Path(__file__).resolve().parents[1])
    code = (
        f"import sys; {root!r} in sys.path or sys.path.insert(0, {root!r}); "
        f"from {module} import main; sys.exit(main(*sys.argv[1:]))"
    )
    return [sys.executable, "-P", "-c", code]


def environment(further: Mapping[str, str] | None = None) -> dict[str, str]:
    """A child's environment. llama.cpp calls a debugger when it fails, unless it is told not to."""
    return {**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONIOENCODING": "utf-8", **(further or {})}


def no_core_file() -> None:
    """A child that is expected to die now and then must not leave its memory on the disk."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def last_words(said: str) -> str:
    """What llama.cpp wrote when it ended the process, without the folders of the machine that it was compiled on; ""
    where it wrote nothing. Nothing else that stood on stderr."""
    for line in reversed([line.strip() for line in said.splitlines() if line.strip()]):
        if re.search(r"GGML_ASSERT|GGML_ABORT|what\(\):|: fatal error|unsupported|\.c(pp)?:\d+:", line):
            return re.sub(r"\S*/(?=[^/\s]+\.(?:c|cpp|h|hpp|cu|m):\d+)", "", line)[:300]
    return ""


def how_it_ended(code: int) -> str:
    """A process's return code in words: the signal's name, or the code."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _resident(pid: int) -> int:
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


# ---- the other side ----


def main(work: str, seconds: str, n_bytes: str) -> None:
    """The child's life: read a message, work, answer, until nothing more can come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which then ends this one
    no_core_file()
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that the work prints may stand among the answers
    module, _, name = work.partition(":")
    function = getattr(importlib.import_module(module), name)
    limit_memory(int(n_bytes))
    began_with = _peak()
    _say(outgoing, _READY)
    while len(head := incoming.read(1 + _SIZE.size)) == 1 + _SIZE.size:
        message = incoming.read(_SIZE.unpack(head[1:])[0])
        _limit_time(float(seconds))
        answer: dict[str, Any]
        try:
            if head[:1] == _BYTES:
                for piece in function(message):
                    _say(outgoing, _PIECE, piece)
                answer = {}
            else:
                answer = {"result": function(*json.loads(message))}
        except MemoryError:
            limit = int(n_bytes) / 2**20
            answer = {"fault": f"it takes more than {limit:,.0f} MiB of memory", "reason": "memory", "last": True}
        except Exception as error:  # whatever a stranger's work raises is an answer  # noqa: BLE001
            answer = {"fault": f"{type(error).__name__}: {error}"[:2000]}
        if _peak() > began_with + STALE:
            answer["last"] = True
        try:
            _say(outgoing, json.dumps(answer).encode("ascii"))
        except MemoryError:
            _say(outgoing, b'{"fault": "its result does not fit in memory", "reason": "memory", "last": true}')
            return


def _say(outgoing: IO[bytes], *parts: bytes) -> None:
    outgoing.write(_SIZE.pack(sum(map(len, parts))))
    for part in parts:
        outgoing.write(part)
    outgoing.flush()


def limit_memory(n_bytes: int) -> None:
    """Let the process map `n_bytes` more than it has now, or less where it was started with less; 0 leaves it."""
    if n_bytes and sys.platform == "linux":
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = min(pages * resource.getpagesize() + n_bytes, allowed_memory() or sys.maxsize)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def allowed_memory() -> int:
    """Bytes that this process (and its children) may map, where somebody has set a limit (`ulimit -v`); else 0."""
    try:
        import resource
    except ImportError:
        return 0
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return 0 if limit == resource.RLIM_INFINITY else limit


def _limit_time(seconds: float) -> None:
    """For a child whose parent is no longer there to end it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
        resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 5, hard))


def _peak() -> int:
    """Most bytes of memory that the process has used so far; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where `ru_maxrss` begins with what the parent had
        return int(status.read_text(encoding="ascii", errors="replace").partition("VmHWM:")[2].split()[0]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # macOS, the one left here, counts bytes
