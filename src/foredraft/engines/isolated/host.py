"""The child's side: loads a model, makes the passes that it is asked for, and ends when nobody is there any more."""

from __future__ import annotations

import dataclasses
import importlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np

from foredraft import child
from foredraft.core.errors import EngineError, ForedraftError
from foredraft.engines.base import Engine, Hidden, OffersHidden, Tokenizer
from foredraft.engines.embedding import EmbeddingEngine
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.block import Block, Numbers, Rows
from foredraft.engines.isolated.tokenizer import PIECES, SPECIAL, join
from foredraft.engines.isolated.wire import Kind, Message, Wire
from foredraft.engines.llamacpp.options import LoadOptions

Opener = Callable[[Mapping[str, Any], Callable[[float], None]], Engine | EmbeddingEngine]
READERS = 4
"""Texts that become tokens at once."""
_AGAIN_S = 0.002
_OF_HEADS = (Kind.HEAD_OPEN, Kind.HEAD_FORWARD, Kind.HEAD_CLOSE, Kind.HIDDEN)


def main(block: str, *sockets: str) -> None:
    """The child's life."""
    # the program is told to end, and then ends this process: its answers may be finished first
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    child.no_core_file()
    work, side = (Wire(end) for end in _sockets(sockets))
    host = _Host(work, side, Block(block))
    threading.Thread(target=host.listen, name="side", daemon=True).start()
    try:
        host.load()
        while True:
            host.work()
    except OSError:
        os._exit(0)


def _sockets(descriptors: tuple[str, ...]) -> list[socket.socket]:
    if sys.platform == "win32":
        given = sys.stdin.buffer
        ends = [socket.fromshare(given.read(int.from_bytes(given.read(4), "little"))) for _ in range(2)]
        for end in ends:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return ends
    return [socket.socket(fileno=int(descriptor)) for descriptor in descriptors]


