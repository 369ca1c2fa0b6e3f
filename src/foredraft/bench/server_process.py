"""A server that a bench starts on the loopback, asks, and ends: llama-server, or our own."""

from __future__ import annotations

import contextlib
import json
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from foredraft.core.errors import BenchServerError

READY_S = 900.0
"""A large model on a slow disk may take minutes to load."""
_ANSWER_S = 3600.0
_LOOK_S = 0.05
_END_S, _BROKEN_S = 10.0, 2.0
_TAIL = 12
"""Last lines of a server's log that are quoted when it fails."""


class ServerProcess:
    """A child process that serves HTTP. Use it as a context manager: however the block is left, the child ends."""

    def __init__(self, name: str, command: Sequence[str], port: int, *, hint: str = "") -> None:
        """Start it; `wait` returns once it takes requests. `hint` is what to do where it cannot be started. Raises
        `BenchServerError`."""
        self.name = name
        self._hint = hint
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        try:
            self._process = subprocess.Popen(  # noqa: S603 (the user names the program)
                command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
            )
        except OSError as error:
            self._log.close()
            raise BenchServerError(f"{command[0]} cannot be started: {error.strerror}.", hint=hint) from error
        self._cpu = cpu_clock(self._process.pid)
        # no proxy, and one connection that is kept, as a program that talks to a server all day has it
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_ANSWER_S, trust_env=False)

    def wait(self, limit_s: float = READY_S) -> Self:
        """Return when the model is loaded. Raises `BenchServerError` when the process ends or `limit_s` is over."""
        ended = time.monotonic() + limit_s
        while True:
            if self._process.poll() is not None:
                raise self._failure("ended while it started")
            try:
                if self._http.get("/health", timeout=_END_S).status_code == httpx.codes.OK:
                    return self
            except httpx.HTTPError:
                pass  # it does not listen yet
            if time.monotonic() > ended:
                raise self._failure(f"was not ready after {limit_s:.0f} s")
            time.sleep(_LOOK_S)

    def cpu_s(self) -> float:
        """Processor seconds that the process has taken so far, all its threads together."""
        return self._cpu()

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request. Raises `BenchServerError`."""
        try:
            answer = self._http.post(path, json=body)
            found: dict[str, Any] = answer.json() if answer.status_code == httpx.codes.OK else {}
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise self._broken(error) from error
        if answer.status_code != httpx.codes.OK:
            raise self._failure(f"refused a request with {answer.status_code}: {answer.text[:300]}")
        return found

    def first_piece(self, path: str, body: Mapping[str, Any]) -> float:
        """Seconds from sending a request to the first piece of its streamed answer; the rest is read, too. Raises
        `BenchServerError`."""
        began, first = time.perf_counter(), 0.0
        try:
            with self._http.stream("POST", path, json={**body, "stream": True}) as answer:
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                    raise self._failure(f"refused a request with {answer.status_code}: {answer.text[:300]}")
                for line in answer.iter_lines():
                    if not first and line.startswith("data: {"):
                        first = time.perf_counter()
        except httpx.HTTPError as error:
            raise self._broken(error) from error
        if not first:
            raise self._failure("streamed an answer without a single piece")
        return first - began

    def close(self) -> None:
        """End the process, by force where it does not end when asked to."""
        self._http.close()
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _broken(self, error: Exception) -> BenchServerError:
        """No answer: very likely the process has just ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_BROKEN_S)
        return self._failure(f"gave no answer ({str(error).rstrip('.')})")

    def _failure(self, what: str) -> BenchServerError:
        code = self._process.poll()
        left = f" (exit code {code})" if code is not None else ""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").splitlines()
        tail = "\n".join(line for line in lines[-_TAIL:] if line.strip())
        return BenchServerError(
            f"{self.name} {what}{left}." + (f" It said last:\n{tail}" if tail else ""), hint=self._hint
        )


def free_port() -> int:
    """A port of the loopback that nobody uses at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def cpu_clock(pid: int) -> Callable[[], float]:
    """The processor time of another process in seconds. On Linux to the nanosecond: the other way counts in hundredths,
    too coarse for a single token."""
    if platform.system() == "Linux":
        # the kernel's number for "the processor clock of this process" (clock_getcpuclockid(3))
        clock = (~pid << 3) | 2
        return lambda: time.clock_gettime(clock)
    process = psutil.Process(pid)

    def times() -> float:
        found = process.cpu_times()
        return float(found.user + found.system)

    return times
