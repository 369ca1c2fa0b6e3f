"""Who guesses: one file a source. To add one, write it and add a line here; the contract tests find it."""

from collections.abc import Callable

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
]

DRAFTERS: dict[str, Callable[..., Drafter]] = {
    "auto": Arbiter,
    "none": NoDrafter,
    "model": ModelDrafter,
    "head": HeadDrafter,
    "ngram": NgramDrafter,
    "suffix": SuffixDrafter,
    "prediction": PredictionDrafter,
    "grammar": GrammarDrafter,
}
"""By name. All but the two that draw their guesses, which need an engine, can be made without arguments."""
