"""GGUF models through llama.cpp, by its C functions: several sequences in one pass, logits without copies."""

from __future__ import annotations

import ctypes
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foredraft.core.errors import CacheFullError, Cancelled, ClosedError, EngineError, ModelError, RewindError
from foredraft.core.reasons import Reason
from foredraft.engines.base import BLOCK, Chunk, Hidden, Logits, ModelInfo, Numerics
from foredraft.engines.llamacpp.amx import tiles_work
from foredraft.engines.llamacpp.batch import Batch
from foredraft.engines.llamacpp.cells import Cells
from foredraft.engines.llamacpp.eagle import LlamaCppEagle
from foredraft.engines.llamacpp.failures import reason
from foredraft.engines.llamacpp.head import Head, LlamaCppHead
from foredraft.engines.llamacpp.hidden import HiddenRows
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import (
    attends_one_way,
    describe,
    open_context,
    open_model,
    refuse_what_cannot_write,
    spares,
)
from foredraft.engines.llamacpp.memory import MemoryUse
from foredraft.engines.llamacpp.options import DEFAULT_CONTEXT, LoadOptions
from foredraft.engines.llamacpp.recurrent import Sequences, goes_back, has_states, way_back
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.engines.probe import ALL_SIZES, SIZES, probe
from foredraft.engines.processor import cores
from foredraft.engines.rewind import FREE, NONE, Rewind
from foredraft.engines.states import States, Step, gather


