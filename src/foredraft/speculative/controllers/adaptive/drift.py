"""Drift of one text: how its guesses fare just now against what the acceptance table expects."""

from __future__ import annotations

from collections.abc import Sequence
from operator import mul

from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters


class DriftFilter:
    """A factor on acceptance: a Bayes filter over a few levels (a hidden Markov model). Each verdict weighs them, each
    token lets the level change with a small chance.

    The acceptance table remembers hundreds of guesses over all answers; this notices within a few that a text has
    turned.
    """

    __slots__ = ("_hyper", "_rested", "_weights", "level")

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self._rested = 0
        self.level = 1.0
        """Expected factor."""
        self._weigh(hyper.level_prior, 0)

    def learn(self, rates: Sequence[float], stood: int) -> None:
        """Of guesses expected to stand with these rates the first so many did, and the one behind them did not."""
        surest, factors = self._hyper.surest, [1.0] * len(self._weights)
        if stood:
            # a chance above 1 makes no sense: where the highest level would give one, it counts for less
            top = max(1.0, surest * stood / sum(rates[:stood]))
            factors = [min(level, top) ** stood for level in self._hyper.levels]
        if stood < len(rates):
            factors = list(map(mul, factors, [1.0 - min(surest, level * rates[stood]) for level in self._hyper.levels]))
        self._weigh(list(map(mul, self._weights, factors)), len(rates))

    def on_skip(self, tokens: int) -> None:
        """So many tokens were written without a verdict."""
        self._rested += tokens
        if self._rested >= self._hyper.drift_every:
            self._weigh(self._weights, self._rested)
            self._rested = 0

    def _weigh(self, weights: Sequence[float], tokens: int) -> None:
        hyper = self._hyper
        change = 1.0 - (1.0 - hyper.hazard) ** tokens
        stay = (1.0 - change) / sum(weights)
        self._weights = [stay * w + change * p for w, p in zip(weights, hyper.level_prior, strict=True)]
        self.level = sum([level * w for level, w in zip(hyper.levels, self._weights, strict=True)])