class _Host:
    """The model, and who asks for what."""

    def __init__(self, work: Wire, side: Wire, block: Block) -> None:
        self._work, self._side, self._block = work, side, block
        self._engine: Engine | EmbeddingEngine | None = None
        self._rows: Rows | None = None
        self._hidden: Numbers | None = None
        """Where hidden rows are put: those of the main model's last pass, or of a head's."""
        self._heads: dict[int, Any] = {}
        self._source: OffersHidden | None = None
        self._reader = -1
        """The head that reads the main model's hidden rows: the last that asked for them."""
        """Whose rows are put there after each pass of the main model; None where nobody reads them."""
        self._n_slots = 0
        self._lock = threading.Lock()
        self._pass = self._done = 0
        """The numbers of the pass that runs, and of the last that has ended."""
        self._sending = threading.Lock()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")

    # ---- the main thread ----

    def load(self) -> None:
        """As the first message says. Raises `OSError` when nobody waits any more."""
        said = wire.from_json(self._work.receive().body)
        module, _, name = said["opener"].partition(":")

        def report(share: float) -> None:
            self._work.send(Kind.PROGRESS, 0, str(share).encode("ascii"))

        try:
            opener: Opener = getattr(importlib.import_module(module), name)
            self._engine = engine = opener(said["arguments"], report)
            if hasattr(engine, "embed"):
                facts = self._facts_of_embedder(cast(EmbeddingEngine, engine))
            else:
                facts = self._facts(engine)
        except Exception as error:  # whatever it is, the parent shall know  # noqa: BLE001
            if not isinstance(error, ForedraftError):
                traceback.print_exc()
            self._work.send(Kind.FAILED, 0, wire.error_to_bytes(error))
            return
        self._work.send(Kind.DONE, 0, wire.to_json(facts))

    def work(self) -> None:
        """One message. Raises `OSError` when nobody asks any more."""
        said = self._work.receive()
        with self._lock:
            self._pass = said.number
        try:
            if said.kind in _OF_HEADS:
                kind, body = Kind.DONE, self._do_with_heads(said)
            else:
                more = self._do(said)
                kind, body = Kind.DONE, wire.numbers([*self._lengths(), *more])
        except Exception as error:  # an answer like any other  # noqa: BLE001
            if not isinstance(error, ForedraftError):
                traceback.print_exc()
            kind, body = Kind.FAILED, wire.error_to_bytes(error, self._lengths())
        with self._lock:
            self._done = said.number
        self._work.send(kind, said.number, body)

    def _do(self, said: Message) -> list[int]:
        """What was asked for; returns the numbers that are the answer, where it is one."""
        assert self._rows is not None
        values = wire.read_numbers(said.body)
        if said.kind is Kind.EMBED:
            texts = [chunk.tokens for chunk in wire.read_chunks(values)]
            self._rows[: len(texts)] = cast(EmbeddingEngine, self._engine).embed(texts)
            return []
        engine = cast(Engine, self._engine)
        begin = 1 + 2 * values[0]
        for at in range(1, begin, 2):  # what was taken back since the last message
            engine.rewind(values[at], values[at + 1])
        if said.kind is Kind.FORWARD:
            first = 0
            for rows in engine.forward(wire.read_chunks(values[begin:])):
                self._rows[first : first + len(rows)] = rows
                first += len(rows)
            if self._source is not None:
                try:
                    self._put_hidden(self._source.hidden)
                except EngineError:  # the pass has gone well: a head that cannot read it ends no answer
                    assert self._hidden is not None
                    self._hidden[:] = np.nan
        elif said.kind is Kind.REWIND:
            engine.rewind(*values[begin:])
        elif said.kind is Kind.COPY:
            engine.copy(*values[begin:])
        elif said.kind is Kind.KEEP:
            engine.keep(*values[begin:])
        elif said.kind is Kind.REACH:
            slot, length, copy = values[begin:]
            return [engine.reachable(slot, length, copy=bool(copy))]
        else:
            raise EngineError(f"{said.kind.name} is nothing that can be asked.")
        return []

    def _do_with_heads(self, said: Message) -> bytes:
        """See `IsolatedHead`. The answer's body: lengths of a head's slots, or facts about one."""
        engine = cast(Any, self._engine)
        if said.kind is Kind.HEAD_OPEN:
            wish = wire.from_json(said.body)
            path = None if wish["path"] is None else Path(wish["path"])
            head = engine.open_head(path, LoadOptions(**wish["options"]), wish["layers"])
            if head.width > engine.hidden_width:
                head.close()
                raise EngineError(f"Rows of {head.width} numbers have no room beside those of the main model.")
            number = max(self._heads, default=-1) + 1
            self._heads[number] = head
            facts = {name: getattr(head, name) for name in ("shared", "width", "memory_bytes")}
            return wire.to_json({"number": number, "info": dataclasses.asdict(head.info), **facts})
        if said.kind is Kind.HIDDEN:
            number, on = wire.read_numbers(said.body)
            source = self._heads[number].source
            source.offer_hidden(bool(on))
            if on:
                self._source, self._reader = source, number
            elif number == self._reader:  # another may have begun to read before this one stopped
                self._source, self._reader = None, -1
            return b""
        if said.kind is Kind.HEAD_CLOSE:
            self._heads.pop(wire.read_numbers(said.body)[0]).close()
            return b""
        assert self._rows is not None
        head = self._heads[wire.first_number(said.body)]
        values, rows = wire.read_pairs(said.body, head.width)
        begin = 2 + 2 * values[1]
        for at in range(2, begin, 2):
            head.rewind(values[at], values[at + 1])
        chunks, first = wire.read_chunks(values[begin:]), 0
        for chunk in chunks:
            chunk.hidden = rows[first : first + len(chunk.tokens)]
            first += len(chunk.tokens)
        flat = self._rows.reshape(-1)  # a head may have another vocabulary than the main model
        put = 0
        for logits in head.forward(chunks):
            flat[put : put + logits.size] = logits.reshape(-1)
            put += logits.size
        self._put_hidden(head.hidden)
        return wire.numbers([head.length(slot) for slot in range(self._n_slots)])

    def _put_hidden(self, hidden: Sequence[Hidden]) -> None:
        assert self._hidden is not None
        at = 0
        for rows in hidden:
            self._hidden[at : at + rows.size] = rows.reshape(-1)
            at += rows.size

    def _lengths(self) -> list[int]:
        """Of all slots, and what they owe."""
        engine, slots = cast(Engine, self._engine), range(self._n_slots)
        lengths = [engine.length(slot) for slot in slots]
        return lengths if not lengths or engine.rewind_limit.free else lengths + [engine.owed(slot) for slot in slots]

    def _facts(self, engine: Engine) -> dict[str, Any]:
        info = engine.info
        rows = info.max_rows or info.n_batch
        width = getattr(engine, "hidden_width", 0)
        # a head's rows may be those of a vocabulary that is padded further
        self._rows, self._hidden = self._block.make(rows, info.n_vocab, info.n_batch * width)
        self._n_slots = info.n_slots
        options = getattr(engine, "options", None)
        numerics = engine.numerics
        return {
            "info": dataclasses.asdict(info),
            "tokenizer": _facts(engine.tokenizer),
            "notes": list(getattr(engine, "notes", ())),
            "rows": rows,
            "hidden_width": width,
            "hidden": info.n_batch * width,
            "numerics": None if numerics is None else dataclasses.asdict(numerics),
            "exact_rows": engine.exact_rows,
            "exact_grain": engine.exact_grain,
            "rewind_limit": dataclasses.asdict(engine.rewind_limit),
            "options": None if options is None else dataclasses.asdict(options),
        }

    def _facts_of_embedder(self, engine: EmbeddingEngine) -> dict[str, Any]:
        rows = engine.info.n_slots
        self._rows, _ = self._block.make(rows, engine.dimensions)
        return {
            "info": dataclasses.asdict(engine.info),
            "tokenizer": _facts(engine.tokenizer),
            "notes": list(getattr(engine, "notes", ())),
            "rows": rows,
            "dimensions": engine.dimensions,
            "pooling": engine.pooling,
        }

    # ---- the side thread ----

    def listen(self) -> None:
        """Until nobody is there: then this process ends, whatever it is doing."""
        try:
            while True:
                said = self._side.receive()
                if said.kind is Kind.ABORT:
                    threading.Thread(target=self._abort, args=(said.number,), daemon=True).start()
                else:
                    self._readers.submit(self._read, said)
        finally:
            os._exit(0)

    def _abort(self, number: int) -> None:
        """End a pass, and no later one. This may come before the engine has begun with it: until it is over."""
        while True:
            with self._lock:
                if self._done >= number:
                    return
                if self._pass == number:
                    cast(Engine, self._engine).abort()
            time.sleep(_AGAIN_S)

    def _read(self, said: Message) -> None:
        """Work for whoever does not want to wait behind a pass."""
        try:
            assert self._engine is not None
            body = _encode(self._engine.tokenizer, said.body) if said.kind is Kind.ENCODE else self._table(said.body)
            kind = Kind.DONE
        except Exception as error:  # an answer like any other  # noqa: BLE001
            kind, body = Kind.FAILED, wire.error_to_bytes(error)
        with self._sending:
            self._side.send(kind, said.number, body)

    def _table(self, body: bytes) -> bytes:
        assert self._engine is not None
        tokenizer = self._engine.tokenizer
        table, first, last = wire.read_numbers(body)
        if table in (PIECES, SPECIAL):
            return join([tokenizer.piece(token, special=table == SPECIAL) for token in range(first, last)])
        return join([tokenizer.text(token).encode("utf-8", "surrogateescape") for token in range(first, last)])


def _encode(tokenizer: Tokenizer, body: bytes) -> bytes:
    text = body[1:].decode("utf-8", "surrogatepass")
    return wire.numbers(tokenizer.encode(text, add_special=bool(body[0] & 1), parse_special=bool(body[0] & 2)))


def _facts(tokenizer: Tokenizer) -> dict[str, Any]:
    names = ("kind", "n_vocab", "bos", "eos", "add_bos", "add_eos")
    return {**{name: getattr(tokenizer, name) for name in names}, "eog": sorted(tokenizer.eog)}
