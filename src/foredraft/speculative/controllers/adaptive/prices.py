"""Prices of guesses in a shared pass: the machine's costs as one answer has to weigh them."""

from __future__ import annotations

import itertools
import math

from foredraft.core.params import MAX_DRAFT
from foredraft.speculative.controllers.adaptive.costs import CostModel


class Prices:
    """The price of guesses for R running answers of which G may guess, in plain steps of that pass.

    All R answers wait for all guesses. If each of the G guesses k tokens, the pass grows to R + G·k rows, and each of
    the G owes R / G of the time that costs. With one answer this is v(k + 1) − 1.
    """

    __slots__ = ("again", "draft", "first", "plain_s", "price", "sizes", "worst", "worst_found")

    def __init__(self, costs: CostModel, context: int, running: int, guessing: int, owed: int = 0) -> None:
        """`owed`: tokens that the pass reads again in any case."""
        curve, slowdown = costs.curve(context), costs.slowdown
        plain_s = curve.at(running)
        draft, first = (seconds / slowdown / plain_s for seconds in (costs.draft_s(guessing), costs.first_s(guessing)))
        now = curve.at(running + owed)
        worst = extra = [(curve.at(running + owed + guessing * k) - now) / plain_s for k in range(MAX_DRAFT + 1)]
        self.again: list[float] = []
        """By j: what a guess costs later if its first j tokens stand and the next does not, where they, and what was
        owed before, then are read again; empty where they are not."""
        if costs.forked:
            again = [curve.at(running + owed + j) / plain_s - 1.0 for j in range(1, MAX_DRAFT + 1)]
            worst = [x + (again[0] if k else 0.0) for k, x in enumerate(extra)]
            self.again = [running * max(0.0, x) for x in again]
        share = running / guessing
        self.sizes = len(curve.means)
        """Sizes of passes that have been timed."""
        self.plain_s = plain_s
        """A plain step, in seconds at slowdown 1."""
        self.price = [max(0.0, share * x) for x in extra]
        """By k: reading k guesses."""
        self.draft = share * draft
        """A draft step behind the first; infinite without a draft."""
        self.first = share * first
        """The first draft step of a round."""
        self.worst_found = list(itertools.accumulate(worst, max))
        """By k: how much longer the pass takes, at most, if none of up to k found guesses stands."""
        drawn = [0.0, *(first + k * draft for k in range(MAX_DRAFT))]
        self.worst = [0.0]
        """The same for drawn guesses."""
        if draft < math.inf:
            self.worst = list(itertools.accumulate((x + d for x, d in zip(worst, drawn, strict=True)), max))

    def best(self, limit: int, lam: float) -> float:
        """What up to `limit` drawn guesses bring at most, all of them standing, where λ tokens take a plain step."""
        return max((k / lam - worst for k, worst in enumerate(self.worst[: limit + 1])), default=0.0)

    def near(self, other: Prices, steps: float, share: float) -> bool:
        """Whether decisions made at the other prices are good at these: all within so many steps and this share."""
        if self is other:
            return True
        mine, its = ((p.draft, p.first, *p.price, *p.again) for p in (self, other))
        return all(a == b or abs(a - b) <= steps + share * b for a, b in zip(mine, its, strict=True))

    @property
    def of_one(self) -> float:
        """Drafting and reading one guess, in plain steps; 100 of them without a draft."""
        return min(self.first, 100.0) + self.price[1]
