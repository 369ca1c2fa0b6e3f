"""Guesses from a head that reads the main model's hidden rows: MTP heads, Gemma 4's assistant.

Such a head reads pairs: the token at position p, and the hidden row the main model had before it, at p - 1. So it lives
on what the main model's passes leave (`target_read`): the rows of the tokens of a prompt, and of a round. It guesses
like any draft: its rows are full logits, so `match` draws with the target's own noise, the other rules draw from its
law, and it stops where the look-ahead says so. From its own guess it goes on with its own hidden row; what it read that
way is taken back when the round is over, and read again with the main model's rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from foredraft.core.errors import CacheFullError, EngineError
from foredraft.engines.base import Chunk, Engine, Hidden, OffersHidden
from foredraft.speculative.drafters.model import ModelDrafter
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

KEPT = 512
"""Most hidden rows kept of a slot that nobody has read yet. Older ones go: the head then leaves those tokens out."""


class _Rows:
    """Hidden rows of one slot: of the text's positions from `first` on, before `end`."""

    __slots__ = ("_begin", "_room", "end", "first")

    def __init__(self, first: int, width: int) -> None:
        self.first = self.end = first
        self._begin = 0
        self._room = np.empty((16, width), dtype=np.float32)

    def add(self, rows: Hidden) -> None:
        """Those of the next positions."""
        rows = rows[-KEPT:]
        kept = min(self.end - self.first, KEPT - len(rows))
        if self._begin + self.end - self.first + len(rows) > len(self._room):
            old = self.between(self.end - kept, self.end)
            room = max(16, 2 * (kept + len(rows)))
            self._room = np.empty((room, rows.shape[1]), dtype=np.float32)
            self._room[:kept] = old
            self.first, self._begin = self.end - kept, 0
        at = self._begin + self.end - self.first
        self._room[at : at + len(rows)] = rows
        self.end += len(rows)

    def cut(self, end: int) -> None:
        """Forget the rows from position `end` on."""
        self.end = max(self.first, min(self.end, end))

    def drop(self, first: int) -> None:
        """Forget the rows before position `first`."""
        first = max(self.first, min(self.end, first))
        self._begin += first - self.first
        self.first = first

    def between(self, first: int, last: int) -> Hidden:
        return self._room[self._begin + first - self.first : self._begin + last - self.first]


