"""A draft that reads a main model's hidden rows: a head inside its file, in a file of its own, or Gemma 4's assistant.

It is a context of its own beside the main model's (llama.cpp's `LLAMA_CONTEXT_TYPE_MTP`), which reads pairs: a token,
and the hidden row that the main model, or the head itself, had before it. What the head makes of a pair is a row of
logits and a hidden row to go on from. Recipe: llama.cpp's `common/speculative.cpp` (draft-mtp).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foredraft.core.errors import CacheFullError, Cancelled, EngineError, IncompatibleDraftError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Numbers, Reason
from foredraft.engines.base import BLOCK, Chunk, Hidden, Logits, ModelInfo, Numerics, OffersHidden, Tokenizer
from foredraft.engines.llamacpp.batch import Batch
from foredraft.engines.llamacpp.extended import MTP, extended
from foredraft.engines.llamacpp.failures import reason
from foredraft.engines.llamacpp.hidden import HiddenRows, as_rows
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import context_params, describe, new_context, open_model
from foredraft.engines.llamacpp.memory import MemoryUse
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.rewind import FREE


class MainModel(OffersHidden, Protocol):
    """The main model as a head knows it: `LlamaCppEngine`. Pointers are the library's."""

    attached: list[Head]
    """Heads that are closed before it."""
    readers: list[HiddenRows]

    @property
    def info(self) -> ModelInfo: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def model(self) -> Any: ...
    @property
    def context(self) -> Any: ...
    @property
    def hidden_width(self) -> int: ...
    def length(self, slot: int) -> int: ...


class Head(Protocol):
    """What is attached to a main model."""

    def close(self) -> None: ...


