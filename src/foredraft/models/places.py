"""Where model files may lie, and how to walk there without getting lost.

Every place is read in place and never changed, except the program's own folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from foredraft.core.reasons import Reason
from foredraft.models import ollama as of_ollama

OWN, FOLDER, HUGGING_FACE, LM_STUDIO, OLLAMA, LLAMA_CPP, IMPORTED, EMBEDDED = (
    "own", "folder", "huggingface", "lmstudio", "ollama", "llama_cpp", "imported", "embedded",
)  # fmt: skip
SOURCES = (OWN, IMPORTED, FOLDER, HUGGING_FACE, LM_STUDIO, OLLAMA, LLAMA_CPP, EMBEDDED)
"""All of them. Of copies of one file in several places, that in the first is meant."""

MAX_DEPTH = 8
"""Folders below a place that are looked into."""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that holds models, and what kind of folder it is."""

    path: Path
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A GGUF file as the folder lists it. `size` in bytes, `changed` in nanoseconds."""

    path: Path
    source: str
    publisher: str
    """The owner's name, where the layout of the place tells it."""
    folder: str
    """The repository's name, or the folder's."""
    size: int
    changed: int
    name: str = ""
    """What it is called, where the name of the file does not tell."""


def default_places(
    own: Path,
    folders: Sequence[Path] = (),
    *,
    huggingface: bool = True,
    lmstudio: bool = True,
    ollama: bool = True,
    llama_cpp: bool = True,
    environment: Mapping[str, str] | None = None,
) -> list[Place]:
    """The own folder, further folders, and the other programs' folders, in the order in which names are given."""
    places = [Place(own, OWN), *(Place(folder.expanduser(), FOLDER) for folder in folders)]
    if huggingface:
        places.append(Place(huggingface_cache(environment), HUGGING_FACE))
    if lmstudio:
        places += [Place(folder, LM_STUDIO) for folder in lmstudio_folders()]
    if ollama:
        places.append(Place(of_ollama.folder(environment), OLLAMA))
    if llama_cpp:
        places.append(Place(llama_cpp_cache(environment), LLAMA_CPP))
    embedded = Path(__file__).parent.parent / "demo"
    return [*places, Place(embedded, EMBEDDED)]


def huggingface_cache(environment: Mapping[str, str] | None = None) -> Path:
    """The hub cache, found as huggingface-hub finds it, without importing that."""
    values = os.environ if environment is None else environment
    if values.get("HF_HUB_CACHE"):
        return Path(values["HF_HUB_CACHE"]).expanduser()
    if values.get("HF_HOME"):
        return Path(values["HF_HOME"]).expanduser() / "hub"
    if values.get("XDG_CACHE_HOME"):
        return Path(values["XDG_CACHE_HOME"]).expanduser() / "huggingface" / "hub"
    return Path.home() / ".cache" / "huggingface" / "hub"


def lmstudio_folders() -> list[Path]:
    """LM Studio's folders of models: where its home is (it may have been moved), and where it downloads to."""
    homes = [Path.home() / ".lmstudio", Path.home() / ".cache" / "lm-studio"]
    with contextlib.suppress(OSError, ValueError):
        moved = (Path.home() / ".lmstudio-home-pointer").read_text(encoding="utf-8").strip()
        if moved:
            homes.insert(0, Path(moved).expanduser())
    folders = [home / "models" for home in homes]
    for home in homes:
        with contextlib.suppress(OSError, ValueError):
            said = json.loads((home / "settings.json").read_text(encoding="utf-8"))
            chosen = said.get("downloadsFolder") if isinstance(said, dict) else None
            if isinstance(chosen, str) and chosen:
                folders.append(Path(chosen).expanduser())
    return list(dict.fromkeys(folders))


