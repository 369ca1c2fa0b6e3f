"""Draft controllers: the protocol of what decides γ, the look-ahead of each sequence in each round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from foredraft.core.reasons import Reason
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

MODEL = "model"
"""The source that draws its guesses, a draft model: it costs time before anything is read. All others are found."""


class LookAhead(Protocol):
    """The permission to guess for one sequence in one round.

    A drafter reads `limit`, `go_on` and `wants_confidence`; `offer` and `keep` are for whoever chooses among several
    sources (`drafters/arbiter.py`).
    """

    @property
    def limit(self) -> int:
        """Most tokens to guess now; 0 is plain decoding, and always legal."""

    def go_on(self, drafted: int, confidence: float) -> bool:
        """May one more token be guessed after `drafted` of them, the last with this confidence (nan: not known)?

        Asked between draft steps. What has been drawn is never dropped: only the next token is not drawn
        (non-anticipation, docs/concepts/algorithms.md §1.6).
        """

    @property
    def wants_confidence(self) -> bool:
        """False spares the drafter the work of computing confidences."""

    def offer(self, source: str) -> tuple[int, float]:
        """Asked before a source guesses: (most tokens it may guess now, the net gain expected of letting it guess).

        Gains are in plain steps of this sequence; 0 is what plain decoding brings.
        """

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        """Asked of ready guesses: (how many of them to put before the target, the net gain expected of that).

        Only for guesses that may be dropped without bending the law: deterministic ones, and any under `match`.
        """


class DraftController(Protocol):
    """Decides how far to guess and learns from every round. One controller serves all sequences of one pair."""

    def plan(self, sequences: Sequence[RunningSequence]) -> Sequence[LookAhead]:
        """One look-ahead for each sequence of the coming round."""

    def reads_along(self, sequence: RunningSequence) -> bool:
        """Whether the drafter should read this prompt with the target. Not where it will not be asked to guess: reading
        a prompt twice takes time, and a drafter can catch up later."""

    def observe(self, record: Round) -> None:
        """Learn from a finished round: what was accepted and what each part cost."""

    @property
    def status(self) -> tuple[str, Reason | str | None]:
        """(active | off | paused, the reason: one that the catalogue of words has, or a sentence)."""
