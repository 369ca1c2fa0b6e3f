"""Who guesses: one file a source. To add one, write it and add a line to `core/tables.py`; the contract tests find
it."""

from collections.abc import Callable

from foredraft.core import tables
from foredraft.core.registry import Registry, made
from foredraft.speculative.drafters.arbiter import Arbiter
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.drafters.grammar import GrammarDrafter
from foredraft.speculative.drafters.head import HeadDrafter
from foredraft.speculative.drafters.model import ModelDrafter
from foredraft.speculative.drafters.ngram import NgramDrafter
from foredraft.speculative.drafters.none import NoDrafter
from foredraft.speculative.drafters.prediction import PredictionDrafter
from foredraft.speculative.drafters.suffix import SuffixDrafter, SuffixStore

__all__ = [
    "DRAFTERS",
    "Arbiter",
    "Drafter",
    "GrammarDrafter",
    "HeadDrafter",
    "ModelDrafter",
    "NgramDrafter",
    "NoDrafter",
    "PredictionDrafter",
    "SuffixDrafter",
    "SuffixStore",
    "lookup_drafters",
]

DRAFTERS: Registry[Callable[..., Drafter]] = tables.DRAFTERS
"""By name. All but the two that draw their guesses, which need an engine, can be made without arguments."""


def lookup_drafters(store: SuffixStore | None = None) -> list[Drafter]:
    """New ones of all sources that find their guesses in texts and cost next to nothing, in order of preference among
    equals. `store` has answers of the past, for those that look there."""
    return [made(part, store=store) for part in DRAFTERS.usable(tables.LOOKUP).values()]
