"""What the sources share that find their guesses instead of drawing them: in the text, or in a text given.

Such a guess is deterministic, a point mass without a law of its own. It costs almost nothing until the target reads
it, may be cut or dropped at will under every rule, and may look further ahead than a drawn one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Protocol

from foredraft.engines.base import Chunk
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

MAX_FOUND = 64
"""Largest look-ahead of a found guess, in tokens. The limit is the plan's; this only bounds a generous one."""

READ_A_ROUND = 2048
"""Most tokens of a text that a source takes in before one guess (some ten milliseconds); the rest has to wait. A source
that has not caught up yet does not guess."""

_LENGTHS = (2, 3, 5, 8, 16)
_PRIOR = (0.2, 0.35, 0.6, 0.8, 0.9, 0.95)


def likelihood(length: int) -> float:
    """A first idea of how likely the text goes on as it did before, after `length` equal tokens.

    See docs/concepts/algorithms.md §4.1. What it is really worth on this text the controller's calibration learns.
    """
    return _PRIOR[bisect_right(_LENGTHS, length)]


class Trace(Protocol):
    """What a source knows of one running sequence."""

    def follow(self, tokens: Sequence[int]) -> bool:
        """Take in the sequence's tokens, at most `READ_A_ROUND` new ones; True when all are."""

    def find(self, limit: int) -> tuple[list[int], list[float]]:
        """At most `limit` tokens that may come next, each with a confidence in [0, 1]."""


class Finder:
    """A drafter made of one `Trace` a sequence. `begin` makes the trace of a new one."""

    name: str

    def __init__(self, begin: Callable[[RunningSequence], Trace], clock: Callable[[], float]) -> None:
        self._begin = begin
        self._clock = clock
        self._known: dict[int, _Known] = {}  # by slot

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        return [self._propose(sequence, plan.limit) for sequence, plan in zip(sequences, plans, strict=True)]

    def target_read(self, chunks: Sequence[Chunk]) -> None:
        """A text is all it needs."""

    def prefill(self, chunks: Sequence[Chunk]) -> None:
        """The tokens are read when they are needed."""

    def observe(self, record: Round) -> None:
        """What came of the last guess is seen in the text itself."""

    def forget(self, slot: int) -> None:
        self._known.pop(slot, None)

    def close(self) -> None:
        self._known.clear()

    def _propose(self, sequence: RunningSequence, limit: int) -> Proposal:
        limit = sequence.look_ahead(min(limit, MAX_FOUND))
        if limit <= 0:
            return Proposal()
        began = self._clock()
        known = self._known.get(sequence.slot)
        if known is None or known.sequence is not sequence:
            known = self._known[sequence.slot] = _Known(sequence, self._begin(sequence))
        tokens, confidence = known.guess(limit)
        if not tokens:
            return Proposal()
        return Proposal(tokens, None, self.name, confidence, self._clock() - began)


class _Known:
    """One sequence: its trace, and whether the last guess came true."""

    __slots__ = ("at", "last", "sequence", "trace", "trust")

    def __init__(self, sequence: RunningSequence, trace: Trace) -> None:
        self.sequence = sequence
        self.trace = trace
        self.at = 0
        self.last: list[int] = []
        self.trust = 1.0

    def guess(self, limit: int) -> tuple[list[int], list[float]]:
        sequence = self.sequence
        came = sequence.tokens[self.at : self.at + len(self.last)]
        if came and self.last:
            self.trust = 1.0 if came[0] == self.last[0] else 0.7
        self.last = []
        if not self.trace.follow(sequence.tokens):
            return [], []
        tokens, confidence = self.trace.find(limit)
        end = len(tokens)
        if not sequence.request.ignore_eos:  # nothing comes after the end
            end = next((i + 1 for i, token in enumerate(tokens) if token in sequence.eog), end)
        self.at, self.last = len(sequence.tokens), tokens[:end]
        return self.last, [self.trust * c for c in confidence[:end]]
