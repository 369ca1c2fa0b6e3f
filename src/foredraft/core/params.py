"""What can be asked of a model: plain values, checked where they are made.

Every value out of range raises `ParameterError` with the parameter's name and its range; nothing is clamped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self

from foredraft.core import tables
from foredraft.core.errors import ParameterError

BUILTIN = "builtin"
"""In the place of a draft's name or path: the one inside the main model's file."""
MAX_DRAFT = 16
"""Largest look-ahead γ of a drafted proposal, in tokens. Deterministic sources may go further on their own."""


def _number(name: str, value: object, low: float, high: float, words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ParameterError(name, value, words)
    if not low <= value <= high:
        raise ParameterError(name, value, words)


def _integer(name: str, value: object, low: int, high: float, words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(name, value, words)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen from the logits. Defaults are those of llama.cpp.

    The order of the steps is fixed (`sampling/sampler.py`): bias, penalties, top-k, top-p, min-p, temperature.
    """

    temperature: float = 0.8
    """0 is greedy: the most likely token, ties to the lowest id."""
    top_k: int = 40
    """Keep the k most likely tokens; 0 keeps all."""
    top_p: float = 0.95
    """Keep the smallest set of tokens whose probabilities sum to p; 1 keeps all."""
    min_p: float = 0.05
    """Keep tokens at least this share as likely as the most likely one; 0 keeps all."""
    repeat_penalty: float = 1.0
    """Divide positive (multiply negative) logits of recent tokens by this; 1 is off (Keskar et al. 2019)."""
    presence_penalty: float = 0.0
    """Subtract this from the logit of every token that occurred in the window (OpenAI)."""
    frequency_penalty: float = 0.0
    """Subtract this for every occurrence in the window (OpenAI)."""
    penalty_last_n: int = 64
    """The window of all three penalties, in tokens back from the end, prompt included; -1 is everything, 0 nothing."""
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of single token ids, before everything else. -inf forbids a token."""
    seed: int | None = None
    """None draws a fresh seed, which the answer reports."""

    def __post_init__(self) -> None:
        _number("temperature", self.temperature, 0.0, 100.0, "a number from 0 (greedy) to 100")
        _integer("top_k", self.top_k, 0, math.inf, "a whole number of at least 0 (0 keeps all)")
        _number("top_p", self.top_p, 0.0, 1.0, "a number from 0 to 1")
        _number("min_p", self.min_p, 0.0, 1.0, "a number from 0 to 1")
        _number("repeat_penalty", self.repeat_penalty, 1e-3, 1e3, "a number from 0.001 to 1000 (1 is off)")
        _number("presence_penalty", self.presence_penalty, -100.0, 100.0, "a number from -100 to 100")
        _number("frequency_penalty", self.frequency_penalty, -100.0, 100.0, "a number from -100 to 100")
        _integer("penalty_last_n", self.penalty_last_n, -1, math.inf, "a whole number of at least -1")
        for token, bias in self.logit_bias.items():
            _integer("logit_bias", token, 0, 2**31 - 1, "a table of token id to number")
            if bias != -math.inf:
                _number(
                    "logit_bias", bias, -1e6, 1e6, "a table of token id to a number from -1000000 to 1000000, or -inf"
                )
        if self.seed is not None:
            _integer("seed", self.seed, 0, 2**64 - 1, "a whole number from 0 to 2^64 - 1")

    @classmethod
    def of(cls, source: object) -> Self:
        """From whatever has attributes of these names (a command's options, a chat's settings); the rest is default."""
        return cls(**{f.name: getattr(source, f.name) for f in fields(cls) if hasattr(source, f.name)})

    @property
    def greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def penalised(self) -> bool:
        """True when any penalty can change a logit."""
        return self.penalty_last_n != 0 and (
            self.repeat_penalty != 1.0 or self.presence_penalty != 0.0 or self.frequency_penalty != 0.0
        )


class Rule(Protocol):
    """An acceptance rule, as far as parameters go (`speculative/acceptance/base.py`)."""

    @property
    def name(self) -> str: ...

    @property
    def needs_laws(self) -> bool: ...

    def accept(self, laws: Any, proposal: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class SpeculationParams:
    """How the draft is used for one request. The text does not depend on any of this."""

    enabled: bool = True
    method: str = "auto"
    """Who guesses: auto, off, or a source (`tables.methods`)."""
    max_draft: int | None = None
    """Most tokens guessed in one round; None leaves it to the controller. 0 is plain decoding."""
    adapt: bool = True
    """Let the controller choose how far to guess, and whether at all. False: `max_draft` tokens in every round, also
    where that is slower."""
    min_draft: int = 0
    """Fewest tokens guessed once a round guesses at all."""
    p_min: float = 0.0
    """Stop guessing when the draft's own confidence falls below this."""
    acceptance: str | Rule | type[Rule] = "match"
    """match (same seed, same text), rejection or block (same law, most tokens; for temperature > 0), or another rule:
    its name in `tables.RULES`, an object, or a class that is made without arguments for each answer."""
    remember: bool = True
    """Where past answers are kept as guesses for later ones: keep this one too, and guess from them."""

    def __post_init__(self) -> None:
        tables.check_method(self.method)
        if isinstance(self.acceptance, str) or not callable(getattr(self.acceptance, "accept", None)):
            tables.RULES.check(self.acceptance)
        words = f"a whole number from 0 to {MAX_DRAFT}"
        if self.max_draft is not None:
            _integer("max_draft", self.max_draft, 0, MAX_DRAFT, words)
        _integer("min_draft", self.min_draft, 0, MAX_DRAFT, words)
        _number("p_min", self.p_min, 0.0, 1.0, "a number from 0 to 1")


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: tokens in, limits, and how to choose. Engine and server words do not appear here."""

    prompt: tuple[int, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationParams = field(default_factory=SpeculationParams)
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts; they may span tokens."""
    max_tokens: int | None = None
    """Most tokens of the answer; None ends at end of generation or the context's end."""
    prediction: tuple[int, ...] = ()
    """Text the caller expects, as tokens: a free source of guesses."""
    ignore_eos: bool = False
    """Go on past end of generation (benchmarks)."""
    session: str = ""
    """Whose request it is: a name of the conversation that keeps to its own cached prefix. Empty: nobody said."""
    end_tokens: frozenset[int] = frozenset()
    """Tokens that end the answer beside those the model's file names."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None:
            _integer("max_tokens", self.max_tokens, 0, math.inf, "a whole number of at least 0")
        for text in self.stop:
            if not text:
                raise ParameterError("stop", text, "texts of at least one character")
