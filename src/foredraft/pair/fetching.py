"""The file of a model that is named: a path, a name on the shelf, or a repository of the hub, which is downloaded."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foredraft.config.shelf import locate, locate_draft, open_shelf
from foredraft.core.errors import ModelNotFoundError
from foredraft.models.store import DRAFT_KINDS
from foredraft.pair.stream import Progress

if TYPE_CHECKING:
    from foredraft.models.hub import Progress as Transferred

_OF_HUB = re.compile(r"(?:https?://[^/\s]+/|hf\.co/)?[\w.-]+/[\w.-]+(?:[:@][\w.-]+)?")


def main_file(name: str | Path, *, download: bool, progress: Progress | None = None) -> Path:
    """The file of a main model. What is on this machine comes first; "OWNER/NAME", with ":QUANT" or "@QUANT" behind it,
    is else fetched from the hub. Raises a `ModelError` as `locate` does, or a `DownloadError`."""
    return _found(name, locate, ("text",), download, progress)


def draft_file(name: str | Path | None, *, download: bool, progress: Progress | None = None) -> str | Path | None:
    """The same for a draft. What is no repository stays as it is, and without `download` everything: whoever opens the
    draft says what is wrong with it."""
    if name is None or not download or not _of_hub(name):
        return name
    return _found(name, locate_draft, DRAFT_KINDS, download, progress)


def embedding_file(name: str | Path, *, download: bool, progress: Progress | None = None) -> Path:
    """The same for an embedding model. Raises `UnsupportedModelError` for a file of another kind."""
    return _found(
        name, lambda known: open_shelf().require(known, ("embedding",)).path, ("embedding",), download, progress
    )


def _of_hub(name: str | Path) -> bool:
    return isinstance(name, str) and _OF_HUB.fullmatch(name) is not None and not name.lower().endswith(".gguf")


def _found(
    name: str | Path,
    find: Callable[[str | Path], Path],
    kinds: Sequence[str],
    download: bool,
    progress: Progress | None,
) -> Path:
    try:
        return find(name)
    except ModelNotFoundError as error:
        if not _of_hub(name):
            raise
        if not download:
            raise ModelNotFoundError(
                str(name),
                nearest=error.nearest,
                hint=f"`foredraft get {name}` downloads it, and so does LLM.load with download=True.",
            ) from None
    return _fetched(str(name), kinds, progress)


def _fetched(wish: str, kinds: Sequence[str], progress: Progress | None) -> Path:
    """The file of a repository, downloaded unless it is there. Raises `DownloadError`, and `UnsupportedModelError` for
    a file of another kind."""
    from foredraft.models.hub import choose, download, look, parse_wish
    from foredraft.models.memory import this_machine

    repository, quantisation = parse_wish(wish)
    offered = look(repository)
    machine = this_machine()
    choice = choose(offered, quantisation, room=max(machine.ram, machine.video))
    shelf = open_shelf()
    with download_bar(quiet=progress is not None) as shown:

        def arrived(file: str, there: int, size: int) -> None:
            shown(file, there, size)
            if progress is not None:
                before = sum(of.size for of in choice.files[: names.index(file)])
                progress("download", (before + there) / max(1, choice.size))

        names = [of.path.rsplit("/", 1)[-1] for of in choice.files]
        path = download(offered, choice, shelf.own, arrived)
    return shelf.require(path, kinds).path


@contextlib.contextmanager
def download_bar(*, quiet: bool = False) -> Iterator[Transferred]:
    """A bar for each file on stderr; in a log, a line for each tenth that has arrived."""
    if not quiet and not sys.stderr.isatty():
        yield _in_lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        tasks: dict[str, TaskID] = {}

        def arrived(file: str, there: int, size: int) -> None:
            if file not in tasks:
                tasks[file] = bar.add_task(file, total=size, completed=there)
            bar.update(tasks[file], completed=there)

        yield arrived


def _in_lines() -> Transferred:
    told: dict[str, int] = {}

    def arrived(file: str, there: int, size: int) -> None:
        tenth = 10 * there // size if size else 10
        if told.get(file) != tenth:
            told[file] = tenth
            print(f"{file}: {10 * tenth} % of {size / 1e6:,.1f} MB", file=sys.stderr, flush=True)

    return arrived
