"""What a chat asks of the model: its stored settings as the heart's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from foredraft.core.errors import ParameterError
from foredraft.core.params import SamplingParams, SpeculationParams
from foredraft.requests.generation_request import GenerationRequest

DEFAULT_MAX_DRAFT = 8
USUAL = SamplingParams()


SPECULATION = ("enabled", "method", "adjust", "max_draft", "min_draft", "p_min", "acceptance", "highlight")
"""The settings of the section "Speculative Decoding"."""


@dataclass(frozen=True, slots=True)
class Choices:
    """The settings of a chat. Stored as JSON; unknown or wrong values fall back to the defaults."""

    temperature: float = USUAL.temperature
    top_k: int = USUAL.top_k
    top_p: float = USUAL.top_p
    min_p: float = USUAL.min_p
    repeat_penalty: float = USUAL.repeat_penalty
    seed: int | None = None
    max_tokens: int | None = None
    enabled: bool = True
    method: str = "auto"
    adjust: bool = True
    """Let the controller choose how far to guess, up to `max_draft`; else that many in every round."""
    max_draft: int = DEFAULT_MAX_DRAFT
    min_draft: int = 0
    p_min: float = 0.0
    acceptance: str = "match"
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

    def speculation(self) -> SpeculationParams:
        return SpeculationParams(
            enabled=self.enabled,
            method=self.method,
            max_draft=None if self.adjust and self.max_draft == DEFAULT_MAX_DRAFT else self.max_draft,
            adapt=self.adjust,
            min_draft=min(self.min_draft, self.max_draft),
            p_min=self.p_min,
            acceptance=self.acceptance,
        )
