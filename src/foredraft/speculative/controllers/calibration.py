"""How likely a guess is to stand, learned from every verdict.

One `Table` for each kind of guess (source × way of choosing tokens): acceptance by bucket of the draft's own
confidence, and what confidence to expect next. A verdict says nothing about guesses behind the first rejection: they
are censored and never learned from (algorithms.md §3.4).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from foredraft.speculative.controllers import disk

EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.88, 0.94, 0.98)
"""Borders of the confidence buckets."""
BUCKETS = len(EDGES) + 1
_MIDDLES = (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.84, 0.91, 0.96, 0.985)
_KAPPA = 3.0
"""Weight of the prior of a bucket, in guesses."""
_RHO = 0.998
"""Memory of a bucket: it forgets over about 1 / (1 − ρ) guesses."""

_LOW, _HALF, _LESS, _TOP = 0.2, 0.5, 0.8, 1.15
"""Levels of `Trust` beside 1: how guesses may fare against what the calibration expects."""
_Weights = tuple[float, float, float, float, float]
_LEVEL_PRIOR: _Weights = (0.1, 0.1, 0.2, 0.45, 0.15)
_HAZARD = 1.0 / 120.0
"""Chance per token that the level changes."""

_FIRST_KAPPA, _FIRST_RHO = 4.0, 0.995
_NEXT_KAPPA, _NEXT_RHO = 4.0, 0.9992
_FIRST_PRIOR = (0.04, 0.05, 0.06, 0.06, 0.07, 0.07, 0.08, 0.09, 0.10, 0.11, 0.12, 0.15)
"""Confidences of a draft nobody has seen yet: some of everything, more of the sure ones."""


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


class Table:
    """What is known of one kind of guess."""

    __slots__ = ("_first_weight", "_next_weight", "_stale", "_stood", "_tested", "first", "learned", "next", "rates")

    def __init__(self) -> None:
        self._stood = [0.0] * BUCKETS
        self._tested = [0.0] * BUCKETS
        self.first = [0.0] * BUCKETS
        """Confidence of the first guess of a round: counts, the newest weighing most."""
        self._first_weight = self._next_weight = 1.0  # of the newest count: they grow so that the old ones fade
        self.next = [[0.0] * BUCKETS for _ in range(BUCKETS)]
        """Confidence of the next guess, by the bucket of the one before it, which stood."""
        self.learned = 0
        """Verdicts taken in."""
        self.rates: list[float] = list(_MIDDLES)
        """Acceptance by bucket, rising."""
        self._stale = 0

    def learn(self, buckets: Sequence[int], stood: int) -> None:
        """The verdict on the guesses of a round that were looked at: of these buckets, the first so many stand."""
        kept, tested = self._stood, self._tested
        for j, at in enumerate(buckets):
            kept[at] = _RHO * kept[at] + (j < stood)
            tested[at] = _RHO * tested[at] + 1.0
        self.learned += len(buckets)
        self._stale += len(buckets)
        if self._stale >= 32 or self.learned < 32:
            self.refresh()

    def learn_first(self, at: int) -> None:
        """A round's first guess came with a confidence of this bucket."""
        self._first_weight /= _FIRST_RHO
        self.first[at] += self._first_weight

    def learn_next(self, before: int, at: int) -> None:
        """After a guess of one bucket, which stood, came one of another."""
        self._next_weight /= _NEXT_RHO
        self.next[before][at] += self._next_weight

    def refresh(self) -> None:
        """Acceptance with prior, made to rise with confidence; counts brought back to size now and then."""
        self._first_weight = _shrunk(self._first_weight, [self.first])
        self._next_weight = _shrunk(self._next_weight, self.next)
        means = [(s + _KAPPA * m) / (w + _KAPPA) for s, w, m in zip(self._stood, self._tested, _MIDDLES, strict=True)]
        # a bucket nobody has seen must not outvote its neighbours: as evidence its prior weighs little
        self.rates = isotonic(means, [w + 0.1 * _KAPPA for w in self._tested])
        self._stale = 0

    @property
    def acceptance(self) -> float:
        """Share of tested guesses that stood, lately; 0 before any verdict."""
        tested = sum(self._tested)
        return sum(self._stood) / tested if tested else 0.0

    def first_law(self) -> list[float]:
        """P(bucket of a round's first guess)."""
        return _backed(self.first, _FIRST_PRIOR, _FIRST_KAPPA * self._first_weight)

    def next_laws(self) -> list[list[float]]:
        """P(next bucket | bucket): counts, backed half by all transitions, half by staying where it is."""
        weight = _NEXT_KAPPA * self._next_weight
        total = _backed([sum(column) for column in zip(*self.next, strict=True)], _FIRST_PRIOR, weight)
        laws = []
        for at, row in enumerate(self.next):
            prior = [0.5 * x for x in total]
            prior[at] += 0.5
            laws.append(_backed(row, prior, weight))
        return laws

    def as_dict(self) -> dict[str, Any]:
        return {
            "stood": self._stood,
            "tested": self._tested,
            "first": [x / self._first_weight for x in self.first],
            "next": [[x / self._next_weight for x in row] for row in self.next],
            "learned": self.learned,
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Table:
        """Raises `ValueError`, `KeyError` or `TypeError` for anything but what `as_dict` gives."""
        table = cls()
        table._stood, table._tested = _row(stored["stood"]), _row(stored["tested"])
        if any(s > t + 1e-9 for s, t in zip(table._stood, table._tested, strict=True)):
            raise ValueError("more stood than were tested")
        table.first = _row(stored["first"])
        table.next = [_row(row) for row in stored["next"]]
        if len(table.next) != BUCKETS:
            raise ValueError("wrong size")
        table.learned = int(stored["learned"])
        table.refresh()
        return table


class Trust:
    """How the guesses of one answer fare just now against what the calibration expects: a factor on acceptance.

    A Bayes filter over a few levels (a hidden Markov model): each verdict weighs them, each token lets the level change
    with a small chance. Calibration remembers hundreds of guesses over all answers; this notices within a few that a
    text has turned.
    """

    __slots__ = ("_weights", "level")

    def __init__(self) -> None:
        self._weights = _LEVEL_PRIOR
        self.level = 0.0
        """Expected factor."""
        self._weigh(_LEVEL_PRIOR, 0.0)

    def learn(self, rates: Sequence[float], stood: int) -> None:
        """Of guesses expected to stand with these rates the first so many did, and the one behind them did not."""
        a, b, c, d, e = self._weights
        if stood:
            # a chance above 1 makes no sense: where the highest level would give one, it counts for less
            top = min(_TOP, 0.99 * stood / sum(rates[:stood]))
            a, b, c, e = a * _LOW**stood, b * _HALF**stood, c * _LESS**stood, e * top**stood
        if stood < len(rates):
            r = rates[stood]
            a, b, c = a * (1.0 - _LOW * r), b * (1.0 - _HALF * r), c * (1.0 - _LESS * r)
            d, e = d * (1.0 - min(0.99, r)), e * (1.0 - min(0.99, _TOP * r))
        self._weigh((a, b, c, d, e), 1.0 - (1.0 - _HAZARD) ** len(rates))

    def rest(self, tokens: int) -> None:
        """So many tokens were written without a verdict."""
        self._weigh(self._weights, 1.0 - (1.0 - _HAZARD) ** tokens)

    def _weigh(self, weights: _Weights, change: float) -> None:
        a, b, c, d, e = weights
        stay = (1.0 - change) / (a + b + c + d + e)
        pa, pb, pc, pd, pe = _LEVEL_PRIOR
        a, b, c = stay * a + change * pa, stay * b + change * pb, stay * c + change * pc
        d, e = stay * d + change * pd, stay * e + change * pe
        self._weights = a, b, c, d, e
        self.level = _LOW * a + _HALF * b + _LESS * c + d + _TOP * e


class Calibration:
    """The tables of one pair: one for each source and way of choosing tokens."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.credit: float | None = None
        """What the next answer of this pair may risk, in plain steps; None before the first one."""
        self._tables: dict[tuple[str, str], Table] = {}

    def table(self, source: str, mode: str) -> Table:
        table = self._tables.get((source, mode))
        if table is None:
            table = self._tables[source, mode] = Table()
        return table

    @property
    def tables(self) -> dict[tuple[str, str], Table]:
        """For display: everything learned so far."""
        return dict(self._tables)

    def save(self, folder: Path | None, key: disk.Key) -> bool:
        content = {"tables": [[*name, table.as_dict()] for name, table in self._tables.items()], "credit": self.credit}
        return disk.write(folder, "calibration", key, content, self.notes)

    @classmethod
    def load(cls, folder: Path | None, key: disk.Key) -> Calibration:
        """What was learned of a pair before; empty, with the reason in `notes`, when there is nothing usable. Another
        pair has another key, so a changed pair starts afresh."""
        calibration = cls()
        content = disk.read(folder, "calibration", key, calibration.notes)
        if content is not None:
            try:
                for source, mode, stored in content["tables"]:
                    calibration._tables[str(source), str(mode)] = Table.from_dict(stored)
                kept = content["credit"]
                calibration.credit = None if kept is None else _finite(kept)
            except (KeyError, TypeError, ValueError):
                calibration._tables.clear()
                calibration.credit = None
                calibration.notes.append("The stored calibration is damaged and is learned anew.")
        return calibration


def _backed(counts: Sequence[float], prior: Sequence[float], weight: float) -> list[float]:
    total = sum(counts) + weight
    return [(count + weight * p) / total for count, p in zip(counts, prior, strict=True)]


def _shrunk(weight: float, rows: Iterable[list[float]]) -> float:
    """Counts and their weight divided by the weight, once it is large."""
    if weight < 1e9:
        return weight
    for row in rows:
        row[:] = [x / weight for x in row]
    return 1.0


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _row(values: Any) -> list[float]:
    row = [float(value) for value in values]
    if len(row) != BUCKETS or not all(0.0 <= value < 1e9 for value in row):
        raise ValueError("wrong row")
    return row
