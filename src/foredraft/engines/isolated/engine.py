"""An engine that lies in another process, as the rest of the program sees it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foredraft.core.errors import EngineError, ForedraftError
from foredraft.engines.base import Chunk, Hidden, Logits, ModelInfo, Numerics
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.block import Numbers
from foredraft.engines.isolated.head import IsolatedHead
from foredraft.engines.isolated.process import Isolated, ModelProcess
from foredraft.engines.isolated.tokenizer import IsolatedTokenizer
from foredraft.engines.isolated.wire import Kind
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.rewind import Rewind


class IsolatedEngine(Isolated):
    """`Engine` is its contract. Whatever is asked after its process has ended raises `EngineDiedError`."""

    def __init__(
        self,
        opener: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """`opener` and `arguments`: see `ModelProcess`. Raises what the load raises, and `EngineDiedError`."""
        self._process = ModelProcess(opener, arguments or {}, progress=progress)
        facts = self._process.facts
        self.info: ModelInfo = wire.info_from_json(facts["info"])
        self.tokenizer = IsolatedTokenizer(self._process, facts["tokenizer"])
        self.numerics: Numerics | None = wire.numerics_from_json(facts["numerics"])
        self.exact_rows: int | None = facts["exact_rows"]
        self.exact_grain: int = facts["exact_grain"]
        self.rewind_limit = Rewind(**facts["rewind_limit"])
        self.options: LoadOptions | None = None if facts["options"] is None else LoadOptions(**facts["options"])
        """How it was loaded in the end, where it is a model of llama.cpp."""
        self.notes = wire.reasons_from_json(facts["notes"])
        self._lengths = [0] * self.info.n_slots
        self._owed = [0] * self.info.n_slots
        self._rewinds: list[int] = []
        """Slots and lengths that go with the next message: half as many round trips."""
        self.hidden_width: int = facts["hidden_width"]
        self._rows: Logits | None
        self._rows, self._hidden = self._process.rows(self.info.n_vocab)
        self._sizes: list[int] = []

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """See `Engine.forward`. The rows are read-only views of memory shared with the other process."""
        if not chunks:
            return []
        rows = self._rows
        if rows is None:
            raise self._process.failure()
        try:
            body = wire.chunks_to_bytes(chunks)
        except OverflowError:
            raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.") from None
        try:
            self._ask(Kind.FORWARD, body)
        except ForedraftError:
            raise
        except BaseException:  # Ctrl-C: the pass was ended, or had just come to its end
            self._put_back(chunks)
            raise
        cuts, first = [], 0
        for chunk in chunks:
            cuts.append(rows[first : first + chunk.want])
            first += chunk.want
        self._sizes = [len(chunk.tokens) for chunk in chunks]
        return cuts

    def hidden_of(self, width: int) -> list[Hidden]:
        """For a head: the rows of this model's last pass. A head's own pass is put into the same memory."""
        return cut_rows(self._hidden, self._sizes, width)

    def offer_hidden_of(self, number: int, on: bool) -> None:
        """For a head: whether this model's passes are to leave its rows from now on. One head reads at a time: the
        last that asked."""
        if self.died is None and self._rows is not None:
            self._said(Kind.HIDDEN, wire.numbers((number, int(on))))

    def open_head(self, path: Path | None, options: LoadOptions, layers: Sequence[int] = ()) -> IsolatedHead:
        """See `LlamaCppEngine.open_head`: the head lies in this model's process."""
        place = None if path is None else str(path)
        wish = {"path": place, "options": dataclasses.asdict(options), "layers": list(layers)}
        facts = wire.from_json(self._said(Kind.HEAD_OPEN, wire.to_json(wish)))
        return IsolatedHead(self, facts["number"], facts)

    def head(self, kind: Kind, body: bytes, lengths: list[int]) -> list[int]:
        """For a head: ask, and get the lengths of its slots. After an error they are as they were."""
        return wire.read_numbers(self._said(kind, body)) or lengths

    def head_rows(self, chunks: Sequence[Chunk], n_vocab: int, width: int) -> tuple[list[Hidden], list[Logits]]:
        """For a head: the hidden rows and the rows of logits of its last pass."""
        if self._rows is None:
            raise self._process.failure()
        wanted = [chunk.want for chunk in chunks]
        return cut_rows(self._hidden, wanted, width), cut_rows(self._rows.reshape(-1), wanted, n_vocab)

    def close_head(self, number: int) -> None:
        """For a head."""
        if self.died is None and self._rows is not None:
            self._said(Kind.HEAD_CLOSE, wire.numbers((number,)))

    def _said(self, kind: Kind, body: bytes) -> bytes:
        said = self._process.ask(kind, body)
        if said.kind is Kind.FAILED:
            raise wire.error_from_json(wire.from_json(said.body))
        return said.body

    def length(self, slot: int) -> int:
        if not self._lengths:
            raise self._process.failure()
        if not 0 <= slot < len(self._lengths):
            raise EngineError(f"There is no slot {slot}; the engine has {len(self._lengths)}.")
        return self._lengths[slot]

    def rewind(self, slot: int, length: int) -> None:
        have = self.length(slot)
        if length == have:
            return
        if self.rewind_limit.free and 0 <= length < have:  # nothing can be wrong with it
            self._rewinds += (slot, length)
            self._lengths[slot] = length
        else:
            self._ask(Kind.REWIND, wire.numbers((slot, length)))

    def copy(self, src: int, dst: int, length: int) -> None:
        self._ask(Kind.COPY, wire.numbers((src, dst, length)))

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        if self.rewind_limit.free or length >= self.length(slot):
            return min(self.length(slot), length)
        return self._ask(Kind.REACH, wire.numbers((slot, length, copy)))[0]

    def keep(self, slot: int) -> None:
        if not self.rewind_limit.free:
            self._ask(Kind.KEEP, wire.numbers((slot,)))

    def owed(self, slot: int) -> int:
        return self._owed[slot]

    def abort(self) -> None:
        self._process.abort()

    def close(self) -> None:
        self._process.close()
        self._lengths, self._rows = [], None

    def _ask(self, kind: Kind, body: bytes) -> list[int]:
        """Returns what was answered beside the lengths."""
        before = wire.numbers((len(self._rewinds) // 2, *self._rewinds))
        self._rewinds.clear()
        said = self._process.ask(kind, before + body)
        if said.kind is Kind.FAILED:
            failed = wire.from_json(said.body)
            self._note(failed["lengths"])
            raise wire.error_from_json(failed)
        return self._note(wire.read_numbers(said.body))

    def _note(self, numbers: list[int]) -> list[int]:
        n = self.info.n_slots
        self._lengths = numbers[:n]
        if self.rewind_limit.free:
            return numbers[n:]
        self._owed = numbers[n : 2 * n]
        return numbers[2 * n :]

    def _put_back(self, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            try:
                self._ask(Kind.REWIND, wire.numbers((chunk.slot, chunk.start)))
            except EngineError:  # a recurrent state cannot go back: an honest empty slot beats a wrong one
                with contextlib.suppress(EngineError):
                    self._ask(Kind.REWIND, wire.numbers((chunk.slot, 0)))


def cut_rows(numbers: Numbers, counts: Sequence[int], columns: int) -> list[Numbers]:
    """The first numbers as arrays of so many rows each."""
    cuts, first = [], 0
    for count in counts:
        cuts.append(numbers[first : first + count * columns].reshape(count, columns))
        first += count * columns
    return cuts
