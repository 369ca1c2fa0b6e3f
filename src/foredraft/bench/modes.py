"""The ways of answering that a bench compares, and how a loaded pair is set to each.

- `off`: the pair as it is loaded, with speculation switched off for the request (what having a draft costs);
- `fixed:γ`: the draft model guesses γ tokens in every round, nothing else decides;
- a source (`model`, `suffix`, `ngram` …): the loaded controller with this source of guesses alone;
- `auto`: as users get it.

Everything is compared with `plain`: no draft and no controller at all.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.params import MAX_DRAFT, SpeculationParams
from foredraft.core.tables import methods
from foredraft.pair.llm import LLM
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Adaptive, Fixed, Throttled
from foredraft.speculative.controllers.adaptive.measure import measure
from foredraft.speculative.drafters import Drafter, ModelDrafter, NoDrafter


def clocks(system: str = sys.platform) -> dict[str, Callable[[], float]]:
    """What times can be taken with. `cpu` is the processor time of the thread that runs the models: what wall time
    would be if nothing else ran here. It means that only where each model runs on one thread. Windows counts it in
    steps of 16 ms, several passes of a small model, so there is none there."""
    return {"wall": time.perf_counter, **({} if system == "win32" else {"cpu": time.thread_time})}


CLOCKS = clocks()
PLAIN = "plain"
SWEEP = (1, 2, 3, 4, 6, 8)
"""Look-aheads that `--sweep` tries."""


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of answering; `gamma` is the fixed look-ahead, None leaves it to the loaded controller."""

    name: str
    speculation: SpeculationParams
    gamma: int | None = None


def parse(name: str) -> Mode:
    """A mode by its name. Raises `ParameterError` with the allowed names."""
    if name == PLAIN:
        return Mode(PLAIN, SpeculationParams(enabled=False))
    if name in methods():
        return Mode(name, SpeculationParams(method=name))
    kind, _, number = name.partition(":")
    if kind == "fixed" and number.isascii() and number.isdigit() and int(number) <= MAX_DRAFT:
        return Mode(name, SpeculationParams(method="model"), int(number))
    raise ParameterError("mode", name, f"one of {', '.join(methods())}, or fixed:γ with γ from 0 to {MAX_DRAFT}")


class Stage:
    """A loaded pair that can be set to one mode after another, between two answers; `leave` gives it back as it was.

    Plain decoding is measured without drafter and controller, so that what they cost is not hidden in the reference.
    """

    def __init__(self, llm: LLM, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` counts the seconds of everything that is measured. No answer may be running."""
        self.llm = llm
        self.clock = clock
        self._scheduler = scheduler = llm.scheduler
        self._drafter, self._controller = scheduler.drafter, scheduler.controller
        if clock is not time.perf_counter:
            self._count_with(clock)

    @property
    def draft_model(self) -> ModelDrafter | None:
        """The drafter of the draft model, alone or among others; None without one."""
        found = self._sources().get("model")
        return found if isinstance(found, ModelDrafter) else None

    @property
    def has_sources(self) -> bool:
        """Whether anything guesses at all."""
        return bool(self._sources())

    def check(self, mode: Mode) -> None:
        """Raises `ForedraftError` when the pair lacks the source that a mode needs."""
        wanted = mode.speculation.method
        if wanted == "off" or wanted in self._sources() or (wanted == "auto" and self.has_sources):
            return
        have = ", ".join(self._sources()) or "none"
        raise ForedraftError(
            f"Mode {mode.name} needs guesses from {wanted!r}; what is loaded has: {have}.",
            hint="Load a draft that fits (--draft), or leave this mode out.",
        )

    def set(self, mode: Mode) -> None:
        scheduler = self.llm.scheduler
        if mode.name == PLAIN:
            scheduler.drafter, scheduler.controller = NoDrafter(), Fixed(0)
        elif mode.gamma is not None and self.draft_model is not None:
            scheduler.drafter, scheduler.controller = self.draft_model, Fixed(mode.gamma)
        else:
            self.restore()

    def leave(self) -> None:
        """Give the pair back as it was."""
        self.restore()
        if self.llm.scheduler is not self._scheduler:
            self._scheduler.slots.clear()
            self.llm.scheduler = self._scheduler
            if self.draft_model is not None:
                self.draft_model.clock = time.perf_counter

    def restore(self) -> None:
        """Drafter and controller as they were loaded."""
        scheduler = self.llm.scheduler
        scheduler.drafter, scheduler.controller = self._drafter, self._controller

    def _count_with(self, clock: Callable[[], float]) -> None:
        """Everything that looks at a clock looks at this one, the controller's costs included."""
        draft = self.draft_model
        if draft is not None:
            draft.clock = clock
        if isinstance(self._controller, Throttled) and isinstance(self._controller.inner, Adaptive):
            costs = measure(self.llm.engine, None if draft is None else draft.engine, clock=clock)
            old = self._controller.inner
            new = Adaptive(costs, old.calibration, promise=old.promise, max_draft=old.max_draft)
            self._controller = Throttled(new)
        on_round = self._scheduler.on_round
        self.llm.scheduler = Scheduler(self.llm.engine, self._drafter, self._controller, clock=clock, on_round=on_round)

    def _sources(self) -> dict[str, Drafter]:
        sources: dict[str, Drafter] | None = getattr(self._drafter, "sources", None)
        if sources is not None:
            return sources
        return {} if isinstance(self._drafter, NoDrafter) else {self._drafter.name: self._drafter}


@contextmanager
def stage(llm: LLM, clock: Callable[[], float] = time.perf_counter) -> Iterator[Stage]:
    """A stage for the time of a measurement."""
    made = Stage(llm, clock)
    try:
        yield made
    finally:
        made.leave()
