"""What a chat asks of the model: its stored settings as the heart's parameters."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from foredraft.core.errors import ParameterError
from foredraft.core.params import SamplingParams, SpeculationParams

DEFAULT_MAX_DRAFT = 8


@dataclass(frozen=True, slots=True)
class Choices:
    """The settings of a chat. Stored as JSON; unknown or wrong values fall back to the defaults."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    enabled: bool = True
    method: str = "auto"
    adjust: bool = True
    """Let the controller choose how far to guess, up to `max_draft`."""
    max_draft: int = DEFAULT_MAX_DRAFT
    min_draft: int = 0
    p_min: float = 0.0
    acceptance: str = "match"
    highlight: bool = True

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Choices:
        known = {field.name for field in fields(cls)}
        choices = cls(**{name: value for name, value in stored.items() if name in known})
        try:
            choices.sampling()
            choices.speculation()
        except (ParameterError, TypeError):
            return cls()
        return choices

    def stored(self) -> dict[str, Any]:
        """Only what differs from the defaults."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    def with_(self, **values: Any) -> Choices:
        return replace(self, **values)

    def sampling(self) -> SamplingParams:
        return SamplingParams(
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            seed=self.seed,
        )

    def speculation(self) -> SpeculationParams:
        return SpeculationParams(
            enabled=self.enabled,
            method=self.method,
            max_draft=None if self.adjust and self.max_draft == DEFAULT_MAX_DRAFT else self.max_draft,
            min_draft=min(self.min_draft, self.max_draft),
            p_min=self.p_min,
            acceptance=self.acceptance,
        )
