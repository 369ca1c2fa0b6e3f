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

    __slots__ = ("again", "draft", "first", "plain_s", "price", "version", "worst", "worst_found")

    def __init__(self, costs: CostModel, context: int, running: int, guessing: int, owed: int = 0) -> None:
        """`owed`: tokens that the pass reads again in any case."""
        curve = costs.curve(context)
        plain_s = curve.at(running)
        draft = costs.draft_s(guessing) / costs.pace / plain_s
        first = costs.first_s(guessing) / costs.pace / plain_s
        now = curve.at(running + owed)
        extra = [(curve.at(running + owed + guessing * k) - now) / plain_s for k in range(MAX_DRAFT + 1)]
        worst = extra
        self.again: list[float] = []
        """By j: what a guess costs later if its first j tokens stand and the next does not, where they, and what was
        owed before, then are read again; empty where they are not."""
        if costs.forked:
            again = [curve.at(running + owed + j) / plain_s - 1.0 for j in range(1, MAX_DRAFT + 1)]
            worst = [x + (again[0] if k else 0.0) for k, x in enumerate(extra)]
            self.again = [running * max(0.0, x) for x in again]
        share = running / guessing
        self.version = costs.version
        self.plain_s = plain_s
        """A plain step, in seconds at the machine's pace 1."""
        self.price = [max(0.0, share * x) for x in extra]
        """By k: reading k guesses."""
        self.draft = share * draft
        """A draft step behind the first; infinite without a draft."""
        self.first = share * first
        """The first draft step of a round."""
        self.worst_found = _rising(worst)
        """By k: how much longer the pass takes, at most, if none of up to k found guesses stands."""
        drawn = [0.0, *(first + k * draft for k in range(MAX_DRAFT))]
        self.worst = _rising(x + d for x, d in zip(worst, drawn, strict=True)) if draft < math.inf else [0.0]
        """The same for drawn guesses."""

    def best(self, limit: int, lam: float) -> float:
        """What up to `limit` drawn guesses bring at most, all of them standing, where λ tokens take a plain step."""
        return max((k / lam - self.worst[k] for k in range(1, min(limit, len(self.worst) - 1) + 1)), default=0.0)

    def near(self, other: Prices) -> bool:
        """Whether decisions made at these prices are good at the others too."""
        if self is other:
            return True
        mine, its = ((p.draft, p.first, *p.price, *p.again) for p in (self, other))
        pairs = zip(mine, its, strict=True)
        return all(abs(a - b) <= 0.02 + 0.04 * b for a, b in pairs if a != b)


def _rising(values: Iterable[float]) -> list[float]:
    """The running maximum."""
    rising: list[float] = []
    for value in values:
        rising.append(max(value, rising[-1] if rising else 0.0))
    return rising
