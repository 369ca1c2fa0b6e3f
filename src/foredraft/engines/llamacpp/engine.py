"""GGUF models through llama.cpp, by its C functions: several sequences in one pass, logits without copies."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from foredraft.core.errors import CacheFullError, Cancelled, EngineError, UnsupportedModelError
from foredraft.engines.base import Chunk, Logits, ModelInfo, Numerics
from foredraft.engines.llamacpp.library import library, reason
from foredraft.engines.llamacpp.loading import load_error, memory_error, open_model
from foredraft.engines.llamacpp.options import DEFAULT_CONTEXT, KV_TYPES, LoadOptions
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.engines.probe import probe


class LlamaCppEngine:
    """One loaded GGUF model. See `Engine` for the contract.

    `notes` says in words what the load decided on its own (a context cut short …), for the caller to show.
    """

    def __init__(
        self,
        path: str | Path,
        options: LoadOptions | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model. `progress` is called with the share read so far, 0 to 1; what it raises ends the load.

        Raises the errors of `open_model`, and `UnsupportedModelError` for models that cannot write text.
        """
        self.options = options = options or LoadOptions()
        self.notes: list[str] = []
        self.numerics: Numerics | None = None
        self._model: Any = None
        self._ctx: Any = None
        self._api = library().api
        path = Path(path)
        try:
            self._model = open_model(path, options, progress=progress)
            self._refuse_what_cannot_write(path)
            self.tokenizer = LlamaTokenizer(self._api.llama_model_get_vocab(self._model), path=str(path))
            self._open_context(path)
            self._info = self._describe(path)
            self._rewind_limit = self._try_rewind()
            if options.probe:
                self.probe()
        except BaseException:
            self.close()
            raise

    # ---- what it is ----

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def rewind_limit(self) -> int | None:
        return self._rewind_limit

    def probe(self) -> Numerics:
        """Measure how batches round on this machine, and keep the result as `numerics`."""
        self.numerics = probe(self)
        return self.numerics

    # ---- reading ----

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """See `Engine.forward`. The rows lie in the library's own memory and are read-only."""
        n = n_rows = 0
        cuts: list[tuple[int, int]] = []
        for chunk in chunks:
            size, want, slot, start = len(chunk.tokens), chunk.want, chunk.slot, chunk.start
            end = n + size
            if not (
                0 <= slot < len(self._lengths)
                and start == self._lengths[slot]
                and 0 <= want <= size
                and size > 0
                and end <= self._n_batch
                and start + size <= self._n_ctx
            ):
                raise self._refusal(chunk, end)
            try:
                self._token[n:end] = chunk.tokens
            except OverflowError:
                raise self._refusal(chunk, end) from None
            self._pos[n:end] = self._positions[start : start + size]
            self._seq[n:end] = slot
            self._out[n:end] = 0
            if want:
                self._out[end - want : end] = 1
            cuts.append((n_rows, n_rows + want))
            n, n_rows = end, n_rows + want
        if n == 0:
            return []
        # negative ids become huge ones in the unsigned view, so one comparison finds both
        if self._token_unsigned[:n].max() >= self._n_vocab:
            raise EngineError(f"A token id is outside the vocabulary of {self._n_vocab} tokens.")
        if n_rows > self._max_rows:
            raise EngineError(f"{n_rows} rows of logits are wanted, but the engine was loaded for {self._max_rows}.")
        if len(chunks) > 1 and len({chunk.slot for chunk in chunks}) < len(chunks):
            raise EngineError("Two chunks for one slot in one pass.")

        self._batch.n_tokens = n
        with self._abort_lock:
            self._abort_flag[0] = 0
            self._running = True
        code = self._decode(self._ctx, self._batch)
        with self._abort_lock:
            self._running = False
        if code:
            self._put_back(chunks)
            raise self._failure(code, n)

        lengths = self._lengths
        for chunk in chunks:
            lengths[chunk.slot] += len(chunk.tokens)
        if n_rows == 0:
            self._api.llama_synchronize(self._ctx)  # so that the time is spent, and errors show, in this call
        rows = self._rows(n_rows)
        return [rows[first:last] for first, last in cuts]

    def length(self, slot: int) -> int:
        return self._lengths[self._checked(slot)]

    def rewind(self, slot: int, length: int) -> None:
        now = self._lengths[self._checked(slot)]
        if length == now:
            return
        if not 0 <= length < now:
            raise EngineError(f"Slot {slot} has read {now} tokens and cannot be rewound to {length}.")
        # a whole sequence can always be removed, whatever the kind of model
        if not self._remove(self._memory, slot, length or -1, -1):
            raise EngineError(f"{self._info.name} cannot take back the last {now - length} tokens of slot {slot}.")
        self._lengths[slot] = length

    def copy(self, src: int, dst: int, length: int) -> None:
        have = self._lengths[self._checked(src)]
        self._checked(dst)
        if not 0 <= length <= have:
            raise EngineError(f"Slot {src} has read {have} tokens, {length} cannot be copied.")
        if src == dst:
            return self.rewind(src, length)
        if self._rewind_limit == 0 and 0 < length < have:
            raise EngineError(f"{self._info.name} can copy a whole slot only ({have} tokens, not {length}).")
        self.rewind(dst, 0)
        if length:
            self._api.llama_memory_seq_cp(self._memory, src, dst, 0, length)
            if self._api.llama_memory_seq_pos_max(self._memory, dst) != length - 1:
                self._remove(self._memory, dst, -1, -1)
                raise EngineError(f"{self._info.name} could not copy {length} tokens from slot {src} to slot {dst}.")
            self._lengths[dst] = length
        return None

    def abort(self) -> None:
        """End the `forward` that is running now, from any thread. Between two passes it does nothing.

        So an abort can never hit a pass that began after it: whoever cancels a request marks it as cancelled first,
        then calls this, and looks at the mark before starting the next pass. (On a GPU a pass runs to its end.)
        """
        with self._abort_lock:
            if self._running:
                self._abort_flag[0] = 1

    def close(self) -> None:
        if self._ctx:
            self._api.llama_free(self._ctx)
        if self._model:
            self._api.llama_model_free(self._model)
        self._ctx = self._model = None
        self._lengths = []  # every later call is refused as naming no slot

    # ---- inside ----

    def _rows(self, count: int) -> Logits:
        """The first `count` rows of the library's buffer: it keeps wanted rows together, in the batch's order."""
        if count == 0:
            return self._view[:0]
        address = ctypes.addressof(self._logits(self._ctx).contents)
        if address != self._view_address or count > len(self._view):  # the buffer grew, and may have moved
            buffer = (ctypes.c_float * (count * self._n_vocab)).from_address(address)
            view = np.frombuffer(buffer, dtype=np.float32).reshape(count, self._n_vocab)
            view.flags.writeable = False
            self._view, self._view_address = view, address
        return self._view[:count]

    def _put_back(self, chunks: Sequence[Chunk]) -> None:
        """After a failed pass: the library keeps what the parts before the failure read, so take it out."""
        for chunk in chunks:
            if not self._remove(self._memory, chunk.slot, chunk.start or -1, -1):
                # A recurrent state has moved on and cannot go back: an honest empty slot beats a wrong one.
                self._remove(self._memory, chunk.slot, -1, -1)
                self._lengths[chunk.slot] = 0

    def _failure(self, code: int, n: int) -> CacheFullError | Cancelled | EngineError:
        if code == 1:
            return CacheFullError(
                f"No room for {n} more tokens: the context holds {self._n_ctx}, shared by all slots.",
                hint="Free a slot, or load the model with a larger context.",
            )
        if code == 2:
            return Cancelled()
        why = reason(list(library().recent)[-3:])
        return EngineError(f"{self._info.name} could not compute a pass of {n} tokens (code {code}). {why}".rstrip())

    def _refusal(self, chunk: Chunk, end: int) -> EngineError:
        """Which rule a chunk broke; only called once one is."""
        size, slot, start = len(chunk.tokens), chunk.slot, chunk.start
        if not 0 <= slot < len(self._lengths):
            return EngineError(f"There is no slot {slot}; the engine has {len(self._lengths)}.")
        if start != self._lengths[slot]:
            return EngineError(
                f"A chunk for slot {slot} starts at {start}, but {self._lengths[slot]} tokens were read."
            )
        if size == 0:
            return EngineError(f"A chunk for slot {slot} has no tokens.")
        if not 0 <= chunk.want <= size:
            return EngineError(f"{chunk.want} rows are wanted of a chunk of {size} tokens.")
        if end > self._n_batch:
            return EngineError(f"A pass of {end} tokens is more than the {self._n_batch} that the engine takes.")
        if start + size > self._n_ctx:
            return CacheFullError(
                f"Slot {slot} would hold {start + size} tokens, but the context is {self._n_ctx}.",
                hint="Load the model with a larger context.",
            )
        return EngineError(f"A token id is outside the vocabulary of {self._n_vocab} tokens.")

    def _checked(self, slot: int) -> int:
        if not 0 <= slot < len(self._lengths):
            raise EngineError(f"There is no slot {slot}; the engine has {len(self._lengths)}.")
        return slot

    # ---- loading ----

    def _refuse_what_cannot_write(self, path: Path) -> None:
        api, model = self._api, self._model
        meta = _metadata(api, model)
        architecture = meta.get("general.architecture", "")
        pooling = meta.get(f"{architecture}.pooling_type", "0")
        causal = meta.get(f"{architecture}.attention.causal", "true")
        if not api.llama_model_has_decoder(model) or pooling not in ("0", "-1") or causal == "false":
            kind = "an embedding model: it reads text but writes none"
        elif api.llama_model_has_encoder(model):
            kind = "an encoder-decoder model, which is not supported"
        elif api.llama_model_is_diffusion(model):
            kind = "a diffusion model, which does not write token by token"
        else:
            return
        raise UnsupportedModelError(
            f"{path} is {kind} (architecture {architecture!r}).", path=str(path), hint="Choose a text generation model."
        )

    def _open_context(self, path: Path) -> None:
        api, options = self._api, self.options
        params = api.llama_context_default_params()
        params.n_ctx = self._n_ctx = self._context_length()
        params.n_batch = min(options.n_batch, self._n_ctx)
        params.n_ubatch = min(options.n_ubatch, params.n_batch)
        params.n_seq_max = options.n_slots
        params.n_outputs_max = min(options.max_rows or params.n_batch, params.n_batch)
        params.n_threads = options.n_threads or _cores()
        params.n_threads_batch = options.n_threads_batch or params.n_threads
        params.flash_attn_type = {
            "auto": api.LLAMA_FLASH_ATTN_TYPE_AUTO,
            "on": api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": api.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }[options.flash_attention]
        params.type_k = params.type_v = _kv_type(api, options.kv_type)
        # One pool of cells for all slots. Divided among them, a full slot would be refused although there is room.
        params.kv_unified = True
        # Sliding-window layers forget what left the window, so going back would read holes: keep everything.
        params.swa_full = True
        with library().record() as lines:
            self._ctx = api.llama_init_from_model(self._model, params)
        if not self._ctx:
            why = reason(lines)
            if "alloc" in why:
                raise memory_error(path, why)
            raise load_error(path, lines)
        self._memory = api.llama_get_memory(self._ctx)
        if not self._memory:
            raise UnsupportedModelError(
                f"{path} keeps no memory of what it read: it cannot write text.",
                path=str(path),
                hint="Choose a text generation model.",
            )
        self._n_batch: int = api.llama_n_batch(self._ctx)
        self._max_rows: int = params.n_outputs_max
        self._n_vocab = self.tokenizer.n_vocab
        self._lengths = [0] * options.n_slots
        self._decode = api.llama_decode
        self._logits = api.llama_get_logits
        self._remove = api.llama_memory_seq_rm
        self._make_batch()
        self._abort_lock = threading.Lock()
        self._running = False
        self._abort_flag = ctypes.create_string_buffer(2)
        self._abort_callback = library().flag_reader()
        api.llama_set_abort_callback(self._ctx, self._abort_callback, ctypes.cast(self._abort_flag, ctypes.c_void_p))

    def _make_batch(self) -> None:
        """One batch for all passes, its columns as arrays that Python fills by slices."""
        n = self._n_batch
        self._token = np.zeros(n, dtype=np.int32)
        self._token_unsigned = self._token.view(np.uint32)
        self._pos = np.zeros(n, dtype=np.int32)
        self._seq = np.zeros(n, dtype=np.int32)
        self._out = np.zeros(n, dtype=np.int8)
        self._positions = np.arange(self._n_ctx, dtype=np.int32)
        self._view = np.empty((0, self._n_vocab), dtype=np.float32)
        self._view_address = 0
        # every token belongs to one sequence: its list of sequences is one number in `_seq`
        self._seq_count = np.ones(n, dtype=np.int32)
        self._seq_lists = (self._seq.ctypes.data + 4 * np.arange(n)).astype(np.uintp)
        batch = self._api.llama_batch()
        columns = {name: kind for name, kind, *_ in batch._fields_}
        for name, column in (
            ("token", self._token),
            ("pos", self._pos),
            ("n_seq_id", self._seq_count),
            ("seq_id", self._seq_lists),
            ("logits", self._out),
        ):
            setattr(batch, name, column.ctypes.data_as(columns[name]))
        self._batch = batch

    def _context_length(self) -> int:
        trained: int = self._api.llama_model_n_ctx_train(self._model)
        if self.options.n_ctx:
            if 0 < trained < self.options.n_ctx:
                self.notes.append(
                    f"The context of {self.options.n_ctx} is longer than the model was trained for ({trained})."
                )
            return self.options.n_ctx
        if trained > DEFAULT_CONTEXT:
            self.notes.append(
                f"The model allows a context of {trained}; {DEFAULT_CONTEXT} are used (set n_ctx for more)."
            )
        return min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT)

    def _try_rewind(self) -> int | None:
        """Ask the library itself: read two tokens, take one back. Warms the model up as well."""
        first = self.tokenizer.bos or 0
        self.forward([Chunk(0, 0, [first, first])])
        can = bool(self._remove(self._memory, 0, 1, -1))
        recurrent = self._api.llama_model_is_recurrent(self._model) or self._api.llama_model_is_hybrid(self._model)
        self._remove(self._memory, 0, -1, -1)
        self._lengths[0] = 0
        return None if can and not recurrent else 0

    def _describe(self, path: Path) -> ModelInfo:
        api, model = self._api, self._model
        meta = _metadata(api, model)
        description = ctypes.create_string_buffer(256)
        api.llama_model_desc(model, description, len(description))
        template = api.llama_model_chat_template(model, None)
        ftype = api.llama_ftype_name(api.llama_model_ftype(model)) or b""
        return ModelInfo(
            name=meta.get("general.name") or path.stem,
            path=str(path),
            architecture=meta.get("general.architecture", ""),
            description=description.value.decode("utf-8", "replace"),
            n_params=api.llama_model_n_params(model),
            size_bytes=api.llama_model_size(model),
            quantisation=ftype.decode().replace("(guessed) ", "").replace("all ", ""),
            n_vocab=self.tokenizer.n_vocab,
            n_ctx=self._n_ctx,
            n_ctx_train=api.llama_model_n_ctx_train(model),
            n_slots=self.options.n_slots,
            n_batch=self._n_batch,
            chat_template=template.decode("utf-8", "replace") if template else None,
            metadata=meta,
        )


def _metadata(api: Any, model: Any) -> dict[str, str]:
    """The header's single values as text. Long ones (templates) and lists are left out."""
    key, value = ctypes.create_string_buffer(256), ctypes.create_string_buffer(1024)
    found = {}
    for index in range(api.llama_model_meta_count(model)):
        api.llama_model_meta_key_by_index(model, index, key, len(key))
        size = api.llama_model_meta_val_str_by_index(model, index, value, len(value))
        if 0 <= size < len(value):
            found[key.value.decode("utf-8", "replace")] = value.value.decode("utf-8", "replace")
    return found


def _kv_type(api: Any, name: str) -> int:
    assert name in KV_TYPES
    number: int = getattr(api, f"GGML_TYPE_{name.upper()}", 30)  # 30 is bf16, which the bindings do not name
    return number


def _cores() -> int:
    """Physical cores this process may use: a second thread on the same core only slows the kernels down."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
