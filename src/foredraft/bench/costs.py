"""What a pass of n tokens and a draft step cost here, in plain steps: v(n), c, and the bound max n/v(n).

No speculation can be faster than the bound on this machine, whatever is guessed (docs/concepts/algorithms.md §1.2),
so every speed-up is shown beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from foredraft.engines.base import Chunk, Engine
from foredraft.pair.llm import LLM
from foredraft.speculative.drafters import ModelDrafter

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16)
_CONTEXT = 64
"""Tokens before each measured pass."""
_MOST_TURNS, _FEWEST_TURNS = 40, 2
_WARM_S = 0.01
"""Passes shorter than this depend on what is in the caches: as in use, they are timed in a row, without the first."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured on this machine, now. `plain_s` (T1) in seconds, all else in plain steps."""

    plain_s: float
    v: dict[int, float]
    draft: float | None
    """c: one step of the draft model; None without one."""

    @property
    def bound(self) -> float:
        """max n/v(n): the speed-up if every guess stood and guessing cost nothing."""
        return max(n / v for n, v in self.v.items())

    def best(self, acceptance: float) -> tuple[int, float]:
        """The γ and the speed-up that the formula promises for i.i.d. acceptance (docs/concepts/algorithms.md §1.2)."""
        c = self.draft or 0.0
        speeds = {n - 1: sum(acceptance**i for i in range(n)) / ((n - 1) * c + v) for n, v in self.v.items()}
        gamma = max(speeds, key=lambda g: speeds[g])
        return gamma, speeds[gamma]

    def as_dict(self) -> dict[str, Any]:
        return {
            "v": {str(n): round(v, 4) for n, v in self.v.items()},
            "draft": None if self.draft is None else round(self.draft, 4),
            "bound": round(self.bound, 4),
        }


def measure_costs(
    llm: LLM,
    draft: ModelDrafter | None = None,
    *,
    seconds: float = 4.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Costs:
    """Time every n in turns until about `seconds` have passed: medians, so that a disturbance costs one turn. No
    answer may be running; what the cache held of earlier ones is forgotten."""
    ended = time.perf_counter() + seconds
    target = llm.engine
    llm.scheduler.slots.clear()
    room = target.info.n_ctx - _context(target)
    times: dict[int, list[float]] = {n: [] for n in SIZES if n <= min(room, target.info.n_batch)}
    steps: list[float] = []
    _read(target)
    if draft is not None:
        # The drafter knows what its cache holds, so it is the one to empty it, down to one token.
        draft.prefill([Chunk(0, 0, _tokens(draft.engine, 1))])
        _read(draft.engine)
    for n in times:
        _timed(target, n, clock)  # builds graphs and chooses kernels
    for turn in range(1, _MOST_TURNS + 1):
        for n in times:
            times[n] += _times(target, n, clock)
        if draft is not None:
            steps += _times(draft.engine, 1, clock)
        if turn >= _FEWEST_TURNS and time.perf_counter() > ended:
            break
    target.rewind(0, 0)
    if draft is not None:
        draft.engine.rewind(0, 1)
    plain_s = median(times[1])
    v = {n: median(t) / plain_s for n, t in times.items()}
    return Costs(plain_s, v, median(steps) / plain_s if steps else None)


def _context(engine: Engine) -> int:
    """Tokens to put before each measured pass; half the context where that is small."""
    return min(_CONTEXT, engine.info.n_ctx // 2, engine.info.n_batch)


def _read(engine: Engine) -> None:
    """Fill slot 0; with which tokens does not matter to the time."""
    have = engine.length(0)
    engine.forward([Chunk(0, have, _tokens(engine, max(1, _context(engine) - have)))])


def _times(engine: Engine, n: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of a pass of n tokens: once, or twice in warm caches where that makes a difference."""
    first = _timed(engine, n, clock)
    return [first] if first > _WARM_S else [_timed(engine, n, clock), _timed(engine, n, clock)]


def _timed(engine: Engine, n: int, clock: Callable[[], float]) -> float:
    start = engine.length(0)
    engine.keep(0)  # to come back to, where the engine goes back to checkpoints only
    chunk = Chunk(0, start, _tokens(engine, n), want=n)
    began = clock()
    engine.forward([chunk])
    took = clock() - began
    engine.rewind(0, start)
    return max(took, 1e-9)


def _tokens(engine: Engine, count: int) -> list[int]:
    tokens: list[int] = np.random.default_rng(7).integers(engine.info.n_vocab, size=count).tolist()
    return tokens
