"""What guesses cost in a shared pass: the costs of the machine, as one answer has to weigh them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from foredraft.core.params import MAX_DRAFT
from foredraft.speculative.controllers.costs import CostModel


class Prices:
    """The price of guesses for R running answers of which G may guess, in plain steps of that pass.

    All R answers wait for all guesses. If each of the G guesses k tokens, the pass grows to R + G·k rows, and each of
    the G owes R / G of the time that costs. With one answer this is v(k + 1) − 1.
    """

    __slots__ = ("draft", "plain_s", "price", "version", "worst", "worst_found")

    def __init__(self, costs: CostModel, context: int, running: int, guessing: int) -> None:
        curve = costs.curve(context)
        plain_s = curve.at(running)
        draft = costs.draft_s(guessing) / costs.pace / plain_s
        extra = [curve.at(running + guessing * k) / plain_s - 1.0 for k in range(MAX_DRAFT + 1)]
        share = running / guessing
        self.version = costs.version
        self.plain_s = plain_s
        """A plain step, in seconds at the machine's pace 1."""
        self.price = [max(0.0, share * x) for x in extra]
        """By k: reading k guesses."""
        self.draft = share * draft
        """A draft step; infinite without a draft."""
        self.worst_found = _rising(extra)
        """By k: how much longer the pass takes, at most, if none of up to k found guesses stands."""
        self.worst = _rising(x + k * draft for k, x in enumerate(extra)) if draft < math.inf else [0.0]
        """The same for drawn guesses."""

    def near(self, other: Prices) -> bool:
        """Whether decisions made at these prices are good at the others too."""
        if self is other:
            return True
        pairs = zip((self.draft, *self.price), (other.draft, *other.price), strict=True)
        return all(abs(a - b) <= 0.02 + 0.02 * b for a, b in pairs if a != b)


def _rising(values: Iterable[float]) -> list[float]:
    """The running maximum."""
    rising: list[float] = []
    for value in values:
        rising.append(max(value, rising[-1] if rising else 0.0))
    return rising
