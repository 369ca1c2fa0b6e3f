"""Why a GGUF file was refused: every cause has its own error, with the path and what to do."""

from __future__ import annotations

import re
from pathlib import Path

from foredraft.core.errors import (
    MemoryLimitError,
    ModelError,
    ModelFormatError,
    ModelNotFoundError,
    UnsupportedModelError,
)
from foredraft.engines.llamacpp.memory import free_memory

_RESERVE = 64 * 2**20
"""Bytes left to the rest of the program when deciding whether a load fits."""
_NO_MEMORY = r"unable to allocate|failed to allocate|bad_alloc|out of memory|cannot allocate"
_CUT_SHORT = r"not within (?:the )?file bounds|corrupted or incomplete|failed to read|unexpectedly reached end"
_CONSEQUENCE = re.compile(r"failed to load model|failed to create context")
_COMPLAINT = re.compile(r"error|fail|invalid|unable|cannot|not ")
_NO_WEIGHTS = r"missing tensor|tensor '[^']*' not found"


def check_file(path: Path) -> None:
    """Refuse what cannot be a GGUF file before the library sees it."""
    if path.is_dir():
        raise ModelFormatError(f"{path} is a folder.", path=str(path), hint="Name a GGUF file inside it.")
    if not path.exists():
        raise ModelNotFoundError(str(path), hint="Check the path, or list the models with `foredraft ls`.")
    if not path.is_file():  # opening a pipe would wait for somebody to write
        raise ModelFormatError(f"{path} is not a file.", path=str(path), hint="Name a GGUF file.")
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
    """Refuse what cannot fit: a mapped model larger than memory would load, and then never finish a word."""
    free = free_memory()
    if needed + _RESERVE > free:
        raise memory_error(path, f"{what} {_mib(needed)}", needed=needed, free=free)


def memory_error(path: Path, why: str, *, needed: int = 0, free: int | None = None) -> MemoryLimitError:
    free = free_memory() if free is None else free
    return MemoryLimitError(
        f"{path} does not fit in memory: {why}, {_mib(free)} are free.",
        path=str(path),
        hint="Close other programs, or choose a smaller context, a smaller model or a stronger quantisation.",
        needed=needed,
        free=free,
    )


def load_error(path: Path, lines: list[str]) -> ModelError:
    """The typed error for a file that the library refused, from its log."""
    why = reason(lines)
    words = "\n".join(lines)
    if unknown := re.search(r"unknown model architecture: '([^']*)'", words):
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
    if re.search(_NO_MEMORY, words, re.IGNORECASE):
        return memory_error(path, why)
    if re.search(_CUT_SHORT, words):
        return ModelFormatError(
            f"{path} is damaged or not complete: {why}.", path=str(path), hint="Download the file again."
        )
    if re.search(_NO_WEIGHTS, words):
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


def reason(lines: list[str]) -> str:
    """The library's own words for a failure: the first complaint is the cause, what follows are consequences."""
    complaints = [line for line in lines if not _CONSEQUENCE.search(line)]
    for mark in ("error loading model: ", "failed to initialize the context: ", ": "):
        for line in complaints:
            if mark in line and _COMPLAINT.search(line):
                return line.partition(mark)[2].strip().rstrip(".")
    return ""


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
