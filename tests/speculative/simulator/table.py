"""The table: for each cost curve and kind of text, what the controller reaches, and what the oracle does."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.base import DraftController
from tests.speculative.simulator.oracle import fork_oracle, oracle
from tests.speculative.simulator.world import CURVES, Stream, World, simulate, stream

Make = Callable[[CostModel], DraftController]


@dataclass(frozen=True)
class Row:
    """One line: speeds in tokens per plain step, the means over texts."""

    curve: str
    stream: str
    speed: float
    oracle: float
    cold: float
    """Of first answers of 300 tokens, with nothing learned."""
    worst: float
    """The slowest of them."""
    depth: float
    """Mean look-ahead."""
    speeds: tuple[float, ...]
    """By text."""

    @property
    def share(self) -> float:
        return self.speed / self.oracle


@dataclass(frozen=True)
class Plan:
    """What a table is made of. Each row is the mean over `seeds` texts."""

    tokens: int = 20_000
    cold: int = 20
    """First answers of 300 tokens a row."""
    seeds: int = 1
    curves: Sequence[str] = tuple(CURVES)
    streams: Sequence[str] = ()
    fork: bool = False
    """Rejected guesses are read again (recurrent models)."""

    def rows(self, make: Make) -> Iterator[Row]:
        for curve, kind in itertools.product(self.curves, self.streams):
            yield self.row(curve, kind, make)

    def row(self, curve: str, kind: str, make: Make) -> Row:
        speeds, depths, best = [], [], []
        for seed in range(1, self.seeds + 1):
            world = World(CURVES[curve], seed=4 + seed, fork=self.fork)
            run = simulate(_text(kind, self.tokens, seed), world, make(world.measured()))
            speeds.append(run.speed)
            depths.append(sum(run.gammas) / len(run.gammas))
            best.append(_best(curve, kind, self.tokens, seed, self.fork))
        colds = [0.0]
        if self.cold:
            worlds = [World(CURVES[curve], seed=seed, fork=self.fork) for seed in range(self.cold)]
            colds = [
                simulate(stream(kind, 300, 100 + seed), world, make(world.measured())).speed
                for seed, world in enumerate(worlds)
            ]
        return Row(curve, kind, _mean(speeds), _mean(best), _mean(colds), min(colds), _mean(depths), tuple(speeds))


@cache
def _text(kind: str, tokens: int, seed: int) -> Stream:
    return stream(kind, tokens, seed)


@cache
def _best(curve: str, kind: str, tokens: int, seed: int, fork: bool) -> float:
    text, world = _text(kind, tokens, seed), World(CURVES[curve], seed=4 + seed, fork=fork)
    return fork_oracle(text, world) if fork else oracle(text, world)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def shipped(promise: str = "standard") -> Make:
    """The controller as it is shipped."""
    return lambda costs: Adaptive(costs, promise=promise)


def show(plan: Plan, make: Make, output: Path | None = None) -> None:
    """Print the table line by line; `output` gets it as JSON."""
    print(
        f"{'curve':9} {'stream':12} {'speed':>6} {'oracle':>7} {'share':>6} {'cold 300':>9} {'worst':>6} {'depth':>6}"
    )
    rows = []
    for row in plan.rows(make):
        rows.append(row)
        print(
            f"{row.curve:9} {row.stream:12} {row.speed:6.3f} {row.oracle:7.3f} {row.share:6.3f} {row.cold:9.3f}"
            f" {row.worst:6.3f} {row.depth:6.2f}",
            flush=True,
        )
    if output is not None:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")


def compare(before: Path, after: Path) -> None:
    """Print two tables that `--json` wrote side by side, with the change of each row, the error of that change where
    there are several texts, and the change of the cold answers."""
    print(
        f"{'curve':9} {'stream':12} {'before':>7} {'after':>7} {'change':>8} {'±':>6}"
        f" {'cold':>7} {'after':>7} {'change':>8}"
    )
    olds, news = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    for old, new in zip(olds, news, strict=True):
        pairs = [b / a - 1.0 for a, b in zip(old["speeds"], new["speeds"], strict=True)]
        mean = _mean(pairs)
        error = (sum((x - mean) ** 2 for x in pairs) / max(1, len(pairs) - 1) / len(pairs)) ** 0.5
        cold = new["cold"] / old["cold"] - 1.0 if old["cold"] else 0.0
        print(
            f"{old['curve']:9} {old['stream']:12} {old['speed']:7.3f} {new['speed']:7.3f} {mean:+8.2%} {error:6.2%}"
            f" {old['cold']:7.3f} {new['cold']:7.3f} {cold:+8.2%}"
        )
