"""llama.cpp's own server as the other side of a bench: which binary, with which options, and how it is asked.

Its options change from version to version, so `--help` is read first, and only what is named there is used. Whether and
how far it guesses is chosen at its start (requests cannot change it), so each setting is a process of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foredraft.bench.server_process import ServerProcess, free_port
from foredraft.core.errors import BenchServerError, ParameterError

PLAIN = "plain"
NGRAM = ("ngram-simple", "ngram-mod")
"""Kinds of guesses from the text itself, with llama-server's own defaults."""
DEFAULT_SETTINGS = (PLAIN, "draft:1", "draft:3", "draft:8", "ngram-simple")
MAX_DRAFT = 64
_HELP_S = 60.0
_BUILD = (
    "Build it from the llama.cpp sources: cmake -B build && cmake --build build --target llama-server; "
    "then name build/bin/llama-server."
)
_DRAFT_MODEL = ("--spec-draft-model", "--model-draft")
_DRAFT_LENGTH = ("--spec-draft-n-max", "--draft-max")
"""The newer name first: newer versions still list the old one, to say that it is gone."""
_SPEC_TYPE = "--spec-type"
_EXTRAS: tuple[tuple[str, ...], ...] = (("--offline",), ("--no-webui",), ("--cache-ram", "0"))
"""Where known: nothing is fetched, no web page is served, and no copies of earlier prompts are kept."""


@dataclass(frozen=True, slots=True)
class Files:
    """What both sides load, and how."""

    model: Path
    draft: Path | None
    context: int
    threads: int
    draft_threads: int
    gpu_layers: int = -1
    draft_gpu_layers: int = -1
    kv_type: str = "f16"
    flash_attention: str = "auto"


def check_setting(name: str) -> str:
    """`name`, where it is a setting. Raises `ParameterError` with those there are."""
    kind, _, number = name.partition(":")
    if name == PLAIN or name in NGRAM:
        return name
    if kind == "draft" and number.isascii() and number.isdigit() and 1 <= int(number) <= MAX_DRAFT:
        return name
    raise ParameterError("rival", name, f"{PLAIN}, draft:N with N from 1 to {MAX_DRAFT}, or {' or '.join(NGRAM)}")


class LlamaServer:
    """A llama-server binary that answers to `--help`."""

    def __init__(self, binary: str | Path) -> None:
        """Raises `BenchServerError` where there is no such program, or it is another one."""
        self.path = _found(str(binary))
        self._help = self._output("--help")
        if not {"--model", "--port", "--threads-batch"} <= set(self._words()):
            raise BenchServerError(
                f"{self.path} does not look like llama-server: its --help names no such options.", hint=_BUILD
            )
        lines = self._output("--version").splitlines()
        self.version = next((line.strip() for line in lines if "version" in line.lower()), "version unknown")

    def why_not(self, setting: str, files: Files) -> str:
        """Why this binary cannot be run in a setting; empty where it can."""
        if setting.startswith("draft:"):
            if files.draft is None:
                return "no draft is loaded"
            if self._first(_DRAFT_LENGTH) is None or self._first(_DRAFT_MODEL) is None:
                return "this llama-server has no option for the length of a draft"
        if setting in NGRAM and not (self.knows(_SPEC_TYPE) and setting in self._help):
            return "this llama-server does not know it"
        return ""

    def arguments(self, setting: str, files: Files, port: int) -> list[str]:
        """The command line of one setting."""
        given = ["--model", str(files.model), "--host", "127.0.0.1", "--port", str(port)]
        given += ["--ctx-size", str(files.context), "--parallel", "1"]
        given += ["--threads", str(files.threads), "--threads-batch", str(files.threads)]
        if files.gpu_layers >= 0:
            given += ["--n-gpu-layers", str(files.gpu_layers)]
        if files.kv_type != "f16":
            given += ["--cache-type-k", files.kv_type, "--cache-type-v", files.kv_type]
        if files.flash_attention != "auto":
            given += ["--flash-attn", files.flash_attention]
        for extra in _EXTRAS:
            given += extra if self.knows(extra[0]) else ()
        if setting.startswith("draft:"):
            given += self._drafting(setting.partition(":")[2], files)
        elif setting != PLAIN:
            given += [_SPEC_TYPE, setting]
        return given

    def start(self, setting: str, files: Files) -> ServerProcess:
        """A process in this setting; it may still be loading. Raises `BenchServerError`."""
        port = free_port()
        return ServerProcess(
            f"llama-server ({setting})",
            [str(self.path), *self.arguments(setting, files, port)],
            port,
            hint="Try the same command by hand, or a newer or older llama-server: its options change between versions.",
        )

    def knows(self, option: str) -> bool:
        return option in self._words()

    def _drafting(self, length: str, files: Files) -> list[str]:
        given = [str(self._first(_DRAFT_MODEL)), str(files.draft), str(self._first(_DRAFT_LENGTH)), length]
        if self.knows(_SPEC_TYPE) and "draft-simple" in self._help:
            given += [_SPEC_TYPE, "draft-simple"]
        for option in ("--threads-draft", "--threads-batch-draft"):
            given += [option, str(files.draft_threads)] if self.knows(option) else []
        if files.draft_gpu_layers >= 0 and self.knows("--n-gpu-layers-draft"):
            given += ["--n-gpu-layers-draft", str(files.draft_gpu_layers)]
        return given

    def _first(self, options: Sequence[str]) -> str | None:
        return next((option for option in options if self.knows(option)), None)

    def _words(self) -> list[str]:
        return self._help.replace(",", " ").split()

    def _output(self, option: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 (the user names the program)
                [self.path, option], capture_output=True, stdin=subprocess.DEVNULL, timeout=_HELP_S, check=False
            )
        except OSError as error:
            raise BenchServerError(f"{self.path} cannot be run: {error.strerror}.", hint=_BUILD) from error
        except subprocess.TimeoutExpired as error:
            raise BenchServerError(f"{self.path} {option} did not end in {_HELP_S:.0f} s.", hint=_BUILD) from error
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if done.returncode and option == "--help":
            tail = "\n".join(said.splitlines()[-5:])
            raise BenchServerError(
                f"{self.path} --help ended with exit code {done.returncode}." + (f" It said:\n{tail}" if tail else ""),
                hint=_BUILD,
            )
        return said


def _found(name: str) -> Path:
    """The program's path: as given, or from the search path. Raises `BenchServerError`."""
    path = Path(name).expanduser()
    if not path.exists():
        on_path = shutil.which(name) if path.name == name else None
        if on_path is None:
            raise BenchServerError(f"There is no program {name}.", hint=_BUILD)
        return Path(on_path)
    if path.is_dir():
        raise BenchServerError(f"{path} is a folder; the program itself is needed.", hint=_BUILD)
    if not os.access(path, os.X_OK):
        raise BenchServerError(f"{path} may not be executed.", hint=f"chmod +x {path}, or name another file.")
    return path.absolute()
