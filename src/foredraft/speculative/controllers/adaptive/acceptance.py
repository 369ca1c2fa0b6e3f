"""Acceptance rates of guesses, learned from every verdict, and the confidence to expect next.

One `AcceptanceTable` for each kind of guess (source × way of choosing tokens). A verdict says nothing about guesses
behind the first rejection: they are censored and never learned from (docs/concepts/algorithms.md §3.4).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters

EDGES = DEFAULT.edges
"""Borders of the confidence buckets."""
BUCKETS = len(EDGES) + 1
FIRST = BUCKETS
"""Stands for the bucket before a round's first guess."""
_MIDDLES = [(low + high) / 2 for low, high in zip((0.0, *EDGES), (*EDGES, 1.0), strict=True)]


def bucket(confidence: float) -> int:
    """The bucket of a confidence; one that is not known (nan) counts as middling."""
    return bisect_right(EDGES, confidence) if confidence == confidence else BUCKETS // 2


def isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The rising sequence nearest to `values` in weighted least squares: pool adjacent violators (Ayer et al. 1955)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        pool = (value, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, mass, size = pools.pop()
            total = mass + pool[1]
            pool = ((mean * mass + pool[0] * pool[1]) / total, total, size + pool[2])
        pools.append(pool)
    return [mean for mean, _, size in pools for _ in range(size)]


class NextConfidence:
    """P(bucket of the next guess | bucket of the last one, which stood): a Markov chain of fading counts."""

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self.counts = [[0.0] * BUCKETS for _ in range(BUCKETS + 1)]
        """By the bucket before; the last row is `FIRST`."""

    def learn(self, before: int, at: int) -> None:
        row = self.counts[before]
        row[:] = [self._hyper.next_rho * x for x in row]
        row[at] += 1.0

    def distributions(self) -> list[list[float]]:
        """One for each bucket before and for `FIRST`: counts, backed by all transitions and by staying in place."""
        weight, stays = self._hyper.next_kappa, self._hyper.next_stays
        prior = [b + self._hyper.next_prior for b in range(BUCKETS)]
        unseen = [x / sum(prior) for x in prior]
        *rows, first = self.counts
        total = _backed([sum(column) for column in zip(*rows, strict=True)], unseen, weight)
        backs = [[(1.0 - stays) * x + stays * (b == at) for b, x in enumerate(total)] for at in range(BUCKETS)]
        return [_backed(row, back, weight) for row, back in zip([*rows, first], [*backs, unseen], strict=True)]


class AcceptanceTable:
    """Acceptance by confidence of one kind of guess: counts with a memory and a prior, made to rise with confidence."""

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self._stood = [0.0] * BUCKETS
        self._tested = [0.0] * BUCKETS
        self._stale = 0
        self.next = NextConfidence(hyper)
        self.learned = 0
        """Verdicts taken in."""
        self.rates = _MIDDLES
        """Acceptance by bucket, rising."""

    def learn(self, buckets: Sequence[int], stood: int) -> None:
        """The verdict on the guesses of a round that were looked at: of these buckets, the first so many stand."""
        rho = self._hyper.rho
        for j, at in enumerate(buckets):
            self._stood[at] = rho * self._stood[at] + (j < stood)
            self._tested[at] = rho * self._tested[at] + 1.0
        self.learned += len(buckets)
        self._stale += len(buckets)
        if self._stale >= self._hyper.rates_every or self.learned < self._hyper.rates_every:
            self.refresh()

    def refresh(self) -> None:
        """Compute the rates anew."""
        kappa = self._hyper.kappa
        counts = zip(self._stood, self._tested, _MIDDLES, strict=True)
        means = [(stood + kappa * middle) / (tested + kappa) for stood, tested, middle in counts]
        # a bucket nobody has seen must not outvote its neighbours: as evidence its prior weighs little
        self.rates = isotonic(means, [tested + self._hyper.empty * kappa for tested in self._tested])
        self._stale = 0

    @property
    def acceptance(self) -> float:
        """Share of tested guesses that stood, lately; 0 before any verdict."""
        tested = sum(self._tested)
        return sum(self._stood) / tested if tested else 0.0

    def to_dict(self) -> dict[str, Any]:
        """For `Calibration.to_dict`."""
        return {"stood": self._stood, "tested": self._tested, "next": self.next.counts, "learned": self.learned}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], hyper: Hyperparameters = DEFAULT) -> AcceptanceTable:
        """Raises `ValueError`, `KeyError` or `TypeError` for anything but what `to_dict` gives."""
        table = cls(hyper)
        table._stood, table._tested = _row(stored["stood"]), _row(stored["tested"])
        table.next.counts = [_row(row) for row in stored["next"]]
        table.learned = int(stored["learned"])
        if any(stood > tested + 1.0 for stood, tested in zip(table._stood, table._tested, strict=True)):
            raise ValueError("more stood than were tested")
        if len(table.next.counts) != BUCKETS + 1:
            raise ValueError("wrong size")
        table.refresh()
        return table


class Calibration:
    """What was learned of one pair: an acceptance table for each source and way of choosing tokens, and credit."""

    def __init__(self, hyper: Hyperparameters = DEFAULT) -> None:
        self._hyper = hyper
        self.credit: float | None = None
        """What the next answer of this pair may risk, in plain steps; None before the first one."""
        self.tables: dict[tuple[str, str], AcceptanceTable] = {}
        """By source and way of choosing tokens."""

    def table(self, source: str, mode: str) -> AcceptanceTable:
        table = self.tables.get((source, mode))
        if table is None:
            table = self.tables[source, mode] = AcceptanceTable(self._hyper)
        return table

    def to_dict(self) -> dict[str, Any]:
        """For `core/json_cache.py`; see `from_dict`."""
        return {"tables": [[*name, table.to_dict()] for name, table in self.tables.items()], "credit": self.credit}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], hyper: Hyperparameters = DEFAULT) -> Calibration:
        """Raises `ValueError` for anything but what `to_dict` gives."""
        calibration = cls(hyper)
        try:
            for source, mode, stored in content["tables"]:
                calibration.tables[str(source), str(mode)] = AcceptanceTable.from_dict(stored, hyper)
            if content["credit"] is not None:
                calibration.credit = float(content["credit"])
        except (KeyError, TypeError) as error:
            raise ValueError("not what is learned of a pair") from error
        if calibration.credit is not None and not math.isfinite(calibration.credit):
            raise ValueError("no credit")
        return calibration


def _backed(counts: Sequence[float], prior: Sequence[float], weight: float) -> list[float]:
    total = sum(counts) + weight
    return [(count + weight * p) / total for count, p in zip(counts, prior, strict=True)]


def _row(values: Any) -> list[float]:
    row = [float(value) for value in values]
    if len(row) != BUCKETS or not all(0.0 <= value < math.inf for value in row):
        raise ValueError("wrong row")
    return row
