"""Opening a GGUF file: every way it can fail has its own error, with the path and what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from foredraft.core.errors import (
    Cancelled,
    MemoryLimitError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from foredraft.engines.llamacpp.library import library, reason
from foredraft.engines.llamacpp.options import LoadOptions

_RESERVE = 64 * 2**20
"""Bytes left to the rest of the program when deciding whether a load fits."""


def open_model(
    path: Path,
    options: LoadOptions | None = None,
    *,
    vocab_only: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Any:
    """The library's handle of a model file; free it with `llama_model_free`. `progress` is called with 0 to 1.

    Raises `ModelNotFoundError`, `ModelFormatError`, `UnsupportedModelError`, `MemoryLimitError` or `ModelError`.
    """
    options = options or LoadOptions()
    check_file(path)
    if not vocab_only:
        check_memory(path, sum(part.stat().st_size for part in parts(path)), "The weights need")
    api = library().api
    params = api.llama_model_default_params()
    params.vocab_only = vocab_only
    params.n_gpu_layers = options.gpu_layers
    params.load_mode = {
        (False, False): api.LLAMA_LOAD_MODE_NONE,
        (True, False): api.LLAMA_LOAD_MODE_MMAP,
        (False, True): api.LLAMA_LOAD_MODE_MLOCK,
        (True, True): api.LLAMA_LOAD_MODE_MMAP_MLOCK,
    }[options.use_mmap, options.use_mlock]

    interrupted: list[BaseException] = []

    def report(done: float, _: object) -> bool:
        try:
            if progress is not None:
                progress(done)
        except BaseException as error:  # noqa: BLE001 (C code runs above us: the error travels past it in `interrupted`)
            interrupted.append(error)
        return not interrupted

    params.progress_callback = callback = api.llama_progress_callback(report)
    with library().record() as lines:
        model = api.llama_model_load_from_file(os.fsencode(path), params)
    del callback  # lived until here
    if interrupted:
        if model:
            api.llama_model_free(model)
        raise interrupted[0]
    if not model:
        raise load_error(path, lines)
    return model


def check_file(path: Path) -> None:
    """Refuse what cannot be a GGUF file before the library sees it."""
    if path.is_dir():
        raise ModelFormatError(f"{path} is a folder.", path=str(path), hint="Name a GGUF file inside it.")
    if not path.exists():
        raise ModelNotFoundError(str(path), hint="Check the path, or list the models with `foredraft ls`.")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    if magic != b"GGUF":
        raise ModelFormatError(
            f"{path} is not a GGUF file.", path=str(path), hint="Choose a file in GGUF format, or convert the model."
        )


def parts(path: Path) -> list[Path]:
    """All files of a model: itself, or every part of one split as NAME-00001-of-00003.gguf."""
    split = re.fullmatch(r"(.*-)\d{5}(-of-(\d{5})\.gguf)", path.name)
    if split is None:
        return [path]
    files = [path.with_name(f"{split[1]}{part:05d}{split[2]}") for part in range(1, int(split[3]) + 1)]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise ModelFormatError(
            f"{path} is one part of a split model, and {', '.join(missing)} is missing.",
            path=str(path),
            hint="Download all parts into one folder.",
        )
    return files


def check_memory(path: Path, needed: int, what: str) -> None:
    """Refuse what cannot fit: a memory-mapped model larger than memory would load, and then never finish a word."""
    if library().api.llama_supports_gpu_offload():
        return  # then main memory is not what decides; the library's own allocation does
    free = psutil.virtual_memory().available
    if needed + _RESERVE > free:
        raise memory_error(path, f"{what} {megabytes(needed)}", needed=needed, free=free)


def memory_error(path: Path, why: str, *, needed: int = 0, free: int | None = None) -> MemoryLimitError:
    free = psutil.virtual_memory().available if free is None else free
    return MemoryLimitError(
        f"{path} does not fit in memory: {why}, {megabytes(free)} are free.",
        path=str(path),
        hint="Close other programs, or choose a smaller context, a smaller model or a stronger quantisation.",
        needed=needed,
        free=free,
    )


def megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def load_error(path: Path, lines: list[str]) -> ModelError | Cancelled:
    """The typed error for a model that the library refused, from its log."""
    why = reason(lines)
    words = "\n".join(lines)
    unknown = re.search(r"unknown (?:model architecture|architecture): '([^']*)'", words)
    if unknown:
        return UnsupportedModelError(
            f"{path} has the architecture {unknown[1]!r}, which this version of llama.cpp does not know.",
            path=str(path),
            hint="Update llama-cpp-python, or choose another model.",
        )
    if "CLIP cannot be used" in words:
        return UnsupportedModelError(
            f"{path} is an image encoder (mmproj), not a language model.",
            path=str(path),
            hint="Choose the language model that it belongs to.",
        )
    if re.search(r"unable to allocate|failed to allocate|bad_alloc|out of memory|cannot allocate", words, re.IGNORECASE):
        return memory_error(path, why)
    if re.search(
        r"not within (?:the )?file bounds|corrupted or incomplete|failed to read|unexpected(?:ly reached)? e", words
    ):
        return ModelFormatError(
            f"{path} is damaged or not complete: {why}.", path=str(path), hint="Download the file again."
        )
    if re.search(r"missing tensor|tensor '[^']*' not found", words):
        return UnsupportedModelError(
            f"{path} lacks weights of its architecture ({why}); it may hold a vocabulary only.",
            path=str(path),
            hint="Choose a complete model file.",
        )
    return ModelFormatError(
        f"{path} cannot be loaded: {why or 'llama.cpp gave no reason'}.",
        path=str(path),
        hint="The file may be damaged, or made for another version of llama.cpp.",
    )
