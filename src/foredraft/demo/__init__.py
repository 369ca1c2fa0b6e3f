"""The embedded pair: a small main model and its draft, trained by the recipe in `training/` (see MODEL_CARD.md).

With it the program works in the first minute, offline, and tests run on real trained weights. It answers simple
questions in English and Japanese and says honestly what it does not know.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path


@cache
def _path(name: str) -> Path:
    """A file of this package as a real path, which llama.cpp can map: wheels are installed unpacked."""
    return Path(str(files(__name__).joinpath(name)))


def main_path() -> Path:
    """The main model (GGUF, Q8_0): whose text it is."""
    return _path("main.gguf")


def draft_path() -> Path:
    """The draft model (GGUF), with the same vocabulary: it guesses what the main model will say."""
    return _path("draft.gguf")


def is_embedded(path: Path) -> bool:
    """Whether a file is one of this package's own, which need no checking."""
    return path.resolve() in (main_path().resolve(), draft_path().resolve())


def card_path() -> Path:
    """The model card: recipe, data, what the pair can and cannot do, and its evaluation."""
    return _path("MODEL_CARD.md")
