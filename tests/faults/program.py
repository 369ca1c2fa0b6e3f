"""The real program on a home of its own, with something wrong about it: `foredraft serve` and the short commands."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

PATIENCE_S = 120
ASK = [{"role": "user", "content": "What is 2 + 3?"}]
Limits = Callable[[], None]
"""Run in the new process before anything else (POSIX)."""


@dataclass
class Serving:
    """A running server, what it has printed, and the app's address."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    address: str = ""
    page: str = ""
    _ready: threading.Event = field(default_factory=threading.Event)
    _cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if found := re.search(r"serves (http://\S+);", line):
                self.address = found[1]
            if found := re.search(r"browser.*: (http://\S+)", line):
                self.page = found[1]
            if line.startswith("Loaded "):
                self._ready.set()
        self._ready.set()

    def wait(self) -> None:
        assert self._ready.wait(PATIENCE_S), self.lines
        assert self.address, self.lines

    @property
    def said(self) -> str:
        return "\n".join(self.lines)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=PATIENCE_S)

    def answer(self, http: httpx.Client, **more: Any) -> str:
        """A short answer's text; the server must be able to give one."""
        answer = http.post("/v1/chat/completions", json={"messages": ASK, "max_tokens": 8, "seed": 1, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["message"]["content"]

    @contextlib.contextmanager
    def app(self) -> Iterator[httpx.Client]:
        """A browser that has opened the app: its ticket opens it once, its cookie again."""
        with httpx.Client(base_url=self.address, timeout=PATIENCE_S, follow_redirects=True) as browser:
            browser.cookies = self._cookies
            opened = browser.get(self.page if not self._cookies else "/")
            assert opened.status_code == 200, (opened.text[:500], self.lines)
            self._cookies = browser.cookies
            yield browser

    def check(self) -> None:
        """It is still there, and nothing unexpected happened to it."""
        assert self.process.poll() is None
        assert "Traceback" not in self.said, self.said


@contextlib.contextmanager
def serving(home: Path, *options: str, limits: Limits | None = None, **more: str) -> Iterator[Serving]:
    """`foredraft serve` with the embedded pair loaded, until the block ends; it must end well, too."""
    command = [sys.executable, "-m", "foredraft", "serve", "--port", "0", "--model", "foredraft-demo", *options]
    process = subprocess.Popen(
        command,
        env=_environment(home, more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        preexec_fn=limits,
    )
    running = Serving(process)
    reader = threading.Thread(target=running.read, daemon=True)
    reader.start()
    try:
        running.wait()
        yield running
        running.check()
        process.terminate()
        assert process.wait(PATIENCE_S) in (0, -15, 1 if os.name == "nt" else 0)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()
    assert "Traceback" not in running.said, running.said


def run(home: Path, *arguments: str, limits: Limits | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """One short command."""
    return subprocess.run(
        [sys.executable, "-m", "foredraft", *arguments],
        env=_environment(home, more),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=limits,
    )


def limited(name: str, value: int) -> Limits:
    """One of the system's limits (`resource.RLIMIT_…`), for a new process."""

    def set_it() -> None:
        import resource

        resource.setrlimit(getattr(resource, name), (value, value))

    return set_it


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size, mounted. Raises `PermissionError` where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.decode())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Until nothing more fits."""
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 10, 1):
            with contextlib.suppress(OSError):
                while file.write(b"\0" * size):
                    pass


def _environment(home: Path, more: dict[str, str]) -> dict[str, str]:
    names: Sequence[str] = [name for name in os.environ if name.startswith("FOREDRAFT_")]
    own = {name: value for name, value in os.environ.items() if name not in names}
    return {
        **own,
        "FOREDRAFT_HOME": str(home),
        "HF_HOME": str(home / "hub"),
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **more,
    }
