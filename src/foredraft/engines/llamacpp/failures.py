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
from foredraft.core.reasons import Reason
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
        raise ModelFormatError(
            Reason("is_folder", {"path": str(path)}), path=str(path), hint=Reason("hint_file_inside")
        )
    if not path.exists():
        raise ModelNotFoundError(str(path), hint=Reason("hint_check_path"))
    if not path.is_file():  # opening a pipe would wait for somebody to write
        raise ModelFormatError(Reason("not_a_file", {"path": str(path)}), path=str(path), hint=Reason("hint_name_gguf"))
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(
            Reason("file_unreadable", {"file": str(path), "error": str(error.strerror)}), path=str(path)
        ) from error
    if magic != b"GGUF":
        raise ModelFormatError(Reason("not_gguf", {"path": str(path)}), path=str(path), hint=Reason("hint_gguf"))


def parts(path: Path) -> list[Path]:
    """All files of a model: itself, or every part of one split as NAME-00001-of-00003.gguf."""
    split = re.fullmatch(r"(.*-)\d{5}(-of-(\d{5})\.gguf)", path.name)
    if split is None:
        return [path]
    files = [path.with_name(f"{split[1]}{part:05d}{split[2]}") for part in range(1, int(split[3]) + 1)]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise ModelFormatError(
            Reason("parts_missing", {"path": str(path), "files": tuple(missing)}),
            path=str(path),
            hint=Reason("hint_all_parts"),
        )
    return files


def check_memory(path: Path, needed: int, what: Reason) -> None:
    """Refuse what cannot fit: a mapped model larger than memory would load, and then never finish a word."""
    free = free_memory()
    if needed + _RESERVE > free:
        raise memory_error(path, what, needed=needed, free=free)


def memory_error(path: Path, why: Reason | str, *, needed: int = 0, free: int | None = None) -> MemoryLimitError:
    free = free_memory() if free is None else free
    return MemoryLimitError(
        Reason("no_room", {"path": str(path), "why": why, "free": free}),
        path=str(path),
        hint=Reason("hint_no_room"),
        needed=needed,
        free=free,
    )


def load_error(path: Path, lines: list[str]) -> ModelError:
    """The typed error for a file that the library refused, from its log."""
    why = reason(lines)
    words = "\n".join(lines)
    if unknown := re.search(r"unknown model architecture: '([^']*)'", words):
        return UnsupportedModelError(
            Reason("architecture_unknown", {"path": str(path), "architecture": unknown[1]}),
            path=str(path),
            hint=Reason("hint_architecture_unknown"),
        )
    if "CLIP cannot be used" in words:
        return UnsupportedModelError(
            Reason("image_encoder", {"path": str(path)}), path=str(path), hint=Reason("hint_image_encoder")
        )
    if re.search(_NO_MEMORY, words, re.IGNORECASE):
        return memory_error(path, why)
    if re.search(_CUT_SHORT, words):
        damaged = Reason("file_damaged", {"path": str(path), "why": why})
        return ModelFormatError(damaged, path=str(path), hint=Reason("hint_download_again"))
    if re.search(_NO_WEIGHTS, words):
        return UnsupportedModelError(
            Reason("weights_lacking", {"path": str(path), "why": why}),
            path=str(path),
            hint=Reason("hint_complete_file"),
        )
    return ModelFormatError(
        Reason("load_failed", {"path": str(path), "why": why or Reason("no_words")}),
        path=str(path),
        hint=Reason("hint_load_failed"),
    )


def reason(lines: list[str]) -> str:
    """The library's own words for a failure: the first complaint is the cause, what follows are consequences."""
    complaints = [line for line in lines if not _CONSEQUENCE.search(line)]
    for mark in ("error loading model: ", "failed to initialize the context: ", ": "):
        for line in complaints:
            if mark in line and _COMPLAINT.search(line):
                return line.partition(mark)[2].strip().rstrip(".")
    return ""
