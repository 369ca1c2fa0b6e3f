"""What can be asked of a model: plain values, checked where they are made.

Every value out of range raises `ParameterError` with the parameter's name and its range; nothing is clamped in silence.
Each parameter is declared here and nowhere else (`core/declared.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Protocol, Self

from foredraft.core import tables
from foredraft.core.declared import Param, check_all, is_number, is_whole
from foredraft.core.errors import ParameterError
from foredraft.core.reasons import Reason

BUILTIN = "builtin"
"""In the place of a draft's name or path: the one inside the main model's file."""
MAX_DRAFT = 16
"""Largest look-ahead γ of a drafted proposal, in tokens. Deterministic sources may go further on their own."""


def _check_bias(table: Mapping[int, float]) -> None:
    """Raises `ParameterError` for what is no table of token ids and numbers."""
    words = Reason("allowed_bias")
    if not isinstance(table, Mapping):
        raise ParameterError("logit_bias", table, words)
    for token, bias in table.items():
        if not is_whole(token) or not 0 <= token < 2**31:
            raise ParameterError("logit_bias", token, words)
        if not is_number(bias) or not (bias == -math.inf or abs(bias) <= 1e6):
            raise ParameterError("logit_bias", bias, words)


def _check_acceptance(rule: object) -> None:
    if isinstance(rule, str) or not callable(getattr(rule, "accept", None)):
        tables.RULES.check(rule)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the next token is chosen from the logits. Defaults are those of llama.cpp.

    The order of the steps is fixed (`sampling/sampler.py`): bias, penalties, top-k, top-p, min-p, temperature.
    """

    temperature: Annotated[
        float,
        Param("How freely tokens are chosen; 0 is greedy: the most likely one, ties to the lowest id.",
              low=0, high=100, note="0 is greedy", flags=("--temperature", "--temp", "-t"), slider=(0, 2, 0.05)),
    ] = 0.8  # fmt: skip
    top_k: Annotated[int, Param("Keep the k most likely tokens; 0 keeps all.", low=0, same={-1: 0})] = 40
    top_p: Annotated[
        float,
        Param("Keep the smallest set of tokens whose probabilities sum to p; 1 keeps all.", low=0, high=1,
              slider=(0, 1, 0.01)),
    ] = 0.95  # fmt: skip
    min_p: Annotated[
        float,
        Param("Keep tokens at least this share as likely as the most likely one; 0 keeps all.", low=0, high=1,
              slider=(0, 1, 0.01)),
    ] = 0.05  # fmt: skip
    repeat_penalty: Annotated[
        float,
        Param("Make recent tokens less likely by this factor (Keskar et al. 2019); 1 is off.", low=0.001, high=1000,
              note="1 is off", aliases=("repetition_penalty",), slider=(1, 2, 0.01)),
    ] = 1.0  # fmt: skip
    presence_penalty: Annotated[
        float,
        Param(
            "Subtract this from the logit of every recent token; 0 is off.", low=-100, high=100, slider=(-2, 2, 0.05)
        ),
    ] = 0.0
    frequency_penalty: Annotated[
        float,
        Param("Subtract this from a recent token's logit for each time it occurred; 0 is off.", low=-100, high=100,
              slider=(-2, 2, 0.05)),
    ] = 0.0  # fmt: skip
    penalty_last_n: Annotated[
        int,
        Param("How many tokens back the three penalties look, prompt included; -1 is all, 0 none.", low=-1,
              aliases=("repeat_last_n",), flags=("--repeat-last-n", "--penalty-last-n")),
    ] = 64  # fmt: skip
    logit_bias: Annotated[
        Mapping[int, float],
        Param("Added to the logits of single token ids, before everything else; -inf forbids a token.",
              check=_check_bias, flags=(), setting=""),
    ] = field(default_factory=dict)  # fmt: skip
    seed: Annotated[
        int | None,
        Param("The same seed gives the same text, with any draft; left out or -1: a fresh one, which is reported.",
              low=0, high=2**64 - 1, same={-1: None}),
    ] = None  # fmt: skip

    def __post_init__(self) -> None:
        check_all(self)

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

    enabled: Annotated[bool, Param("Whether anything is guessed.", flags=(), setting="")] = True
    method: Annotated[
        str, Param("Who guesses: auto, a single source, or off.", choices=tables.methods, check=tables.check_method)
    ] = "auto"
    max_draft: Annotated[
        int | None,
        Param("Most tokens guessed in one round; left out, the controller decides; 0 is plain decoding.",
              low=0, high=MAX_DRAFT, slider=(1, MAX_DRAFT, 1)),
    ] = None  # fmt: skip
    adapt: Annotated[
        bool,
        Param("Let the controller choose how far to guess, and whether at all; else max_draft tokens in every round."),
    ] = True
    min_draft: Annotated[
        int,
        Param("Drafts shorter than this are not sent to the main model.", low=0, high=MAX_DRAFT,
              slider=(0, MAX_DRAFT, 1)),
    ] = 0  # fmt: skip
    p_min: Annotated[
        float,
        Param("Stop guessing when the draft is less sure than this.", low=0, high=1, slider=(0, 0.95, 0.05)),
    ] = 0.0
    acceptance: Annotated[
        str | Rule | type[Rule],
        Param("How guesses are judged. match: same seed, same text; rejection and block: same law, more tokens.",
              choices=tables.RULES.names, check=_check_acceptance),
    ] = "match"  # fmt: skip
    """A name of `tables.RULES`, an object, or a class that is made without arguments for each answer."""
    remember: Annotated[
        bool,
        Param("Where answers are kept as guesses for later ones: keep this one too, and guess from them.",
              flags=(), setting=""),
    ] = True  # fmt: skip

    def __post_init__(self) -> None:
        check_all(self)


def check_limits(max_tokens: int | None, stop: Sequence[str]) -> None:
    """Raises `ParameterError` for limits of an answer that cannot be."""
    if max_tokens is not None and not (is_whole(max_tokens) and max_tokens >= 0):
        raise ParameterError("max_tokens", max_tokens, Reason("allowed_whole_least", {"low": "0"}))
    for text in stop:
        if not text:
            raise ParameterError("stop", text, Reason("allowed_texts"))


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
        check_limits(self.max_tokens, self.stop)