class LlamaCppHead:
    """`Engine` is its contract, with hidden rows in its chunks (`Chunk.hidden`; zeros where there are none).

    Where it looks into the main model's memory (`shared`), it reads nothing of its own: every token stands at the
    position behind what the main model has read, and taking back is no work.
    """

    context_type = MTP

    def __init__(self, main: MainModel, path: Path | None, options: LoadOptions) -> None:
        """`path` None is the head inside the main model's file, which was loaded with `LoadOptions.heads`.

        Raises `IncompatibleDraftError` where the library offers no hidden rows or the widths differ, else a
        `ModelError`. Whether a file fits the main model is to be checked before (`models/heads.py`): the library
        itself would not survive every misfit.
        """
        self._more = extended()
        if self._more.reason:
            raise IncompatibleDraftError(Reason("head_unusable", {"why": self._more.reason}))
        self._api = api = library().api
        self._main = main
        self._own_model: Any = None
        self._ctx: Any = None
        self.options = options
        self.numerics: Numerics | None = None
        self.exact_rows: int | None = None
        self.exact_grain = BLOCK
        self.rewind_limit = FREE
        self.tokenizer = main.tokenizer
        self._lengths = [0] * options.n_slots
        try:
            with library().record() as lines:
                if path is not None:
                    self._own_model = open_model(path, replace(options, heads=True))
                model = self._own_model or main.model
                self.width = int(api.llama_model_n_embd_out(model))
                self._check_width()
                self.info: ModelInfo = self._describe(path, model)
                params = context_params(self.info, options, api.llama_context_default_params())
                params.ctx_type, params.ctx_other = self.context_type, main.context
                params.n_seq_max = options.n_slots
                params.n_outputs_max = self.info.max_rows or options.n_slots
                self._ctx = new_context(path or Path(main.info.path), model, params, options)
            self.memory_bytes = MemoryUse.from_log(lines, self.info.size_bytes).total
            """What it takes beside the main model."""
            self.shared = self._looks_into_main()
            self.source: OffersHidden = main
            """Whose rows it reads beside the tokens."""
            self._more.set_hidden(self._ctx, True, True)
        except BaseException:
            self.close()
            raise
        self._memory = api.llama_get_memory(self._ctx)
        self._batch = Batch(api, self.info.n_batch, self.info.n_ctx)
        self._rows = np.zeros((self.info.n_batch, self.width), dtype=np.float32)
        self._batch.set_rows(self._rows)
        self._cuts: list[tuple[int, int]] = []
        main.attached.append(self)

    def _check_width(self) -> None:
        if self.width != self._main.hidden_width:
            numbers: Numbers = {"what": Reason("what_width"), "a": self.width, "b": self._main.hidden_width}
            raise IncompatibleDraftError(Reason("head_misfit", numbers))

    def _looks_into_main(self) -> bool:
        return self._more.other_context(self._ctx) is not None

    def _describe(self, path: Path | None, model: Any) -> ModelInfo:
        main = self._main.info
        rows = max(self.options.n_slots, 2)
        if path is not None:
            return replace(describe(path, model, self.options, main.n_ctx), max_rows=rows)
        return replace(main, name=f"{main.name} (built in)", path=BUILTIN, size_bytes=0, n_params=0, max_rows=rows)

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """See `Engine.forward`.

        Tokens of which no row is wanted are read first, in a pass of their own: some architectures make hidden rows of
        all tokens, others of the wanted ones, and the library copies as many as are wanted from the top of either.
        """
        self._check(chunks)
        quiet, wanted = [], []
        for chunk in chunks:
            at = len(chunk.tokens) - chunk.want
            rows = chunk.hidden
            if at:
                before = None if rows is None else rows[:at]
                quiet.append(Chunk(chunk.slot, chunk.start, chunk.tokens[:at], hidden=before))
            if chunk.want:
                start = chunk.start if self.shared else chunk.start + at
                last = None if rows is None else rows[at:]
                wanted.append(Chunk(chunk.slot, start, chunk.tokens[at:], chunk.want, hidden=last))
        try:
            for part in (quiet, wanted):
                if part:
                    self._pass(part)
        except EngineError:
            for chunk in chunks:
                self._remove(chunk.slot, chunk.start)
            raise
        cuts, first = [], 0
        for chunk in chunks:
            cuts.append((first, first + chunk.want))
            first += chunk.want
            if not self.shared:
                self._lengths[chunk.slot] += len(chunk.tokens)
        self._cuts = cuts
        if not first:
            empty: Logits = np.empty((0, self.info.n_vocab), dtype=np.float32)
            return [empty for _ in chunks]
        logits = as_rows(self._api.llama_get_logits(self._ctx), first, self.info.n_vocab)
        return [logits[begin:end] for begin, end in cuts]

    def _pass(self, chunks: Sequence[Chunk]) -> None:
        n = 0
        for chunk in chunks:
            if self.shared:
                place = self._main.length(chunk.slot)
                chunk = Chunk(chunk.slot, place, chunk.tokens, chunk.want, hidden=chunk.hidden)
            end = self._batch.put(n, chunk, still=self.shared)
            self._rows[n:end] = 0.0 if chunk.hidden is None else chunk.hidden
            n = end
        lowest, highest = self._batch.range(n)
        if lowest < 0 or highest >= self.info.n_vocab:
            raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.")
        self._batch.struct.n_tokens = n
        code = self._api.llama_decode(self._ctx, self._batch.struct)
        if code:
            raise self._failure(code, n)
        self._api.llama_synchronize(self._ctx)

    @property
    def hidden(self) -> list[Hidden]:
        """The hidden rows of the last pass, one array a chunk: of the wanted tokens only, shape (want, width)."""
        count = self._cuts[-1][1] if self._cuts else 0
        if not count:
            return [np.empty((0, self.width), dtype=np.float32) for _ in self._cuts]
        rows = as_rows(self._more.get_hidden(self._ctx), count, self.width)
        return [rows[first:last] for first, last in self._cuts]

    def length(self, slot: int) -> int:
        return self._main.length(slot) if self.shared else self._lengths[self._checked(slot)]

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        """It goes back to any length, and copies any: its attention is all the memory it has."""
        return min(self.length(slot), length)

    def keep(self, slot: int) -> None:
        """Nothing need be kept to go back."""

    def owed(self, slot: int) -> int:
        """Nothing is ever owed."""
        return 0

    def rewind(self, slot: int, length: int) -> None:
        if self.shared:
            return
        now = self._lengths[self._checked(slot)]
        if not 0 <= length <= now:
            raise EngineError(f"Slot {slot} has read {now} tokens and cannot be rewound to {length}.")
        if length < now:
            self._remove(slot, length)
            self._lengths[slot] = length

    def copy(self, src: int, dst: int, length: int) -> None:
        if self.shared or src == dst:
            self.rewind(src, length)
            return
        if not 0 <= length <= self._lengths[self._checked(src)]:
            raise EngineError(f"Slot {src} has read {self._lengths[src]} tokens; {length} cannot be copied.")
        self.rewind(dst, 0)
        if length:
            self._api.llama_memory_seq_cp(self._memory, src, dst, 0, length)
            self._lengths[dst] = length

    def abort(self) -> None:
        """A pass of a head is a small part of one of the main model's: it comes to its end."""

    def close(self) -> None:
        if self._ctx:
            self._api.llama_free(self._ctx)
        if self._own_model:
            self._api.llama_model_free(self._own_model)
        self._ctx = self._own_model = None
        self._lengths = []
        if self in self._main.attached:
            self._main.attached.remove(self)

    def _remove(self, slot: int, length: int) -> None:
        if not self.shared:
            self._api.llama_memory_seq_rm(self._memory, slot, length, -1)

    def _checked(self, slot: int) -> int:
        if not 0 <= slot < len(self._lengths):
            raise EngineError(f"There is no slot {slot}; the head has {len(self._lengths)}.")
        return slot

    def _check(self, chunks: Sequence[Chunk]) -> None:
        """Refuse what the library would not survive, or would misunderstand."""
        n = n_rows = 0
        for chunk in chunks:
            slot, size, have = chunk.slot, len(chunk.tokens), self._lengths[self._checked(chunk.slot)]
            if not self.shared and chunk.start != have:
                raise EngineError(f"A chunk for slot {slot} starts at {chunk.start}, but {have} tokens were read.")
            if not 0 <= chunk.want <= size or size == 0:
                raise EngineError(f"{chunk.want} rows of logits are wanted of a chunk of {size} tokens.")
            if chunk.start + size > self.info.n_ctx:
                raise CacheFullError(f"Slot {slot} would hold more than the context of {self.info.n_ctx} tokens.")
            if chunk.hidden is not None and chunk.hidden.shape != (size, self.width):
                raise EngineError(
                    f"Hidden rows of shape {chunk.hidden.shape} for {size} tokens of {self.width} numbers."
                )
            n, n_rows = n + size, n_rows + chunk.want
        if n > self.info.n_batch:
            raise EngineError(f"A pass of {n} tokens is more than the {self.info.n_batch} allowed.")
        if n_rows > (self.info.max_rows or n_rows):
            raise EngineError(f"{n_rows} rows of logits are wanted, but the head was loaded for {self.info.max_rows}.")

    def _failure(self, code: int, n: int) -> CacheFullError | Cancelled | EngineError:
        if code == 1:
            return CacheFullError(f"No room for {n} more tokens in the head's context of {self.info.n_ctx}.")
        if code == 2:
            return Cancelled()
        why = reason(list(library().recent)[-3:])
        return EngineError(f"{self.info.name} could not compute {n} tokens (code {code}). {why}".rstrip())
