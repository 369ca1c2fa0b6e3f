"""From a GGUF file to an engine: the numerics that are asked for, and the process that it lies in.

With isolation a model has a process of its own (`engines/isolated`), so that what ends llama.cpp ends only the answers
of that model. The draft has one, too: when it dies, answers go on without guesses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from foredraft.core.errors import EngineDiedError, ModelFormatError
from foredraft.core.reasons import Reason
from foredraft.demo import is_embedded
from foredraft.engines.isolated import IsolatedEmbedder, IsolatedEngine
from foredraft.engines.llamacpp.options import CPU, LoadOptions
from foredraft.pair.numerics import load as load_in_numerics

if TYPE_CHECKING:
    from foredraft.engines.llamacpp import LlamaCppEmbedder, LlamaCppEngine

LEAST_BYTES = 256 * 2**20
"""With auto, smaller models stay in the process. There and back costs about as much for every model: a row of 152,000
numbers and two waits for the processor, 0.3 to 0.5 ms behind a pass that has emptied the caches (`bench/isolation.py`).
A token of a model of this size takes 15 ms and more on a processor, so it is 2 % of it at most."""
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE")
Report = Callable[[float], None]
Isolated = TypeVar("Isolated", IsolatedEngine, IsolatedEmbedder)


@dataclass(frozen=True, slots=True)
class Isolation:
    """Where a model lies, and why there."""

    isolated: bool
    reason: Reason | None = None


def isolation(path: Path, options: LoadOptions, wish: str) -> Isolation:
    """Whether a file is loaded in a process of its own."""
    if wish != "auto":
        return Isolation(wish == "on", None if wish == "off" else Reason("isolation_asked"))
    if is_embedded(path):
        return Isolation(False, Reason("isolation_embedded"))
    size = path.stat().st_size if path.is_file() else 0
    if 0 < size < LEAST_BYTES:
        return Isolation(False, Reason("isolation_small"))
    from foredraft.engines.llamacpp.devices import built_for_gpus

    if options.gpu_layers and options.device != CPU and built_for_gpus():
        return Isolation(False, Reason("isolation_gpu"))
    return Isolation(True)


def open_main(
    path: Path,
    options: LoadOptions,
    notes: list[Reason],
    *,
    numerics: str | None,
    folder: Path,
    keep: bool = True,
    where: Isolation,
    progress: Report | None = None,
) -> LlamaCppEngine | IsolatedEngine:
    """The main model in the numerics that are asked for (None: fast, and not measured). `folder` has what is known of
    the numerics of files, and gets what is found where it is to be kept; `notes` receives what could not be done."""
    if not where.isolated:
        return _main(path, options, notes, numerics, folder, keep, progress)
    more = {"numerics": numerics, "folder": str(folder), "keep": keep}
    engine = _isolated(IsolatedEngine, path, options, {"role": "main", **more}, progress)
    notes += engine.notes  # it has no others
    engine.notes = []
    return engine


def open_draft(
    path: Path, options: LoadOptions, *, where: Isolation, progress: Report | None = None
) -> LlamaCppEngine | IsolatedEngine:
    """A draft, as its options say."""
    if where.isolated:
        return _isolated(IsolatedEngine, path, options, {"role": "draft"}, progress)
    return _open(path, options, progress)


def open_embedder(
    path: Path, options: LoadOptions, *, where: Isolation, progress: Report | None = None
) -> LlamaCppEmbedder | IsolatedEmbedder:
    """A model that turns texts into vectors."""
    if where.isolated:
        return _isolated(IsolatedEmbedder, path, options, {"role": "embedder"}, progress)
    from foredraft.engines.llamacpp import LlamaCppEmbedder

    return LlamaCppEmbedder(path, options, progress=progress)


def _isolated(
    kind: type[Isolated], path: Path, options: LoadOptions, more: Mapping[str, Any], progress: Report | None
) -> Isolated:
    from foredraft.engines.llamacpp.failures import check_file
    from foredraft.engines.llamacpp.safe_load import require_survival

    check_file(path)
    require_survival(path)
    given = {"path": str(path), "options": dataclasses.asdict(options), **more}
    try:
        return kind(_OPENER, given, progress=progress)
    except EngineDiedError as error:
        if error.ended not in _CRASHES:
            raise
        said = f"{error.ended}: {error.words}" if error.words else error.ended
        raise ModelFormatError(
            Reason("load_ended_process", {"path": str(path), "said": said}),
            path=str(path),
            hint=Reason("hint_download_again"),
        ) from error


# ---- in the process that has the model ----

_OPENER = f"{__name__}:in_its_process"


def in_its_process(given: Mapping[str, Any], report: Report) -> Any:
    """What `_isolated` and `open_embedder` ask for. What the numerics decided goes into the engine's `notes`."""
    path, options = Path(given["path"]), LoadOptions(**given["options"])
    if given["role"] == "embedder":
        from foredraft.engines.llamacpp import LlamaCppEmbedder

        return LlamaCppEmbedder(path, options, progress=report)
    if given["role"] == "draft":
        return _open(path, options, report)
    notes: list[Reason] = []
    engine = _main(path, options, notes, given["numerics"], Path(given["folder"]), given["keep"], report)
    engine.notes += notes
    return engine


def _main(
    path: Path,
    options: LoadOptions,
    notes: list[Reason],
    numerics: str | None,
    folder: Path,
    keep: bool,
    progress: Report | None,
) -> LlamaCppEngine:
    from foredraft.engines.llamacpp import exactness

    if numerics is None:
        return _open(path, exactness.fast(options), progress)

    def reopen(wanted: LoadOptions) -> LlamaCppEngine:
        return _open(path, wanted, progress)

    return load_in_numerics(reopen, options, numerics, folder, notes, keep=keep)


def _open(path: Path, options: LoadOptions, progress: Report | None) -> LlamaCppEngine:
    from foredraft.engines.llamacpp import LlamaCppEngine
    from foredraft.engines.llamacpp.safe_load import require_survival

    require_survival(path)
    return LlamaCppEngine(path, options, progress=progress)
