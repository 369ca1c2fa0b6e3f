"""Load-time measurement of a pair's costs: passes of a few sizes and draft steps, in a quarter of a second.

What is missing is learned in use (`costs.py`). What is kept on disk is not measured again while it still holds: a look
at each load compares a plain step and a draft step with those of then (`drift`).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk, Engine
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters

Clock = Callable[[], float]


@runtime_checkable
class ThreadChoice(Protocol):
    """An engine whose thread count can be changed after the load."""

    n_threads: int

    def set_threads(self, n_threads: int) -> None: ...


def measure(
    target: Engine, draft: Engine | None = None, *, clock: Clock = time.perf_counter, hyper: Hyperparameters = DEFAULT
) -> CostModel:
    """Time passes of n in {1, 2, 4, 8} and a draft step, warmed up, in at most 25 plain steps.

    Reads arbitrary tokens behind whatever the emptiest slot of each engine holds, and takes them back. For a draft that
    offers a choice of threads the fastest of one, half and all of them is kept: a tiny draft is fastest with one.
    """
    notes: list[Reason] = []
    passes = _passes(_Timer(target, clock, hyper), notes)
    plain_s = passes[1]
    # n tokens cost no more than n plain steps, whatever disturbed the clock
    whole = {n: min(s, n * plain_s) + hyper.round_s + hyper.row_s * n for n, s in passes.items()}
    if draft is None:
        costs = CostModel(whole, hyper=hyper)
        costs.bare_s = plain_s, None
    else:
        step_s, first_s, share = _draft(_Timer(draft, clock, hyper), plain_s * hyper.draft_steps)
        costs = CostModel(whole, step_s, first_s, hyper)
        costs.bare_s, costs.catch_up_share = (plain_s, step_s), share
    costs.forked = target.rewind_limit.way == "fork"
    costs.notes = notes
    return costs


def drift(costs: CostModel, target: Engine, draft: Engine | None, *, clock: Clock = time.perf_counter) -> Reason | None:
    """How this machine differs from the one these costs were measured on; None where they still hold.

    Reads two tokens with each model and takes them back; some more only where they seem to take another time. What was
    learned in use since then must be near what was measured, too: where it says that nothing can pay, nothing in use
    would ever correct it.
    """
    hyper, (plain_then, step_then) = costs.hyper, costs.bare_s
    if learned := _learned(costs):
        return learned
    plain, same = _look(_Timer(target, clock, hyper), plain_then, hyper.plain_drift)
    if not same:
        return Reason("step_drift", {"now": 1e3 * plain, "then": 1e3 * plain_then})
    if draft is None or step_then is None:
        return None
    step_then *= plain / plain_then
    step, same = _look(_Timer(draft, clock, hyper), step_then, hyper.draft_drift)
    return None if same else Reason("draft_drift", {"now": step / plain, "then": step_then / plain})


def _learned(costs: CostModel) -> Reason | None:
    """What the costs of use say otherwise than the measurement they began with; None where they agree."""
    (bare_s, step), factor = costs.bare_s, costs.hyper.learned_drift
    plain, in_use = bare_s + costs.hyper.round_s + costs.hyper.row_s, costs.pass_s(1)  # with what a round takes beside
    if not plain / factor <= in_use <= plain * factor:
        return Reason("step_learned", {"used": 1e3 * in_use, "measured": 1e3 * plain})
    if step is None or not costs.drafts:
        return None
    ratio = costs.draft_s() / in_use
    expected = step / plain
    if expected / factor <= ratio <= expected * factor:
        return None
    return Reason("draft_learned", {"used": ratio, "measured": expected})


def _look(timer: _Timer, expected: float, factor: float) -> tuple[float, bool]:
    """(seconds of one step, whether that is as expected): the first that is, else the least of a few."""
    least, same = math.inf, False
    timer.time(1)  # the first pass builds graphs and chooses kernels
    for _ in range(timer.hyper.looks):
        least = min(least, timer.time(1))
        same = expected / factor <= least <= expected * factor
        if same:
            break
    timer.rewind()
    return least, same


class _Timer:
    """Times passes of an engine at its emptiest slot."""

    def __init__(self, engine: Engine, clock: Clock, hyper: Hyperparameters) -> None:
        self.engine, self.hyper = engine, hyper
        self._clock, self._began = clock, clock()
        self._slot = min(range(engine.info.n_slots), key=engine.length)
        self._start = self._at = engine.length(self._slot)
        engine.keep(self._slot)
        self.most = max(1, min(engine.info.n_batch, engine.info.n_ctx - self._start))
        """Most tokens of one timed pass."""
        self._end = min(self._start + max(self.most, hyper.text), engine.info.n_ctx)
        draw = random.Random(hyper.text)  # noqa: S311 - not a secret; what a pass costs does not depend on its tokens
        self._tokens = [draw.randrange(engine.info.n_vocab) for _ in range(hyper.text)]

    @property
    def spent(self) -> float:
        return self._clock() - self._began

    def time(self, n: int, want: int | None = None) -> float:
        """Seconds of one pass of n tokens."""
        if self._at + n > self._end:
            self.rewind()
        began, want = self._clock(), n if want is None else want
        self.engine.forward([Chunk(self._slot, self._at, self._tokens[:n], want=want, guesses=want - 1)])
        self._at += n
        return max(self._clock() - began, self.hyper.tick_s)

    def rewind(self) -> None:
        self.engine.rewind(self._slot, self._start)
        self._at = self._start


def _passes(timer: _Timer, notes: list[Reason]) -> dict[int, float]:
    """Seconds by n, each the least of a few times: disturbances only ever add to them."""
    timer.time(1)  # the first pass builds graphs and chooses kernels
    hyper, passes = timer.hyper, {1: min(timer.time(1), timer.time(1))}
    most = timer.engine.rewind_limit.limit
    sizes = [n for n in hyper.sizes if n <= timer.most and (most is None or n <= most + 1)]
    for turn in range(hyper.turns):
        for n in (*sizes, 1):
            expected = passes.get(n, passes[1] * (1.0 + hyper.row_prior * n))
            if timer.spent + expected <= max(hyper.measure_steps * passes[1], hyper.measure_s if turn else 0.0):
                passes[n] = min(passes.get(n, math.inf), timer.time(n))
    if len(passes) <= len(sizes):
        notes.append(Reason("passes_slow"))
    timer.rewind()
    return passes


def _draft(timer: _Timer, budget_s: float) -> tuple[float, float, float]:
    """(seconds of a step, of a round's first one, what each token more to read costs as a share of a step)."""

    def step() -> float:
        timer.time(1)
        return min(timer.time(1), timer.time(1), timer.time(1))

    hyper, engine, best_s = timer.hyper, timer.engine, step()
    if isinstance(engine, ThreadChoice):
        best = most = engine.n_threads
        for n in sorted({1, max(1, most // 2)} - {most}):
            if timer.spent > budget_s:
                break
            engine.set_threads(n)
            seconds = step()
            if seconds < hyper.faster * best_s:
                best, best_s = n, seconds
        engine.set_threads(best)
    two, first_s = min(2, timer.most), math.inf
    for turn in range(hyper.turns):
        if turn > 1 and timer.spent > max(2.0 * budget_s, hyper.draft_s):
            break
        best_s = min(best_s, timer.time(1), timer.time(1))
        first_s = min(first_s, timer.time(two, want=1))
    n = min(hyper.catch_up_tokens, timer.most)
    share = (min(timer.time(n, want=1), timer.time(n, want=1)) - first_s) / best_s / max(1, n - two)
    timer.rewind()
    return best_s, max(first_s, best_s), min(max(share, hyper.catch_up_range[0]), 1.0)