class LlamaCppEngine:
    """One loaded GGUF model; `Engine` is its contract."""

    def __init__(
        self,
        path: str | Path,
        options: LoadOptions | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model. `progress` is called with the share read so far, 0 to 1; what it raises ends the load.

        Raises a `ModelError`: not found, not GGUF or damaged, a kind that cannot write text, too little memory.
        """
        self.options = options = options or LoadOptions()
        self.notes: list[Reason] = []
        """What the load decided on its own, in words for the user."""
        self.numerics: Numerics | None = None
        self.exact_rows: int | None = None
        self.exact_grain = BLOCK
        self._model: Any = None
        self._ctx: Any = None
        self._closed = False
        self._lengths: list[int] = []
        self.attached: list[Head] = []
        """Heads that read this context's hidden rows, or look into its memory: they are closed before it."""
        self._api = api = library().api
        path = Path(path)
        try:
            with library().record() as lines:
                self._model = open_model(path, options, progress=progress)
                if not tiles_work():
                    self.notes.append(Reason("tiles_unused"))
                refuse_what_cannot_write(path, self._model)
                self.tokenizer = LlamaTokenizer(api.llama_model_get_vocab(self._model), path=str(path))
                self.info: ModelInfo = describe(path, self._model, options, self._context_length())
            self._weights = lines
            self._open_context()
            self._try_rewind()
            if options.probe:
                self.probe()
        except BaseException:
            self.close()
            raise

    def _open_context(self) -> None:
        """KV cache and scratch memory for the loaded model, as `options` say, and the books about them."""
        api, options = self._api, self.options
        with library().record() as lines:
            self._ctx = open_context(Path(self.info.path), self._model, self.info, options)
        if options.snapshots and has_states(api, self._model) and not api.llama_n_rs_seq(self._ctx):
            # the architecture does not keep them: then the other way is prepared
            api.llama_free(self._ctx)
            self._ctx = None
            self.options = options = dataclasses.replace(options, snapshots=0)
            self._open_context()
            return
        self._context_lines = lines
        self._hidden = HiddenRows(self._ctx, self._model)
        self.readers: list[HiddenRows] = [self._hidden]
        """Who takes what passes leave."""
        self._spare = options.n_slots if spares(self._model, options) and not has_states(api, self._model) else None
        spare = self._spare if options.ordered else None
        one_way = attends_one_way(lines, flash_attention=options.flash_attention)
        # A GPU's sums depend on more than the order of the cells.
        self.keeps_order = spare is not None and one_way and not self.on_gpu
        self.cells = Cells(api, self._ctx, api.llama_get_memory(self._ctx), self.info.n_ctx, spare)
        self._lengths = [0] * options.n_slots
        self._states: States | None = None
        if has_states(api, self._model):
            forks = spares(self._model, options)
            self._keep_books(way_back(api, self._ctx, forks), forks=bool(forks))
        self._batch = Batch(api, self.info.n_batch, self.info.n_ctx)
        self._max_rows = self.info.max_rows or self.info.n_batch
        self._view: Logits = np.empty((0, self.info.n_vocab), dtype=np.float32)
        self._view_address = 0
        self._abort_lock = threading.Lock()
        self._running = False
        self._abort_flag = np.zeros(2, dtype=np.uint8)  # a C string: empty, or of one byte
        self._flag_reader = library().flag_reader()
        api.llama_set_abort_callback(self._ctx, self._flag_reader, self._abort_flag.ctypes.data)

    def _keep_books(self, way: Rewind, *, forks: bool) -> None:
        n_slots = self.options.n_slots
        memory = Sequences(self._api, self._ctx, n_slots, spares=forks)
        step, checkpoints = min(self.options.n_ubatch, self.info.n_batch), self.options.checkpoints
        self._states = States(memory, way, n_slots, step=step, checkpoints=checkpoints, name=self.info.name)

    @property
    def rewind_limit(self) -> Rewind:
        """See `Engine.rewind_limit`."""
        return FREE if self._states is None else self._states.way

    def reopen(self, options: LoadOptions) -> None:
        """Another context for the same weights (other KV types, say): every slot is empty then. The options of the
        weights themselves must be those of the load. Raises a `ModelError`, with the old context back in place, when
        the library refuses the new one."""
        before = self.options
        for name in ("repack", "gpu_layers", "device", "use_mmap", "use_mlock"):
            if getattr(options, name) != getattr(before, name):
                raise EngineError(f"{name} cannot change without loading the weights again.")
        self._api.llama_free(self._ctx)
        self._ctx = None
        self.numerics, self.exact_rows, self.exact_grain = None, None, BLOCK
        self.options = options
        old = self.info
        info = describe(Path(old.path), self._model, options, self._context_length())
        self.info = dataclasses.replace(info, quantisation=old.quantisation)
        try:
            self._open_context()
        except ModelError:
            self.options, self.info = before, old
            self._open_context()
            raise
        finally:
            self.notes = list(dict.fromkeys(self.notes))

    @property
    def memory(self) -> MemoryUse:
        """What the load holds, as the library reported it."""
        return MemoryUse.from_log([*self._weights, *self._context_lines], self.info.size_bytes)

    @property
    def model(self) -> Any:
        """The library's handle, for heads."""
        return self._model

    @property
    def context(self) -> Any:
        """The library's handle, for heads."""
        return self._ctx

    @property
    def hidden_width(self) -> int:
        """Numbers of a hidden row; 0 where this build of the library offers none."""
        return self._hidden.width

    @property
    def hidden(self) -> list[Hidden]:
        """See `OffersHidden`."""
        return self._hidden.rows()

    def offer_hidden(self, on: bool) -> None:
        """See `OffersHidden`."""
        self._hidden.offer(on)

    def open_head(self, path: Path | None, options: LoadOptions, layers: Sequence[int] = ()) -> LlamaCppHead:
        """A head that reads this model's hidden rows: the one inside its file, or another file (`LlamaCppHead`); with
        `layers`, one that reads what goes into those (`LlamaCppEagle`)."""
        if path is not None and layers:
            return LlamaCppEagle(self, path, options, layers)
        return LlamaCppHead(self, path, options)

    def probe(self, known: Numerics | None = None, *, exact: bool = False, whole: bool = False) -> Numerics:
        """Measure how passes round on this machine, beyond what is `known`; the result stays in `numerics`. See
        `engines.probe.probe`."""
        threads = self.options.n_threads or cores()
        found = probe(
            self,
            sizes=ALL_SIZES if exact else SIZES,
            whole=whole or exact,
            exact=exact,
            # on a busy machine processor time says what work costs; a GPU's work does not show in it
            clock=time.perf_counter if self.on_gpu else time.process_time,
            swell=None if self._spare is None else self.swell,
            threads=(threads, self._set_threads),
            known=known,
        )
        self.numerics = dataclasses.replace(found, ordered=self.keeps_order)
        return self.numerics

    def _set_threads(self, threads: int) -> None:
        self._api.llama_set_n_threads(self._ctx, threads, threads)

    @property
    def on_gpu(self) -> bool:
        """Whether any layer may run on a GPU."""
        return bool(self._api.llama_supports_gpu_offload() and self.options.gpu_layers)

    @property
    def can_swell(self) -> bool:
        """Whether `swell` is possible: it needs a sequence to copy by."""
        return self._spare is not None

    def swell(self, slot: int, cells: int) -> int:
        """For the probe: let a slot weigh in a pass what a text of about `cells` tokens does, without reading one.

        The slot keeps its length; forget it (`rewind` to 0) before it is used for a text. Returns the tokens it weighs.
        """
        assert self._spare is not None, "a sequence is needed to copy by"
        return self.cells.swell(slot, self._lengths[self._checked(slot)], cells, self._spare)

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """See `Engine.forward`. The rows are read-only views of the library's own buffer."""
        if not chunks:
            return []
        for reader in self.readers:
            reader.begin(chunks)
        n = n_rows = 0
        cuts = []
        for chunk in chunks:
            self._check(chunk, n)
            n += len(chunk.tokens)
            cuts.append((n_rows, n_rows + chunk.want))
            n_rows += chunk.want
        if n_rows > self._max_rows:
            raise EngineError(f"{n_rows} rows of logits are wanted, but the engine was loaded for {self._max_rows}.")
        if len(cuts) > 1 and len({chunk.slot for chunk in chunks}) < len(cuts):
            raise EngineError("Two chunks for one slot in one pass.")
        rows = self._pass(chunks, n_rows) if self._states is None else self._pass_with_states(chunks, n_rows)
        for chunk in chunks:
            self._lengths[chunk.slot] += len(chunk.tokens)
        return [rows[first:last] for first, last in cuts]

    def _pass(self, chunks: Sequence[Chunk], n_rows: int, pads: Sequence[int] | None = None) -> Logits:
        """One `llama_decode`, and the rows it gave. After an error every slot is as it was."""
        n, batch = 0, self._batch
        try:
            for i, chunk in enumerate(chunks):
                n = batch.put(n, chunk, pads[i] if pads else 0)
            lowest, highest = batch.range(n)
        except OverflowError:
            lowest, highest = -1, -1
        if lowest < 0 or highest >= self.info.n_vocab:
            raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.")

        batch.struct.n_tokens = n
        if self.cells.crowded:
            self._pack()
        code = -1
        try:
            with self._abort_lock:
                self._abort_flag[0] = 0
                self._running = True
            code = self._api.llama_decode(self._ctx, batch.struct)
            if code == 1 and self._pack():
                code = self._api.llama_decode(self._ctx, batch.struct)
            with self._abort_lock:
                self._running = False
            if code:
                raise self._failure(code, n)
            rows = self._rows(n_rows)
        except BaseException:  # Ctrl-C lands here too, when it came during the pass
            self._put_back(chunks, begun=code != 1)
            raise
        for chunk in chunks:
            self.cells.put(chunk.slot, chunk.start, len(chunk.tokens))
        for reader in self.readers:
            reader.passed(chunks, pads or ())
        return rows

    def _pass_with_states(self, chunks: Sequence[Chunk], n_rows: int) -> Logits:
        """The same, with what the slots owe read before."""
        states = self._states
        assert states is not None, "asked for where there are any"
        for piece in states.overdue(chunks, self.info.n_batch):
            self._pass([piece], 0)
            states.done(Step([piece], [0]))
        steps = states.begin(chunks)
        whole = None if len(steps) == 1 else np.empty((n_rows, self.info.n_vocab), dtype=np.float32)
        for step in steps:
            rows = self._pass(step.chunks, sum(chunk.want for chunk in step.chunks), step.pads)
            states.done(step)
            if whole is not None:  # the next step overwrites the rows of this one
                gather(chunks, step.chunks, rows, whole)
        return rows if whole is None else whole

    def length(self, slot: int) -> int:
        return self._lengths[self._checked(slot)]

    def rewind(self, slot: int, length: int) -> None:
        now = self._lengths[self._checked(slot)]
        if length == now:
            return
        if not 0 <= length < now:
            raise EngineError(f"Slot {slot} has read {now} tokens and cannot be rewound to {length}.")
        if self._states is not None:
            self._states.rewind(slot, length)
        elif not self.cells.cut(slot, length):
            raise EngineError(f"{self.info.name} cannot take back the last {now - length} tokens of slot {slot}.")
        self._lengths[slot] = length

    def copy(self, src: int, dst: int, length: int) -> None:
        have = self._lengths[self._checked(src)]
        self._checked(dst)
        if not 0 <= length <= have:
            raise EngineError(f"Slot {src} has read {have} tokens; {length} cannot be copied.")
        if src == dst:
            self.rewind(src, length)
            return
        if self._states is not None:
            self._states.copy(src, dst, length)
            self._lengths[dst] = length
            return
        self.rewind(dst, 0)
        if length:
            self.cells.share(src, dst, length)
            if self._api.llama_memory_seq_pos_max(self._api.llama_get_memory(self._ctx), dst) != length - 1:
                self.cells.cut(dst, 0)
                raise EngineError(f"{self.info.name} could not copy {length} tokens from slot {src} to slot {dst}.")
            self._lengths[dst] = length

    def reachable(self, slot: int, length: int, *, copy: bool = False) -> int:
        have = self._lengths[self._checked(slot)]
        return min(have, length) if self._states is None else self._states.reachable(slot, length, copy=copy)

    def keep(self, slot: int) -> None:
        if self._states is not None:
            self._states.keep(self._checked(slot))

    def owed(self, slot: int) -> int:
        return 0 if self._states is None else self._states.owed(self._checked(slot))

    def abort(self) -> None:
        """See `Engine.abort`. On a CPU a pass ends within one node of the graph; on a GPU it may run to its end, and so
        it does beside recurrent states of other texts, which a broken pass would spoil."""
        with self._abort_lock:
            if self._running and (self._states is None or self._states.used <= 1):
                self._abort_flag[0] = 1

    def close(self) -> None:
        self._closed = True
        if hasattr(self, "tokenizer"):  # of a load that failed early there is none
            self.tokenizer.close()
        for head in list(self.attached):
            head.close()
        if self._ctx:
            self._api.llama_free(self._ctx)
        if self._model:
            self._api.llama_model_free(self._model)
        self._ctx = self._model = None
        self._lengths = []

    def _rows(self, count: int) -> Logits:
        """The first `count` rows of the library's buffer, where the wanted rows lie in the order of the batch."""
        if count == 0:
            self._api.llama_synchronize(self._ctx)  # so that errors and time show in the pass that caused them
            return self._view[:0]
        address = ctypes.addressof(self._api.llama_get_logits(self._ctx).contents)
        if address != self._view_address or count > len(self._view):  # the buffer grew, and may have moved
            n_vocab = self.info.n_vocab
            buffer = memoryview((ctypes.c_float * (count * n_vocab)).from_address(address))
            view = np.frombuffer(buffer, dtype=np.float32).reshape(count, n_vocab)
            view.flags.writeable = False
            self._view, self._view_address = view, address
        return self._view[:count]

    def _pack(self) -> bool:
        try:
            return self.cells.pack()
        except EngineError:
            self._lengths = [0] * len(self._lengths)
            raise

    def _put_back(self, chunks: Sequence[Chunk], *, begun: bool) -> None:
        """After a failed pass: take out what its first parts have read, which the library leaves in. `begun`: it was
        not refused as a whole."""
        self._running = False
        if self._states is not None:
            self._states.failed(self._lengths, begun=begun)
            return
        for chunk in chunks:
            self.cells.undo(chunk.slot, chunk.start)

    def _failure(self, code: int, n: int) -> CacheFullError | Cancelled | EngineError:
        if code == 1:
            return CacheFullError(
                Reason("cache_full", {"n": n, "context": self.info.n_ctx}), hint=Reason("hint_cache_full")
            )
        if code == 2:
            return Cancelled()
        why = reason(list(library().recent)[-3:])
        return EngineError(f"{self.info.name} could not compute {n} tokens (code {code}). {why}".rstrip())

    def _check(self, chunk: Chunk, before: int) -> None:
        """Refuse what the library would not survive, or would misunderstand."""
        slot, start, size = chunk.slot, chunk.start, len(chunk.tokens)
        have = self._lengths[self._checked(slot)]
        if start != have:
            raise EngineError(f"A chunk for slot {slot} starts at {start}, but {have} tokens were read.")
        most = self.rewind_limit.limit if self._states is not None else None
        if most is not None and chunk.guesses > most:
            raise RewindError(f"{self.info.name} can take back {most} tokens of a pass, not {chunk.guesses}.")
        if not 0 <= chunk.want <= size or size == 0:
            raise EngineError(f"{chunk.want} rows of logits are wanted of a chunk of {size} tokens.")
        if before + size > self.info.n_batch:
            raise EngineError(f"A pass of {before + size} tokens is more than the {self.info.n_batch} allowed.")
        if start + size > self.info.n_ctx:
            raise CacheFullError(
                Reason("slot_full", {"slot": slot, "n": start + size, "context": self.info.n_ctx}),
                hint=Reason("hint_larger_context"),
            )

    def _checked(self, slot: int) -> int:
        if self._closed:
            raise ClosedError(self.info.name)
        if not 0 <= slot < len(self._lengths):
            raise EngineError(f"There is no slot {slot}; the engine has {len(self._lengths)}.")
        return slot

    def _context_length(self) -> int:
        trained: int = self._api.llama_model_n_ctx_train(self._model)
        asked = self.options.n_ctx
        if asked and 0 < trained < asked:
            self.notes.append(Reason("context_beyond", {"trained": trained, "n": asked}))
        if not asked and trained > DEFAULT_CONTEXT:
            self.notes.append(Reason("context_default", {"n": DEFAULT_CONTEXT, "trained": trained}))
        return asked or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)

    def _try_rewind(self) -> None:
        """Warm the model up, and see whether it goes back as its context was opened for; if not, take the next way."""
        if self._states is None:
            token = self.tokenizer.bos or 0
            self.forward([Chunk(0, 0, [token])])
            self.forward([Chunk(0, 1, [token])])
            possible = self.cells.cut(0, 1)
            self.rewind(0, 0)
            if not possible:
                self._keep_books(NONE, forks=False)
            return
        while self.rewind_limit.possible and not goes_back(self):
            way, architecture = self.rewind_limit.way, self.info.architecture
            self.notes.append(Reason("recurrent_wrong", {"way": Reason(f"rewind_{way}"), "architecture": architecture}))
            if way == "rollback":
                self.reopen(dataclasses.replace(self.options, snapshots=0))
            else:
                self._keep_books(NONE, forks=True)
