"""Names as people bring them from other programs: LM Studio's keys, the hub's repositories, files, Ollama's tags.

| brought | from |
|---|---|
| `unsloth/Qwen3-8B-GGUF`, `…:Q8_0`, `hf.co/…`, an address of the hub | the hub, llama.cpp, Ollama |
| `openai/gpt-oss-20b`, `meta-llama-3.1-8b-instruct` | LM Studio |
| `Meta-Llama-3.1-8B-Instruct-Q8_0.gguf`, with its repository in front or without | LM Studio, llama.cpp |
| `qwen2.5-coder:1.5b`, `…:latest` | Ollama |

Upper case does not matter. A publisher that is named must be the file's, unless no file of that publisher is there and
the name is one of LM Studio's keys, which name the model's maker rather than who made the file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

_HOST = re.compile(r"^(?:https?://)?(?:www\.)?(?:hf\.co|huggingface\.co)/|^hf://")
_REVISION = re.compile(r"/(?:resolve|blob|tree|raw)/[^/]+")
_PART = re.compile(r"-\d{5}-of-\d{5}$")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model of the shelf lies, as its place tells it. Any of it may be empty."""

    publisher: str = ""
    repository: str = ""
    """The repository's name, or the folder's."""
    file: str = ""
    """The (first) file's name."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A name, taken apart: all in lower case."""

    publisher: str
    repository: str
    """Between publisher and file, where there are three parts."""
    last: str
    quantisation: str
    of_hub: bool
    """It says the hub's address: the publisher is part of it."""


def taken_apart(wanted: str) -> Brought:
    """The parts of a name that somebody brings."""
    text = unicodedata.normalize("NFC", wanted).strip().lower()
    bare = _REVISION.sub("", _HOST.sub("", text)).strip("/")
    parts = [part for part in bare.split("/") if part]
    last = parts[-1] if parts else ""
    last, _, quantisation = last.replace("@", ":").partition(":")
    before = parts[:-1]
    return Brought(
        publisher=before[0] if before else "",
        repository=before[1] if len(before) > 1 else "",
        last=last,
        quantisation="" if quantisation == "latest" else quantisation,
        of_hub=_HOST.match(text) is not None,
    )


def rules(wanted: str) -> tuple[Callable[[str, Origin], bool], ...]:
    """Whether a model (its full name, its origin) is meant, in the order in which to ask: the first rule that fits
    anything decides."""
    name = taken_apart(wanted)
    if not name.last:
        return ()
    return (
        lambda full, origin: _publisher_fits(name, full, origin) and _is_file(name, origin),
        lambda full, origin: _publisher_fits(name, full, origin) and _is_model(name, full, origin),
    )


def last_rules(wanted: str) -> tuple[Callable[[str, Origin], bool], ...]:
    """The same, for what nothing else fits: LM Studio's keys with the maker's name, Ollama's tags."""
    name = taken_apart(wanted)
    found: list[Callable[[str, Origin], bool]] = []
    if name.publisher and not (name.of_hub or name.repository or name.last.endswith(("-gguf", ".gguf"))):
        found.append(lambda full, origin: _is_model(name, full, origin))
    if name.quantisation and not name.publisher:  # "qwen2.5-coder:1.5b", whose tag is a size
        tagged = f"{name.last}-{name.quantisation}"
        found.append(lambda full, origin: tagged in (_base(full), _stem(origin.file)))
        found.append(lambda full, _: _base(full).startswith(f"{tagged}-"))
    return tuple(found)


def _publisher_fits(name: Brought, full: str, origin: Origin) -> bool:
    if not name.publisher:
        return True
    owners = (origin.publisher.lower(), full.rpartition("/")[0])
    if name.publisher not in owners:
        return False
    return not name.repository or _bare(name.repository) == _bare(origin.repository.lower())


def _is_file(name: Brought, origin: Origin) -> bool:
    file = unicodedata.normalize("NFC", origin.file).lower()
    return bool(file) and not name.quantisation and name.last in (file, _stem(file), _PART.sub("", _stem(file)))


def _is_model(name: Brought, full: str, origin: Origin) -> bool:
    """By its repository (`-GGUF` or not), or by its own name."""
    wanted, stem = _bare(name.last), _PART.sub("", _stem(origin.file))
    if wanted not in (_bare(origin.repository.lower()), _base(full)):
        return False
    own = full.partition("@")[2]
    given = name.quantisation
    return not given or own == given or re.search(rf"[-._]{re.escape(given)}$", f"-{stem}") is not None


def _base(full: str) -> str:
    return full.rsplit("/", 1)[-1].partition("@")[0]


def _bare(repository: str) -> str:
    return re.sub(r"[-_.]gguf$", "", repository)


def _stem(file: str) -> str:
    return file.lower().removesuffix(".gguf")
