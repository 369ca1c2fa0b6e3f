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
from typing import Any, Self, TypeVar

import httpx
import psutil

from foredraft.core.errors import BenchServerError

T = TypeVar("T")

READY_S = 900.0
"""A large model on a slow disk may take minutes to load."""
_ANSWER_S = 3600.0
_LOOK_S = 0.05
_IDLE_S = 2.0
"""A connection that was silent for longer is not used again: servers close them (llama-server after 5 s)."""
_END_S, _BROKEN_S = 10.0, 1.0
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
        self._http = httpx.Client(
            base_url=f"http://127.0.0.1:{port}",
            timeout=_ANSWER_S,
            trust_env=False,  # no proxy on the loopback
            limits=httpx.Limits(keepalive_expiry=_IDLE_S),
        )

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

        def ask() -> dict[str, Any]:
            answer = self._http.post(path, json=body)
            self._check(answer)
            found: dict[str, Any] = answer.json()
            return found

        return self._patiently(ask)

    def first_piece(self, path: str, body: Mapping[str, Any]) -> float:
        """Seconds from sending a request on a kept connection to the first piece of its streamed answer; the rest is
        read, too. Raises `BenchServerError`."""

        def ask() -> float:
            self._http.get("/health")  # so that there is a connection
            began, first = time.perf_counter(), 0.0
            with self._http.stream("POST", path, json={**body, "stream": True}) as answer:
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                self._check(answer)
                for line in answer.iter_lines():
                    if not first and line.startswith("data: {"):
                        first = time.perf_counter()
            if not first:
                raise self._failure("streamed an answer without a single piece")
            return first - began

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask once more where the connection was gone: servers close kept ones as they like."""
        try:
            try:
                return ask()
            except httpx.RemoteProtocolError:
                if self._ended():
                    raise
                return ask()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            self._ended()
            raise self._failure(f"gave no answer ({str(error).rstrip('.')})") from error

    def _ended(self) -> bool:
        """Whether the process has ended, or does so within a moment."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_BROKEN_S)
        return self._process.poll() is not None

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code != httpx.codes.OK:
            raise self._failure(f"refused a request with {answer.status_code}: {answer.text[:300]}")

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