class HeadDrafter(ModelDrafter):
    """The head of one main model, which stays the owner's. Slot numbers are the main model's."""

    def __init__(
        self,
        engine: Engine,
        target: OffersHidden,
        n_vocab: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`engine` is the head, which offers hidden rows, too. `target` offers them from now on."""
        super().__init__(engine, n_vocab, clock)
        self._target = target
        self._shared = bool(getattr(engine, "shared", False))
        """Whether the head looks into the main model's memory, and reads nothing of its own."""
        self._at: dict[int, list[int]] = {}
        """By slot, the text's positions of the tokens in `_read` that were read with the main model's own rows. Those
        behind them were read with the head's, and are taken back."""
        self._coming: dict[int, range] = {}
        """By slot, the positions that the coming pass reads with the main model's rows."""
        self._rows: dict[int, _Rows] = {}
        self._own: dict[int, Hidden] = {}  # slot -> the head's row after what it read last
        target.offer_hidden(True)

    def target_read(self, chunks: Sequence[Chunk]) -> None:
        if self.failure is not None:
            return
        try:
            found = self._target.hidden
        except EngineError as error:  # the answers go on without
            self._give_up(error)
            return
        for chunk, new in zip(chunks, found, strict=False):
            rows = self._rows.get(chunk.slot)
            if rows is None or not rows.first <= chunk.start <= rows.end:
                rows = self._rows[chunk.slot] = _Rows(chunk.start - (chunk.start == 0), new.shape[1])
                if chunk.start == 0:  # before the first token of a text there is no row: zeros, as in training
                    rows.add(np.zeros((1, new.shape[1]), dtype=np.float32))
            rows.cut(chunk.start)
            rows.add(new)

    def prefill(self, chunks: Sequence[Chunk]) -> None:
        """Read along with the target, as far as its rows are here."""
        if self.failure is not None or self._shared:
            return
        try:
            for chunk in chunks:
                self._settle(chunk.slot)
                self._same(chunk.slot, chunk.tokens)
                self._read_pairs(chunk.slot, chunk.tokens, len(chunk.tokens))
        except CacheFullError:
            self._make_room()
        except EngineError as error:
            self._give_up(error)

    def observe(self, record: Round) -> None:
        """Take back what was read with the head's own rows, and the rows of guesses that did not stand."""
        try:
            for sequence, x, verdict in zip(record.sequences, record.proposals, record.verdicts, strict=True):
                if x.dists and verdict.law is not None:
                    self.temperature.learn(sequence.sampler.params.temperature, verdict.law, x.dists[0])
                self._settle(sequence.slot)
                if sequence.slot in self._rows:
                    self._rows[sequence.slot].cut(sequence.n_read)
        except EngineError as error:
            self._give_up(error)

    def forget(self, slot: int) -> None:
        """What was read stays, for a text that begins alike. The rows go: the slot may be filled by a copy next."""
        super().forget(slot)
        self._rows.pop(slot, None)

    def close(self) -> None:
        self._target.offer_hidden(False)
        super().close()

    def _fits(self, sequence: RunningSequence, limit: int) -> bool:
        """Only where the row before the last token is here: behind a prefix that was taken over it is not yet."""
        rows, last = self._rows.get(sequence.slot), len(sequence.tokens) - 1
        return super()._fits(sequence, limit) and rows is not None and rows.first < last == rows.end

    def _catch_up(self, sequence: RunningSequence, x: Proposal) -> Chunk:
        slot, tokens = sequence.slot, sequence.tokens
        last = len(tokens) - 1
        if self._shared:
            return Chunk(slot, last, self._readable(tokens[last:]), want=1, hidden=self._pairs(slot, last, last + 1))
        self._settle(slot)
        if self._owner.get(slot) is not sequence:
            self._owner[slot] = sequence
            self._same(slot, tokens)
        if self._at.get(slot) and self._at[slot][-1] == last:  # guessed from before, in a round that came to nothing
            self._keep(slot, len(self._at[slot]) - 1)
        batch = max(1, self.engine.info.n_batch // self.engine.info.n_slots)
        start = self._next_position(slot)
        if self.window is not None:
            start = max(start, last - self.window)
        x.behind = last + 1 - start
        start = self._read_pairs(slot, tokens, last + 1 - min(batch, last + 1 - start), start)
        self._coming[slot] = range(start, last + 1)
        return Chunk(
            slot,
            len(self._read[slot]),
            self._readable(tokens[start:]),
            want=1,
            hidden=self._pairs(slot, start, last + 1),
        )

    def _after(self, sequence: RunningSequence, token: int) -> Chunk:
        slot = sequence.slot
        place = len(sequence.tokens) - 1 if self._shared else len(self._read[slot])
        return Chunk(slot, place, self._readable((token,)), want=1, hidden=self._own[slot])

    def _passed(self, chunks: Sequence[Chunk]) -> None:
        if not self._shared:
            super()._passed(chunks)
            for chunk in chunks:
                coming = self._coming.pop(chunk.slot, range(0))
                self._at[chunk.slot] += coming
                if coming:
                    self._rows[chunk.slot].drop(coming[-1] - 1)  # after a pass that failed it is read again
        for chunk, rows in zip(chunks, getattr(self.engine, "hidden", ()), strict=False):
            if len(rows):
                self._own[chunk.slot] = np.array(rows[-1:])

    def _next_position(self, slot: int) -> int:
        """The next position to read: behind what was read, and with a row before it."""
        at, rows = self._at.setdefault(slot, []), self._rows[slot]
        return max(at[-1] + 1 if at else 0, rows.first + 1)

    def _read_pairs(self, slot: int, tokens: Sequence[int], end: int, start: int | None = None) -> int:
        """Read the text up to position `end`, as far as there are rows; returns the position behind what was read."""
        rows = self._rows.get(slot)
        if rows is None:
            return end
        start = self._next_position(slot) if start is None else start
        end = min(end, rows.end + 1)
        read = self._read.setdefault(slot, [])
        batch = min(self.engine.info.n_batch, KEPT)
        while start < end and len(read) < self.engine.info.n_ctx - 1:
            stop = min(end, start + batch, start + self.engine.info.n_ctx - 1 - len(read))
            piece = self._readable(tokens[start:stop])
            self.engine.forward([Chunk(slot, len(read), piece, hidden=self._pairs(slot, start, stop))])
            read += tokens[start:stop]
            self._at[slot] += range(start, stop)
            rows.drop(stop - 1)
            start = stop
        return start

    def _pairs(self, slot: int, start: int, end: int) -> Hidden:
        """The rows that belong to the tokens from `start` to `end`: those before each."""
        return self._rows[slot].between(start - 1, end - 1)

    def _same(self, slot: int, tokens: Sequence[int]) -> None:
        """Keep of what was read what this text says, too."""
        read, at = self._read.setdefault(slot, []), self._at.setdefault(slot, [])
        n = len(tokens)
        self._keep(slot, next((i for i, place in enumerate(at) if place >= n or tokens[place] != read[i]), len(at)))

    def _settle(self, slot: int) -> None:
        """Forget what was read with the head's own rows."""
        if slot in self._read:
            self._keep(slot, len(self._at.get(slot, ())))

    def _keep(self, slot: int, length: int) -> None:
        super()._keep(slot, length)
        self._coming.pop(slot, None)
        del self._at.setdefault(slot, [])[length:]

    def _give_up(self, error: EngineError) -> None:
        super()._give_up(error)
        for books in (self._at, self._coming, self._rows):
            books.clear()
