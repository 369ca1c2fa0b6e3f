"""What a chat asks of the model: its stored settings as the heart's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from foredraft.core.declared import declared
from foredraft.core.errors import ParameterError
from foredraft.core.params import MAX_DRAFT, SamplingParams, SpeculationParams
from foredraft.requests.generation_request import GenerationRequest

USUAL = SamplingParams()
DEFAULT_MAX_DRAFT = 8
"""Tokens guessed in every round, where the controller does not choose and nothing was said."""
SAMPLING = tuple(one for one in declared(SamplingParams).values() if one.kind in (int, float))
"""The parameters of the section "Sampling"."""
SPECULATION = ("enabled", "method", "adjust", "max_draft", "min_draft", "p_min", "acceptance", "highlight")
"""The settings of the section "Speculative Decoding"."""

if TYPE_CHECKING:

    class _Declared:
        """A field for each declared parameter, with its default."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _ASKED = tuple(
        declared(SpeculationParams)[name] for name in ("enabled", "method", "min_draft", "p_min", "acceptance")
    )
    _Declared = make_dataclass(
        "_Declared", [(one.name, Any, one.default) for one in (*SAMPLING, *_ASKED)], frozen=True, slots=True
    )


@dataclass(frozen=True, slots=True)
class Choices(_Declared):
    """The settings of a chat: those of declared parameters, and these. Stored as JSON; unknown or wrong values fall
    back to the defaults."""

    if TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None: ...

    max_tokens: int | None = None
    adjust: bool = True
    """Let the controller choose how far to guess, up to `max_draft`; else that many in every round."""
    max_draft: int | None = None
    highlight: bool = True
    structured: bool = False
    """Answers are JSON of `schema`; of any object where that is empty."""
    schema: str = ""
    """A JSON schema as it was typed, sound or not (`ui/structure.py`)."""

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Choices:
        known = {field.name for field in fields(cls)}
        choices = cls(**{name: value for name, value in stored.items() if name in known})
        try:
            choices.sampling()
            choices.speculation()
            choices.schema.strip()
        except (ParameterError, TypeError, AttributeError):
            return cls()
        return choices

    def stored(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def everything(self) -> dict[str, Any]:
        """All of them by name."""
        return asdict(self)

    def with_(self, **values: Any) -> Choices:
        return replace(self, **values)

    def request(self, messages: Sequence[Mapping[str, Any]]) -> GenerationRequest:
        """What is asked for with these settings, but for the answer's schema."""
        return GenerationRequest(
            messages=messages,
            sampling=self.sampling(),
            speculation=self.speculation(),
            max_tokens=self.max_tokens,
        )

    def sampling(self) -> SamplingParams:
        return SamplingParams.of(self)

    @property
    def draft_size(self) -> int:
        """Most tokens guessed in a round, as it is shown and meant."""
        if self.max_draft is not None:
            return self.max_draft
        return MAX_DRAFT if self.adjust else DEFAULT_MAX_DRAFT

    def speculation(self) -> SpeculationParams:
        return SpeculationParams(
            enabled=self.enabled,
            method=self.method,
            max_draft=self.max_draft if self.adjust else self.draft_size,
            adapt=self.adjust,
            min_draft=min(self.min_draft, self.draft_size),
            p_min=self.p_min,
            acceptance=self.acceptance,
        )
