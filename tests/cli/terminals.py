"""The program on a pseudo-terminal, as a person has it before them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

COMMAND = [sys.executable, "-m", "foredraft"]


def at_a_terminal(*args: object, **env: str) -> tuple[subprocess.Popen[bytes], int]:
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm-256color", **env},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(follower)
    return process, leader


def read_until(leader: int, mark: str, nudge: Callable[[], None] = lambda: None) -> str:
    """What the program shows, up to a mark. `nudge` at first, and whenever nothing has come for a second."""
    seen, ends = "", time.monotonic() + 60
    nudge()
    while mark not in seen:
        assert time.monotonic() < ends, seen
        if select.select([leader], [], [], 1.0)[0]:
            seen += os.read(leader, 65536).decode("utf-8", "replace")
        else:
            nudge()
    return seen


def read_to_the_end(process: subprocess.Popen[bytes], leader: int) -> str:
    """Everything that the program shows."""
    seen = b""
    try:
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:  # the other side has closed
                break
            if not data:
                break
            seen += data
    finally:
        os.close(leader)
        process.wait(60)
    return seen.decode("utf-8", "replace")
