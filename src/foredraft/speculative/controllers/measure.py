"""The costs of a pair, measured once, at its first load: passes of a few sizes and draft steps, in a quarter second.

What is missing is learned in use (`costs.py`). What is kept on disk is not measured again while it still holds: a look
at each load compares a plain step and a draft step with those of then (`drift`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from foredraft.engines.base import Chunk, Engine
from foredraft.speculative.controllers.costs import CostModel

MEASURE_STEPS, MEASURE_S = 25.0, 0.25
"""Most time that measuring at load may take: so many plain steps, or so many seconds if that is more."""
_ROUND_S, _ROW_S = 60e-6, 30e-6
"""Prior for the work around a pass, before rounds have been seen: a part per round and a part per row."""
_TURNS = 12
"""Most times each n is timed at load: with passes of a millisecond a busy machine spoils most of them."""
_CATCH_UP = 16
"""Tokens by which the cost of catching up is measured."""
PLAIN_DRIFT, DRAFT_DRIFT = 2.0, 1.5
"""Factors by which a plain step, and a draft step in plain steps, may differ from what is stored. The second decides
what pays, and is the same on a machine that is only slower as a whole."""
_LOOKS = 4
"""Times a step is timed before it is said to take another time than it did."""


@runtime_checkable
class ThreadChoice(Protocol):
    """An engine whose thread count can be changed after the load."""

    n_threads: int

    def set_threads(self, n_threads: int) -> None: ...


def measure(
    target: Engine,
    draft: Engine | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> CostModel:
    """Time passes of n in {1, 2, 4, 8} and a draft step, warmed up, in at most `MEASURE_STEPS` plain steps.

    Reads arbitrary tokens behind whatever the emptiest slot of each engine holds, and takes them back. For a draft that
    offers a choice of threads the fastest of one, half and all of them is kept: a tiny draft is fastest with one.
    """
    notes: list[str] = []
    passes = _measure_passes(_Watch(target, clock), notes)
    draft_s = first_s = share = None
    if draft is not None:
        draft_s, first_s, share = _measure_draft(_Watch(draft, clock), passes[1] * 5.0)
    # n tokens cost no more than n plain steps, whatever disturbed the watch
    sound = {n: min(s, n * passes[1]) for n, s in passes.items()}
    costs = CostModel({n: s + _ROUND_S + _ROW_S * n for n, s in sound.items()}, draft_s, first_s)
    costs.bare_s = passes[1], draft_s
    if share is not None:
        costs.catch_up_share = share
    costs.forked = target.rewind_limit.way == "fork"
    costs.notes = notes
    return costs


def drift(
    costs: CostModel,
    target: Engine,
    draft: Engine | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """How this machine differs from the one these costs were measured on, in words; "" where they still hold.

    Reads two tokens with each model and takes them back; some more only where they seem to take another time.
    """
    plain_then, step_then = costs.bare_s
    plain = _look(_Watch(target, clock), plain_then, PLAIN_DRIFT)
    if not _near(plain, plain_then, PLAIN_DRIFT):
        return f"a plain step takes {1e3 * plain:.3g} ms now, and took {1e3 * plain_then:.3g}"
    if draft is None or step_then is None:
        return ""
    step_then *= plain / plain_then
    step = _look(_Watch(draft, clock), step_then, DRAFT_DRIFT)
    if _near(step, step_then, DRAFT_DRIFT):
        return ""
    return f"a draft step takes {step / plain:.2g} plain steps now, and took {step_then / plain:.2g}"


def _look(watch: _Watch, expected: float, factor: float) -> float:
    """Seconds of one step: the first that is as expected, else the least of a few."""
    watch.time(1)  # the first pass builds graphs and chooses kernels
    least = math.inf
    for _ in range(_LOOKS):
        least = min(least, watch.time(1))
        if _near(least, expected, factor):
            break
    watch.rewind()
    return least


def _near(seconds: float, expected: float, factor: float) -> bool:
    return expected / factor <= seconds <= expected * factor


class _Watch:
    """Times passes of an engine at its emptiest slot."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self.engine = engine
        self._clock = clock
        self._began = clock()
        self._slot = min(range(engine.info.n_slots), key=engine.length)
        self._start = self._at = engine.length(self._slot)
        engine.keep(self._slot)
        self.most = max(1, min(engine.info.n_batch, engine.info.n_ctx - self._start))
        """Most tokens of one timed pass."""
        self._end = self._start + max(self.most, 64)
        self._tokens = _some_tokens(engine, 64)

    @property
    def spent(self) -> float:
        return self._clock() - self._began

    def time(self, n: int, want: int | None = None) -> float:
        """Seconds of one pass of n tokens."""
        if self._at + n > min(self._end, self.engine.info.n_ctx):
            self.rewind()
        began = self._clock()
        want = n if want is None else want
        self.engine.forward([Chunk(self._slot, self._at, self._tokens[:n], want=want, guesses=want - 1)])
        self._at += n
        return max(self._clock() - began, 1e-7)

    def rewind(self) -> None:
        self.engine.rewind(self._slot, self._start)
        self._at = self._start


def _measure_passes(watch: _Watch, notes: list[str]) -> dict[int, float]:
    """Seconds by n, each the least of a few times: disturbances only ever add to them."""
    watch.time(1)  # the first pass builds graphs and chooses kernels
    passes = {1: min(watch.time(1), watch.time(1))}
    most = watch.engine.rewind_limit.limit
    sizes = [n for n in (2, 4, 8) if n <= watch.most and (most is None or n <= most + 1)]
    for turn in range(_TURNS):
        for n in (*sizes, 1):
            known = passes.get(n, passes[1] * (1.0 + 0.4 * n))
            if watch.spent + known > max(MEASURE_STEPS * passes[1], MEASURE_S if turn else 0.0):
                continue
            passes[n] = min(passes.get(n, math.inf), watch.time(n))
    if len(passes) <= len(sizes):
        notes.append("Passes of several tokens are slow here; what they cost is learned in use.")
    watch.rewind()
    return passes


def _measure_draft(watch: _Watch, budget_s: float) -> tuple[float, float, float]:
    """(seconds of a step, of a round's first one, what each token more to read costs as a share of a step)."""

    def step() -> float:
        watch.time(1)
        return min(watch.time(1), watch.time(1), watch.time(1))

    best_s = step()
    engine = watch.engine
    if isinstance(engine, ThreadChoice):
        best = most = engine.n_threads
        for n in sorted({1, max(1, most // 2)} - {most}):
            if watch.spent > budget_s:
                break
            engine.set_threads(n)
            seconds = step()
            if seconds < 0.97 * best_s:
                best, best_s = n, seconds
        engine.set_threads(best)
    two = min(2, watch.most)
    first_s = math.inf
    for turn in range(_TURNS):
        if turn > 1 and watch.spent > max(2.0 * budget_s, MEASURE_S / 4):
            break
        best_s = min(best_s, watch.time(1), watch.time(1))
        first_s = min(first_s, watch.time(two, want=1))
    n = min(_CATCH_UP, watch.most)
    share = (min(watch.time(n, want=1), watch.time(n, want=1)) - first_s) / best_s / max(1, n - two)
    watch.rewind()
    return best_s, max(first_s, best_s), min(max(share, 0.002), 1.0)


def _some_tokens(engine: Engine, count: int) -> list[int]:
    """Arbitrary tokens: what a pass costs does not depend on which."""
    draw = random.Random(7)  # noqa: S311 - not a secret
    return [draw.randrange(engine.info.n_vocab) for _ in range(count)]
