"""From a GGUF file to the library's model and context."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from foredraft.core.errors import UnsupportedModelError
from foredraft.core.interrupts import interruptible
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo
from foredraft.engines.llamacpp.amx import tiles_work
from foredraft.engines.llamacpp.devices import handles
from foredraft.engines.llamacpp.failures import check_file, check_memory, load_error, parts
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.memory import kv_estimate
from foredraft.engines.llamacpp.options import CPU, LoadOptions
from foredraft.engines.llamacpp.recurrent import has_states
from foredraft.engines.processor import cores

_BF16 = 30
"""ggml's number of the one KV type that the bindings do not name."""


def open_model(
    path: Path,
    options: LoadOptions | None = None,
    *,
    vocab_only: bool = False,
    as_in_file: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Any:
    """The library's handle of a model file; free it with `llama_model_free`.

    `as_in_file` leaves the weights laid out as they are, which loads soon and computes slowly. `progress` is called
    with the share read so far, 0 to 1; what it raises ends the load and comes out here.
    Raises `ModelNotFoundError`, `ModelFormatError`, `UnsupportedModelError`, `MemoryLimitError` or `ModelError`.
    """
    options = options or LoadOptions()
    check_file(path)
    api = library().api
    on_cpu = options.device == CPU or not api.llama_supports_gpu_offload()
    if on_cpu and not vocab_only:  # with a GPU, main memory is not what decides
        size = sum(part.stat().st_size for part in parts(path))
        check_memory(path, size, Reason("weights_need", {"size": size}))
    params = api.llama_model_default_params()
    params.vocab_only = vocab_only
    params.n_gpu_layers = options.gpu_layers
    if options.heads:
        params.load_mtp = True
    if as_in_file or not vocab_only:
        # without: no layouts made for AMX tiles, and no others
        params.use_extra_bufts = not as_in_file and options.repack and tiles_work()
    places = handles(options.device)  # kept until the load is over
    if places is not None:
        params.devices = ctypes.cast(places, ctypes.c_void_p)
    params.load_mode = {
        (False, False): api.LLAMA_LOAD_MODE_NONE,
        (True, False): api.LLAMA_LOAD_MODE_MMAP,
        (False, True): api.LLAMA_LOAD_MODE_MLOCK,
        (True, True): api.LLAMA_LOAD_MODE_MMAP_MLOCK,
    }[options.use_mmap, options.use_mlock]

    interrupted: list[BaseException] = []
    stopped = threading.Event()

    def report(done: float, _: object) -> bool:
        try:
            if progress is not None:
                progress(done)
        except BaseException as error:  # noqa: BLE001 (C code called us: the error travels around it)
            interrupted.append(error)
        return not interrupted and not stopped.is_set()

    params.progress_callback = api.llama_progress_callback(report)  # `params` keeps it alive during the load
    with library().record() as lines:
        model = interruptible(
            lambda: api.llama_model_load_from_file(os.fsencode(path), params),
            stop=stopped.set,
            undo=lambda loaded: api.llama_model_free(loaded) if loaded else None,
        )
    if interrupted:
        if model:
            api.llama_model_free(model)
        raise interrupted[0]
    if not model:
        raise load_error(path, lines)
    return model


def open_context(path: Path, model: Any, info: ModelInfo, options: LoadOptions) -> Any:
    """The library's context of a model: KV cache and scratch memory. Free it with `llama_free`."""
    api = library().api
    if not (api.llama_supports_gpu_offload() or has_states(api, model)):
        head = api.llama_model_n_embd(model) // max(api.llama_model_n_head(model), 1)
        key, value = (
            info.metadata.get(f"{info.architecture}.attention.{part}_length", "") for part in ("key", "value")
        )
        kv = kv_estimate(
            info.n_ctx,
            api.llama_model_n_layer(model),
            api.llama_model_n_head_kv(model),
            int(key) if key.isdigit() else head,
            int(value) if value.isdigit() else head,
            options.kv_type,
        )
        check_memory(path, kv, Reason("context_needs", {"n": info.n_ctx, "size": kv}))
    params = context_params(info, options, api.llama_context_default_params())
    params.n_seq_max = options.n_slots + spares(model, options)
    params.n_rs_seq = snapshots(model, options, params.n_ubatch)
    params.n_outputs_max = max(info.max_rows or 0, params.n_seq_max)  # it asserts one for each sequence
    return new_context(path, model, params, options)


def context_params(info: ModelInfo, options: LoadOptions, params: Any) -> Any:
    """`params` of a context as the options say, but for the number of its sequences and rows."""
    api = library().api
    params.n_ctx = info.n_ctx
    params.n_batch = info.n_batch
    params.n_ubatch = min(options.n_ubatch, info.n_batch)
    params.n_threads = options.n_threads or cores()
    params.n_threads_batch = options.n_threads_batch or params.n_threads
    params.flash_attn_type = {
        "auto": api.LLAMA_FLASH_ATTN_TYPE_AUTO,
        "on": api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
        "off": api.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    }[options.flash_attention]
    params.type_k = _type(options.key_type or options.kv_type)
    params.type_v = _type(options.value_type or options.kv_type)
    # One pool of cells for all slots. Divided among them, a full slot would be refused although there is room.
    params.kv_unified = True
    # Sliding-window layers forget what left the window, so going back would read holes: keep everything.
    params.swa_full = True
    return params


def new_context(path: Path, model: Any, params: Any, options: LoadOptions) -> Any:
    """The library's context. Raises a `ModelError`."""
    api = library().api

    def made() -> Any:
        return interruptible(
            lambda: api.llama_init_from_model(model, params),
            stop=lambda: None,
            undo=lambda context: api.llama_free(context) if context else None,
        )

    with library().record() as lines:
        context = made()
        if not context and params.type_v != params.type_k:  # multi-head latent attention keeps both in one
            params.type_k = params.type_v = _type(options.kv_type)
            context = made()
    if not context:
        raise load_error(path, lines)
    if not api.llama_get_memory(context):
        api.llama_free(context)
        raise UnsupportedModelError(
            Reason("no_memory_of_text", {"path": str(path)}), path=str(path), hint=Reason("hint_text_model")
        )
    return context


def _type(name: str) -> int:
    """ggml's number of a KV type."""
    return int(getattr(library().api, f"GGML_TYPE_{name.upper()}", _BF16))


def spares(model: Any, options: LoadOptions) -> int:
    """Sequences beside the slots: one for cells that must stay where they are for a while (`cells.py`). Where a
    sequence is a state of its own, one a slot for the state before its guesses, unless those behind them are kept."""
    api = library().api
    most = api.llama_max_parallel_sequences() - options.n_slots
    if not has_states(api, model):
        return int(most > 0)
    return options.n_slots if not options.snapshots and most >= options.n_slots else 0


def snapshots(model: Any, options: LoadOptions, n_ubatch: int) -> int:
    """Recurrent states that are kept of the end of a pass. The library asserts that such an end fits in one step, and
    those of all slots have to (`states.py`)."""
    if not options.snapshots or not has_states(library().api, model):
        return 0
    return max(0, min(options.snapshots, n_ubatch - 2, n_ubatch // options.n_slots - 1))


def attends_one_way(log: Iterable[str], *, flash_attention: str) -> bool:
    """Does a processor attend to a text's cells one by one in every pass? From the log of a load: flash attention, and
    keys and values that are not of one floating-point type."""
    words = "\n".join(log)
    types = re.search(r"K \((\w+)\).*V \((\w+)\)", words)
    flash = flash_attention == "on" or (flash_attention == "auto" and "Flash Attention enabled" in words)
    return flash and types is not None and (types[1] != types[2] or types[1] not in ("f16", "f32"))


def describe(path: Path, model: Any, options: LoadOptions, n_ctx: int) -> ModelInfo:
    """What the file says about itself, and the sizes of this load."""
    api = library().api
    meta = metadata(model)
    description = ctypes.create_string_buffer(256)
    api.llama_model_desc(model, description, len(description))
    n_batch = min(options.n_batch, n_ctx)
    template = api.llama_model_chat_template(model, None)
    file_type = api.llama_ftype_name(api.llama_model_ftype(model)) or b""
    return ModelInfo(
        name=meta.get("general.name") or path.stem,
        path=str(path),
        architecture=meta.get("general.architecture", ""),
        description=description.value.decode("utf-8", "replace"),
        n_params=api.llama_model_n_params(model),
        size_bytes=api.llama_model_size(model),
        quantisation=file_type.decode().removeprefix("(guessed) ").removeprefix("all "),
        n_vocab=api.llama_vocab_n_tokens(api.llama_model_get_vocab(model)),
        n_ctx=n_ctx,
        n_ctx_train=api.llama_model_n_ctx_train(model),
        n_slots=options.n_slots,
        n_batch=n_batch,
        max_rows=options.rows(n_batch),
        chat_template=template.decode("utf-8", "replace") if template else None,
        metadata=meta,
    )


def metadata(model: Any) -> dict[str, str]:
    """The header's short values as text; long ones (templates, vocabularies) are left out."""
    api = library().api
    key, value = ctypes.create_string_buffer(256), ctypes.create_string_buffer(1024)
    found = {}
    for index in range(api.llama_model_meta_count(model)):
        api.llama_model_meta_key_by_index(model, index, key, len(key))
        size = api.llama_model_meta_val_str_by_index(model, index, value, len(value))
        if 0 <= size < len(value):
            found[key.value.decode("utf-8", "replace")] = value.value.decode("utf-8", "replace")
    return found


def refuse_what_cannot_write(path: Path, model: Any) -> None:
    """Raise `UnsupportedModelError` for models that read text but do not write it token by token."""
    api = library().api
    meta = metadata(model)
    architecture = meta.get("general.architecture", "")
    pooled = meta.get(f"{architecture}.pooling_type", "0") not in ("0", "-1")
    causal = meta.get(f"{architecture}.attention.causal", "true") != "false"
    if pooled or not causal or not api.llama_model_has_decoder(model):
        kind = "embedding"
    elif api.llama_model_has_encoder(model):
        kind = "encoder_decoder"
    elif api.llama_model_is_diffusion(model):
        kind = "diffusion"
    else:
        return
    raise UnsupportedModelError(
        Reason("is_of_kind", {"path": str(path), "kind": Reason(f"is_{kind}"), "architecture": architecture}),
        path=str(path),
        hint=Reason("hint_text_model"),
    )
