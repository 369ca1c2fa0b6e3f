"""The parent's side of a model's process: started, asked, watched, ended.

Two sockets lead to it. Over the *work* socket one thread at a time asks for passes and waits. Over the *side* socket
any thread asks for what must not wait behind a pass: texts as tokens, pieces of the vocabulary, the end of a pass. When
the process ends, whoever waits gets an `EngineDiedError` with its signal and the library's last words.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import IO, Any

from foredraft import child, huge_pages
from foredraft.core.errors import ClosedError, EngineDiedError, EngineError
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.block import Block, Numbers, Rows
from foredraft.engines.isolated.wire import Kind, Message, Wire

ENDS_WITHIN_S = 5.0
"""A process that was told to end is killed when it has not done so by then."""
_LAST_LINES, _LAST_WORDS_S = 50, 1.0
"""Lines that are kept of what it says, and how long the last ones are waited for."""
logger = logging.getLogger("foredraft.llamacpp")


class ModelProcess:
    """A child that has loaded a model; `facts` is what it told about it."""

    def __init__(
        self, opener: str, arguments: Mapping[str, Any], *, progress: Callable[[float], None] | None = None
    ) -> None:
        """`opener` is a function "package.module:name" that makes an engine from `arguments` (JSON values) and a
        function to report the share done. Raises what it raises, and `EngineDiedError`; what `progress` raises ends the
        process."""
        self.name = str(arguments.get("name") or arguments.get("path") or "the model")
        self.died: EngineDiedError | None = None
        """Set when the process has ended without being told to."""
        self.facts: dict[str, Any] = {}
        self._block = Block.new()
        self._closing = False
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Message]] = {}
        self._said: deque[str] = deque(maxlen=_LAST_LINES)
        self._passes = itertools.count(1)
        self._running = 0
        self._start()
        try:
            self._load(opener, arguments, progress)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def rows(self, columns: int) -> tuple[Rows, Numbers]:
        """What the process writes its rows into, and its hidden rows, as many as `facts` say. To be asked for once."""
        rows = self._block.open(self.facts["rows"], columns, self.facts.get("hidden", 0))
        self._block.close()
        return rows

    # ---- asking ----

    def ask(self, kind: Kind, body: bytes) -> Message:
        """Over the work socket: the answer, which may be that it failed. Raises `EngineDiedError`.

        What is raised here while it waits (Ctrl-C) ends the pass, whose answer is waited for first.
        """
        with self._lock:
            number = self._running = next(self._passes)
        try:
            self._work.send(kind, number, body)
            try:
                return self._answer(number)
            except OSError:
                raise
            except BaseException:
                self.abort()
                self._answer(number)
                raise
        except OSError:
            raise self.failure() from None
        finally:
            with self._lock:
                self._running = 0

    def beside(self, kind: Kind, body: bytes) -> bytes:
        """Over the side socket, from any thread: the answer. Raises what the engine raises, and `EngineDiedError`."""
        future: Future[Message] = Future()
        with self._lock:
            if self._closing or self._over.is_set():
                raise self.failure()
            number = next(self._numbers)
            self._waiting[number] = future
            with contextlib.suppress(OSError):  # the reader notices, and answers
                self._side.send(kind, number, body)
        said = future.result()
        if said.kind is Kind.FAILED:
            raise wire.error_from_json(wire.from_json(said.body))
        return said.body

    def abort(self) -> None:
        """From any thread: end the running pass. Between two passes it does nothing."""
        with self._lock, contextlib.suppress(OSError):
            if self._running and not self._closing:
                self._side.send(Kind.ABORT, self._running)

    def failure(self) -> EngineError:
        """Why nothing can be asked any more."""
        if self._closing:
            return ClosedError(self.name)
        self._over.wait()
        assert self.died is not None
        return EngineDiedError(self.died.model, self.died.ended, self.died.words)

    def _answer(self, number: int) -> Message:
        while (said := self._work.receive()).number != number:
            pass  # of a pass whose answer nobody waited for
        return said

    # ---- living ----

    def close(self) -> None:
        """End the process, and free its memory. Calling it twice does nothing."""
        with self._lock:
            self._closing = True
        self._work.close()
        self._side.close()
        self._over.wait()
        self._reader.join()
        self._block.close()

    def _start(self) -> None:
        work, theirs = socket.socketpair()
        side, theirs_too = socket.socketpair()
        inherited = (theirs, theirs_too)
        command = [*child.command("foredraft.engines.isolated.host"), self._block.handle]
        more: dict[str, Any] = {"stdin": subprocess.DEVNULL}
        environ = child.environment(huge_pages.environment(os.environ))
        if sys.platform == "win32":  # sockets are handed over by the number of a process that is there
            for one in (work, side, *inherited):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            more = {"stdin": subprocess.PIPE, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        else:  # Ctrl-C in the terminal is for the program, whose answers end first
            command += [str(one.fileno()) for one in inherited]
            more |= {"pass_fds": (*(one.fileno() for one in inherited), *self._block.descriptors), "process_group": 0}
        try:
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, and a function of this package)
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environ, **more
            )
            if sys.platform == "win32":
                assert self._process.stdin is not None
                with contextlib.suppress(OSError), self._process.stdin as stdin:  # one that has gone is noticed below
                    for one in inherited:
                        given = one.share(self._process.pid)
                        stdin.write(len(given).to_bytes(4, "little") + given)
        except OSError as error:
            for end in (work, side):
                end.close()
            self._block.close()
            raise EngineError(f"No process for {self.name} can be started: {error.strerror or error}.") from error
        finally:
            for one in inherited:
                one.close()
        self._work, self._side = Wire(work), Wire(side)
        assert self._process.stderr is not None
        self._listener = threading.Thread(
            target=self._listen, args=(self._process.stderr,), name="foredraft-model-words", daemon=True
        )
        self._listener.start()
        self._reader = threading.Thread(target=self._read, name="foredraft-model-side", daemon=True)
        self._reader.start()

    def _load(self, opener: str, arguments: Mapping[str, Any], progress: Callable[[float], None] | None) -> None:
        try:
            self._work.send(Kind.LOAD, 0, wire.to_json({"opener": opener, "arguments": dict(arguments)}))
            while (said := self._work.receive()).kind is Kind.PROGRESS:
                if progress is not None:
                    progress(float(said.body))
        except OSError:
            raise self.failure() from None
        if said.kind is Kind.FAILED:
            raise wire.error_from_json(wire.from_json(said.body))
        self.facts = wire.from_json(said.body)
        self.name = self.facts["info"]["name"]

    def _read(self) -> None:
        """The reader's life: answers from the side socket, until the process has gone."""
        with contextlib.suppress(OSError, ValueError):
            while True:
                said = self._side.receive()
                with self._lock:
                    future = self._waiting.pop(said.number, None)
                if future is not None:
                    future.set_result(said)
        self._bury()

    def _bury(self) -> None:
        """See how it ended, and tell everyone."""
        try:
            self._process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(_LAST_WORDS_S)
        with self._lock:
            if not self._closing:
                words = child.last_words("\n".join(self._said))
                self.died = EngineDiedError(self.name, child.how_it_ended(self._process.returncode), words)
                self._work.close()
                self._side.close()
            self._over.set()
            waiting = list(self._waiting.values())
            self._waiting.clear()
        for future in waiting:
            future.set_exception(self.failure())

    def _listen(self, stderr: IO[bytes]) -> None:
        with stderr:
            for line in stderr:
                text = line.decode("utf-8", "replace").rstrip()[:1000]
                self._said.append(text)
                logger.debug("%s", text)


class Isolated:
    """What lies in a process of its own."""

    _process: ModelProcess

    @property
    def died(self) -> EngineDiedError | None:
        """Why its process has ended; None while it lives."""
        return self._process.died

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid
