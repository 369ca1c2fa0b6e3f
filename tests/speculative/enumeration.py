"""Running the product over all outcomes of its randomness, so that laws come out exact.

`outcomes(run)` calls `run` again and again. Inside, every random choice of the product is a fork: the noise of a place
is replaced by a symbol that knows nothing but the interval it lies in, and comparing it with a number takes both
branches in turn, each with its probability. A number that is used twice is thereby known the second time, as it is in
reality. The same goes for the Gumbel noise that a coupled draft shares with the target: `coupled` is their exact law.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from foredraft.sampling import noise
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.sampler import Sampler

T = TypeVar("T", bound=Hashable)


class Chance:
    """One path through the tree of outcomes: follows `forks` as far as they go, then takes the first branch."""

    def __init__(self, forks: Sequence[int]) -> None:
        self.forks = list(forks)
        self.widths: list[int] = []
        self.probability = 1.0

    def pick(self, weights: Sequence[float]) -> int:
        """One of the branches that have a weight; the weights sum to 1."""
        branches = [i for i, weight in enumerate(weights) if weight > 0.0]
        at = len(self.widths)
        if at == len(self.forks):
            self.forks.append(0)
        self.widths.append(len(branches))
        chosen = branches[self.forks[at]]
        self.probability *= weights[chosen]
        return chosen

    def next_forks(self) -> list[int] | None:
        """The path after this one; None after the last."""
        forks = self.forks[:]
        while forks and forks[-1] + 1 == self.widths[len(forks) - 1]:
            forks.pop()
        if not forks:
            return None
        forks[-1] += 1
        return forks


class Uniform:
    """A number of (0, 1) of which only an interval is known. Narrowed by every comparison."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._low, self._high = 0.0, 1.0

    def __mul__(self, factor: float) -> _Scaled:
        return _Scaled(self, factor)

    def __le__(self, bound: float) -> bool:
        inside = min(max(bound, self._low), self._high)
        width = self._high - self._low
        below = self._chance.pick([(inside - self._low) / width, (self._high - inside) / width]) == 0
        if below:
            self._high = inside
        else:
            self._low = inside
        return below


class _Scaled:
    def __init__(self, number: Uniform, factor: float) -> None:
        self._number, self._factor = number, factor

    def __le__(self, bound: float) -> bool:
        return self._number <= (bound / self._factor if self._factor > 0.0 else 1.0 if bound >= 0.0 else 0.0)


def coupled(p: Distribution, q: Distribution, x: int) -> list[float]:
    """The law of argmax(ln p + g) given that argmax(ln q + g) is x, for Gumbel noise g; over `p.ids`.

    In exponential races E/q and E/p (g = −ln E): x wins both with probability 1 / Σ max(p_y/p_x, q_y/q_x)
    (docs/concepts/algorithms.md §1.3). x wins the first and z the second where the ratio r = E_z/E_x lies between
    q_z/q_x and p_z/p_x; integrating out E_x leaves ∫ dr / (1 + r + Σ max(q_y/q_x, r·p_y/p_z))², rational between its
    kinks.
    """
    every = sorted({*p.ids.tolist(), *q.ids.tolist()})
    pr, qr = {t: p.prob(t) for t in every}, {t: q.prob(t) for t in every}

    def joint(z: int) -> float:
        if z == x:
            return 1.0 / sum(max(pr[y] / pr[x], qr[y] / qr[x]) for y in every)
        low, high = qr[z] / qr[x], pr[z] / pr[x] if pr[x] > 0.0 else math.inf
        others = [y for y in every if y not in (x, z)]
        kinks = sorted(qr[y] / qr[x] * pr[z] / pr[y] for y in others if pr[y] > 0.0)
        ends = [low, *(r for r in kinks if low < r < high), high]
        total = 0.0
        for a, b in pairwise(ends) if high > low else ():
            middle = a + 1.0 if b == math.inf else (a + b) / 2
            rising = [y for y in others if middle * pr[y] / pr[z] > qr[y] / qr[x]]
            slope = 1.0 + sum(pr[y] / pr[z] for y in rising)
            level = 1.0 + sum(qr[y] / qr[x] for y in others if y not in rising)
            at_a = level + slope * a
            total += 1.0 / (slope * at_a) if b == math.inf else (b - a) / (at_a * (level + slope * b))
        return total

    return [joint(int(z)) / qr[x] for z in p.ids]


@contextmanager
def injected(chance: Chance) -> Iterator[None]:
    """The product's randomness comes from `chance`. A place may decide over one thing only."""
    uniforms: dict[int, Uniform] = {}
    drawn: set[int] = set()
    guessed: dict[int, tuple[Distribution, int]] = {}

    def uniform(place: int) -> Uniform:
        assert place not in drawn, "the noise of one place decides over two things"
        return uniforms.setdefault(place, Uniform(chance))

    def sample(law: Distribution, place: int) -> int:
        assert place not in drawn, "the noise of one place decides over two things"
        assert place not in uniforms, "the noise of one place decides over two things"
        drawn.add(place)
        return int(law.ids[chance.pick(law.probs.tolist())])

    choose = Sampler.choose

    def choice(self: Sampler, row: NDArray[np.float32], prefix: Sequence[int], position: int) -> int:
        # That this is the law of the real choice is shown in tests/sampling/test_sampler.py (Gumbel-max).
        if self.greedy:
            return choose(self, row, prefix, position)
        law = self.law(row, prefix, position)
        place = noise.key(self.seed, noise.TARGET, position)
        if place not in guessed:
            return law.sample(place)
        drawn.add(place)
        return int(law.ids[chance.pick(coupled(law, *guessed[place]))])

    guess = Sampler.guess

    def coupled_guess(
        self: Sampler, row: NDArray[np.float32], prefix: Sequence[int], position: int, *, confidence: bool
    ) -> tuple[int, float]:
        if self.greedy:
            return guess(self, row, prefix, position, confidence=confidence)
        law = self.law(row[: self.n_vocab], prefix, position)
        place = noise.key(self.seed, noise.TARGET, position)
        assert place not in guessed, "three laws with one noise are more than `coupled` can tell"
        x = int(law.ids[chance.pick(law.probs.tolist())])
        guessed[place] = law, x
        return x, float(law.probs.max())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "uniform", uniform)
        patch.setattr(Distribution, "sample", sample)
        patch.setattr(Sampler, "choose", choice)
        patch.setattr(Sampler, "guess", coupled_guess)
        yield


def outcomes(run: Callable[[], T]) -> dict[T, float]:
    """The law of what `run` returns."""
    law: dict[T, float] = defaultdict(float)
    forks: list[int] | None = []
    while forks is not None:
        chance = Chance(forks)
        with injected(chance):
            result = run()
        law[result] += chance.probability
        forks = chance.next_forks()
    return dict(law)
