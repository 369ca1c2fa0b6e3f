"""What can be chosen by name: the sources of guesses, the rules, the controllers and the engines, one line each.

These tables are the truth: the command line, the REST API, the settings, the bench and the app offer what is in them.
A part of another package is an entry point of the group (`registry.py`).
"""

from __future__ import annotations

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
