"""Fixed look-ahead: the simplest controller, kept beside the adaptive one as its reference."""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.core.errors import ParameterError
from foredraft.core.params import MAX_DRAFT
from foredraft.core.reasons import Reason
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.controllers.hyperparameters import DEFAULT
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

DEFAULT_GAMMA = DEFAULT.gamma


class FixedLookAhead:
    """A look-ahead of `limit` tokens, whatever the draft thinks of them, unless it is less sure than `p_min`."""

    __slots__ = ("_least", "_p_min", "limit", "wants_confidence")

    def __init__(self, limit: int, p_min: float = 0.0, least: int = 0) -> None:
        """`least`: tokens that are drawn whatever `p_min` says."""
        self.limit = limit
        self._p_min = p_min
        self._least = least
        self.wants_confidence = p_min > 0.0

    @classmethod
    def of(cls, sequence: RunningSequence, limit: int) -> FixedLookAhead:
        """That of an answer, with what its request says."""
        asked = sequence.request.speculation
        return cls(limit, asked.p_min, asked.min_draft if sequence.law_bound else 0)

    def go_on(self, drafted: int, confidence: float) -> bool:
        return drafted < self._least or not confidence < self._p_min

    def offer(self, source: str) -> tuple[int, float]:
        """Less than one found token brings: what is found in the text goes before what a model must draw."""
        return self.limit, DEFAULT.drawn_gain if self.limit else 0.0

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        """All of them up to the limit, but nothing from the first unsure one on."""
        k = min(len(confidence), self.limit)
        k = next((i for i in range(k) if confidence[i] < self._p_min), k)
        return k, float(k)


NO_LOOKAHEAD = FixedLookAhead(0)
"""The look-ahead of a round in which nobody need be asked."""


class Fixed:
    """γ tokens in every round; a request may ask for fewer. Without γ as many as the request allows, or three."""

    def __init__(self, gamma: int | None = None) -> None:
        if gamma is not None and not 0 <= gamma <= MAX_DRAFT:
            raise ParameterError("fixed_look_ahead", gamma, f"a whole number from 0 to {MAX_DRAFT}")
        self.gamma = gamma

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        return [FixedLookAhead.of(s, self._wish(s)) for s in sequences]

    def reads_along(self, sequence: RunningSequence) -> bool:
        return self._wish(sequence) > 0

    def _wish(self, sequence: RunningSequence) -> int:
        wish = self.gamma
        if wish is None:
            wish = DEFAULT_GAMMA if sequence.request.speculation.max_draft is None else MAX_DRAFT
        return sequence.look_ahead(wish)

    def observe(self, record: Round) -> None:
        """A fixed distance learns nothing."""

    @property
    def status(self) -> tuple[str, Reason | str | None]:
        if self.gamma == 0:
            return "off", Reason("look_ahead_zero")
        gamma = DEFAULT_GAMMA if self.gamma is None else self.gamma
        return "active", Reason("guessing_fixed", {"n": gamma})
