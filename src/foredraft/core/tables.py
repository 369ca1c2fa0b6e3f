"""What can be chosen by name: the sources of guesses, the rules, the controllers and the engines, one line each.

These tables are the truth: the command line, the REST API, the settings, the bench and the app offer what is in them.
A part of another package is an entry point of the group (`registry.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foredraft.core.errors import ParameterError
from foredraft.core.reasons import one_of
from foredraft.core.registry import Entry, Registry

LOOKUP, MODEL, INNER = "lookup", "model", "inner"
"""Kinds of drafters: it finds its guesses in texts, and is made without a model; it draws them from one; it is made of
others, and no method by itself."""

DRAFTERS: Registry[Any] = Registry(
    "method",
    "foredraft.drafters",
    {
        "model": Entry("foredraft.speculative.drafters.model:ModelDrafter", MODEL, help="the draft model"),
        "grammar": Entry(
            "foredraft.speculative.drafters.grammar:GrammarDrafter", LOOKUP, 40, "what a grammar or schema leaves open"
        ),
        "prediction": Entry(
            "foredraft.speculative.drafters.prediction:PredictionDrafter", LOOKUP, 30, "the text that was predicted"
        ),
        "suffix": Entry(
            "foredraft.speculative.drafters.suffix:SuffixDrafter", LOOKUP, 20, "the longest repetition in the text"
        ),
        "ngram": Entry("foredraft.speculative.drafters.ngram:NgramDrafter", LOOKUP, 10, "the last two tokens, again"),
        "auto": Entry("foredraft.speculative.drafters.arbiter:Arbiter", INNER),
        "head": Entry("foredraft.speculative.drafters.head:HeadDrafter", INNER),
        "none": Entry("foredraft.speculative.drafters.none:NoDrafter", INNER),
    },
    kind=LOOKUP,
)
"""Who guesses. Lookup drafters are made with what they name of `store` (a `SuffixStore` of past answers, or None) and
`clock`. Among equals the one with the higher priority goes first."""

RULES: Registry[Any] = Registry(
    "acceptance",
    "foredraft.rules",
    {
        "match": Entry("foredraft.speculative.acceptance.match:Match", help="same seed, same text"),
        "rejection": Entry("foredraft.speculative.acceptance.rejection:Rejection", help="same law, token by token"),
        "block": Entry("foredraft.speculative.acceptance.block:Block", help="same law, the most tokens"),
    },
)
"""Who judges. Made without arguments, for each answer."""

ALONE, TOGETHER = "alone", "together"
"""Kinds of controllers: the draft model guesses alone; it shares the rounds with the lookup drafters."""

CONTROLLERS: Registry[Any] = Registry(
    "controller",
    "foredraft.controllers",
    {
        "adaptive": Entry(
            "foredraft.speculative.controllers:throttled_adaptive", TOGETHER, help="guesses as far as it pays"
        ),
        "fixed": Entry("foredraft.speculative.controllers:Fixed", ALONE, help="always looks as far"),
    },
    kind=TOGETHER,
)
"""How far to look. Made with what they name of `costs` (a `CostModel`, measured at the load), `calibration` (what gets
accepted, kept between starts), `promise` and `gamma` (`LoadSettings.fixed_look_ahead`)."""

GGUF, OWN = "gguf", "own"
"""Kinds of engines: it opens GGUF files with llama.cpp's options, so that headers, memory, numerics and processes are
seen to (`pair/files.py`); it opens files of its own. (`INNER`: it is made of another.)"""

ENGINES: Registry[Any] = Registry(
    "engine",
    "foredraft.engines",
    {
        "llamacpp": Entry("foredraft.engines.llamacpp:LlamaCppEngine", GGUF, files=(".gguf",), help="llama.cpp"),
        "toy": Entry("foredraft.engines.toy:open_toy", OWN, files=(".toy",), help="exact toy models"),
        "isolated": Entry("foredraft.engines.isolated:IsolatedEngine", INNER),
    },
    kind=OWN,
)
"""Who computes. One with files of its own is called with the file's path, and with what it names of `context`, `slots`,
`batch` and `threads`. Where it comes from another package, its attribute `files` names the ends of their names."""

METHOD_WORDS = ("auto", "off")
"""Methods that are no source."""


def methods() -> tuple[str, ...]:
    """The values of `SpeculationParams.method`: who may guess."""
    first, last = METHOD_WORDS
    return (first, *DRAFTERS.names(MODEL, LOOKUP), last)


def check_method(method: object) -> None:
    """Raises `ParameterError` for a method that nobody knows."""
    if method not in METHOD_WORDS and not DRAFTERS.has(method, MODEL, LOOKUP):
        raise ParameterError("method", method, one_of(methods()))


def engines() -> tuple[str, ...]:
    """The values of `LoadSettings.engine`."""
    return ("auto", *ENGINES.names(GGUF, OWN))


def check_engine(name: object) -> None:
    """Raises `ParameterError` for an engine that nobody knows."""
    if name != "auto" and not ENGINES.has(name, GGUF, OWN):
        raise ParameterError("engine", name, one_of(engines()))


def engine_of(path: Path, wish: str = "auto") -> str:
    """Which engine opens a file: the one that was named, or the one whose files end so; else GGUF is expected."""
    if wish != "auto":
        return wish
    end = path.suffix.lower()
    entries = ENGINES.entries if end and end != ".gguf" else {}
    for name, entry in entries.items():
        files = entry.files
        if entry.package and name in ENGINES.usable(OWN):
            files = tuple(getattr(ENGINES[name], "files", ()))
        if end in files:
            return name
    return "llamacpp"