def llama_cpp_cache(environment: Mapping[str, str] | None = None) -> Path:
    """Where llama.cpp's own programs keep what they download (`fs_get_cache_directory` of its common library)."""
    values = os.environ if environment is None else environment
    if values.get("LLAMA_CACHE"):
        return Path(values["LLAMA_CACHE"]).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "llama.cpp"
    if sys.platform == "win32":
        return Path(values.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "llama.cpp"
    return Path(values.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "llama.cpp"


def is_unicode(path: str | Path) -> bool:
    """Whether a name can be written down: Unix allows any bytes, which Python keeps as surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def shown(path: str | Path) -> str:
    """A name as it can be printed, whatever its bytes are."""
    return os.fsencode(path).decode("utf-8", "replace")


def no_file(path: Path, mode: int) -> Reason:
    """The problem with something that is not a file."""
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    kind = kinds.get(stat.S_IFMT(mode), "folder" if stat.S_ISDIR(mode) else "other")
    return Reason("place_no_file", {"path": str(path), "kind": Reason(f"thing_{kind}")})


def system_problem(path: Path, error: OSError) -> Reason:
    """What the system says of a path that cannot be looked at."""
    return Reason("place_error", {"path": str(path), "error": error.strerror or str(error)})


def walk(place: Place, problems: list[Reason]) -> Iterator[Found]:
    """Every GGUF file below a place. What cannot be read is named in `problems` and passed over: a folder that may not
    be opened, a name that is not Unicode, a pipe, socket or device.

    Links are followed, each folder is entered once: links in circles end. A place that does not exist is empty.
    """
    if place.source == OLLAMA:
        yield from _of_ollama(place, problems)
        return
    entered: set[tuple[int, int]] = set()
    waiting: list[tuple[Path, int]] = [(place.path, 0)]
    while waiting:
        folder, depth = waiting.pop()
        try:
            here = folder.stat()
            if (here.st_dev, here.st_ino) in entered:
                continue
            entered.add((here.st_dev, here.st_ino))
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(system_problem(folder, error))
            continue
        for entry in listed:
            if not is_unicode(entry.name):
                problems.append(Reason("place_not_unicode", {"path": shown(folder / entry.name)}))
                continue
            try:
                if entry.is_dir():
                    if depth < MAX_DEPTH and _enters(place.source, entry.name, depth):
                        waiting.append((folder / entry.name, depth + 1))
                elif entry.name.lower().endswith(".gguf"):
                    status = entry.stat()
                    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever to be written to
                        problems.append(no_file(folder / entry.name, status.st_mode))
                        continue
                    publisher, repository = _owner(place, folder)
                    yield Found(
                        folder / entry.name,
                        place.source,
                        publisher,
                        repository,
                        status.st_size,
                        status.st_mtime_ns,
                        _without_repository(entry.name) if place.source == LLAMA_CPP else "",
                    )
            except OSError as error:  # a link to nothing, a file deleted meanwhile
                problems.append(system_problem(folder / entry.name, error))


def _of_ollama(place: Place, problems: list[Reason]) -> Iterator[Found]:
    for blob in of_ollama.blobs(place.path, problems):
        try:
            status = blob.path.stat()
        except OSError as error:  # deleted meanwhile
            problems.append(system_problem(blob.path, error))
            continue
        yield Found(blob.path, place.source, blob.publisher, blob.name, status.st_size, status.st_mtime_ns, blob.name)


def _without_repository(name: str) -> str:
    """llama.cpp puts owner and repository before a file's name: `ggml-org_gemma-3-1b-it-GGUF_gemma-3-1b-it-Q4_K_M`."""
    return re.sub(r"^[^_]+_.+?-GGUF_", "", Path(name).stem, flags=re.IGNORECASE)


def _enters(source: str, name: str, depth: int) -> bool:
    """Whether a folder can hold models. Of the hub cache, only snapshots: blobs are the same files without names."""
    if source == HUGGING_FACE and depth == 0:
        return name.startswith("models--")
    if source == HUGGING_FACE and depth == 1:
        return name == "snapshots"
    return not name.startswith(".")


def _owner(place: Place, folder: Path) -> tuple[str, str]:
    """(publisher, repository) as the place's layout tells it; empty where it does not."""
    parts = folder.relative_to(place.path).parts
    if place.source == HUGGING_FACE:
        names = parts[0].split("--") if parts else []
        return (names[1], "--".join(names[2:])) if len(names) > 2 else ("", names[-1] if names else "")
    if len(parts) >= 2:
        return parts[0], parts[1]
    return "", parts[0] if parts else ""
