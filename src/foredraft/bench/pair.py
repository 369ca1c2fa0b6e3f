"""A quick answer to one question: what does this draft bring to this main model, on this machine?

For the shelf's "measure" (`foredraft pair --measure`) and the app, which want a figure within seconds, growing more
certain while one watches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from statistics import median
from typing import Any

from foredraft.bench.categories import prompts
from foredraft.bench.costs import Costs, measure_costs
from foredraft.bench.modes import PLAIN, parse, stage
from foredraft.bench.runner import Plan, Run
from foredraft.bench.statistics import ratio
from foredraft.core.errors import ForedraftError
from foredraft.pair.llm import LLM

_PROMPTS = 4
_COSTS_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Measurement:
    """What is known so far; the last one is the result. `speedup` with its interval is what somebody gains who asks
    prompts of all categories, half of them greedy and half at temperature 0.8; None until something was measured."""

    share: float
    """Of the measuring that is done, 0 to 1."""
    what: str = ""
    speedup: float | None = None
    low: float | None = None
    high: float | None = None
    plain_speed: float = 0.0
    """Tokens a second without the draft …"""
    draft_speed: float = 0.0
    """… and with it."""
    costs: Costs | None = None
    texts: int = 0
    """Answers compared with plain decoding's …"""
    unlike: int = 0
    """… and those that differed otherwise than at a near-tie: always 0, or there is a defect."""

    def as_dict(self) -> dict[str, Any]:
        return {"speedup": self.speedup, "low": self.low, "high": self.high}


def measure_pair(
    llm: LLM, seconds: float = 20.0, *, clock: Callable[[], float] = time.perf_counter
) -> Generator[Measurement]:
    """Measure a loaded pair for about so many seconds, all categories in turns. Each step yields what is known so far;
    leaving the loop (or closing the iterator) cancels, and the pair is as it was. Nothing else may be running.

    Raises `ForedraftError` when there is no draft, or no prompt fits in the context.

    >>> for now in measure_pair(llm):                                       # doctest: +SKIP
    ...     print(f"{now.share:.0%} {now.speedup}")
    """
    began = clock()
    with stage(llm) as of:
        if not of.has_sources:
            raise ForedraftError("There is nothing to measure: no draft is loaded.")
        yield Measurement(0.0, "costs of a pass")
        costs = measure_costs(llm, of.draft_model, seconds=_COSTS_SHARE * seconds, clock=clock)
        left = max(1.0, seconds - (clock() - began))
        plan = Plan(prompts(count=_PROMPTS), (parse("auto"),), max_tokens=64, limit_s=left)
        run = Run(of, plan, costs.plain_s, clock=clock)
        yield Measurement(_COSTS_SHARE, "answers", costs=costs)
        last = Measurement(_COSTS_SHARE)
        for step in run:
            last = _so_far(run, costs, _COSTS_SHARE + (1 - _COSTS_SHARE) * step.share, step.what)
            yield last
        if last.share < 1.0:
            yield _so_far(run, costs, 1.0, "")


def _so_far(run: Run, costs: Costs, share: float, what: str) -> Measurement:
    trials = run.trials.measured
    if not trials:
        return Measurement(share, what, costs=costs)
    speedup = ratio([trial.answer_s(PLAIN) for trial in trials], [trial.answer_s("auto") for trial in trials])
    tokens = sum(trial.tokens for trial in trials)
    seconds = {mode: sum(median(trial.answer_s(mode)) for trial in trials) for mode in (PLAIN, "auto")}
    return Measurement(
        share,
        what,
        speedup.value,
        speedup.low,
        speedup.high,
        plain_speed=tokens / seconds[PLAIN],
        draft_speed=tokens / seconds["auto"],
        costs=costs,
        texts=run.compared,
        unlike=sum(not parted.difference.near_tie for parted in run.parted),
    )
