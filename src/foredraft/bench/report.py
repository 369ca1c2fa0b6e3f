"""Everything a bench run found, as the object of `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from foredraft.bench.costs import Costs
from foredraft.bench.machine import machine
from foredraft.bench.modes import PLAIN
from foredraft.bench.runner import Parted, Run
from foredraft.bench.statistics import Interval, mean
from foredraft.bench.trials import Result, Trials
from foredraft.pair.llm import LLM

BEST_FIXED = "best fixed"
"""Stands for the fastest of the fixed look-aheads that were measured, category by category."""


@dataclass(slots=True)
class Report:
    """A run, finished or not."""

    machine: dict[str, Any]
    model: str
    draft: str | None
    costs: Costs
    trials: Trials
    results: list[Result]
    compared: int
    parted: list[Parted]
    finished: bool
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, llm: LLM, costs: Costs, run: Run, notes: list[str]) -> Report:
        results = run.trials.results()
        if any(result.prompts * run.repeats == 1 for result in results):
            notes = [*notes, "Where a line rests on a single answer, its interval has no width and says nothing."]
        return cls(
            machine(),
            llm.info.name,
            llm.draft_info.name if llm.draft_info is not None else None,
            costs,
            run.trials,
            results,
            run.compared,
            run.parted,
            run.finished,
            [*notes, *run.notes],
        )

    def as_dict(self) -> dict[str, Any]:
        """The object of `foredraft bench --json`. `costs` are in plain steps."""
        return {
            "machine": self.machine,
            "model": self.model,
            "draft": self.draft,
            "costs": self.costs.as_dict(),
            "results": [result.as_dict() for result in self.results],
        }

    def overall(self, mode: str, temperature: float, against: str = PLAIN) -> Interval | None:
        """The mean over categories of how much faster a mode is than another; None without a measurement."""
        found = self.by_category(mode, temperature, against)
        return mean(list(found.values())) if found else None

    def by_category(self, mode: str, temperature: float, against: str = PLAIN) -> dict[str, Interval]:
        """How much faster a mode is than another, or than the `BEST_FIXED` one of each category; without those that
        have nothing to compare."""
        found = {}
        for category in self.trials.categories:
            other = self.best_fixed(category, temperature) if against == BEST_FIXED else against
            if other is None or {mode, other} - {PLAIN, *self.trials.modes}:
                continue
            speedup = self.trials.speedup(category, mode, temperature, other)
            if speedup is not None:
                found[category] = speedup
        return found

    def best_fixed(self, category: str, temperature: float) -> str | None:
        """The fastest of the fixed look-aheads that were measured."""
        fixed = [
            r
            for r in self.results
            if r.category == category and r.temperature == temperature and r.mode.startswith("fixed:")
        ]
        return max(fixed, key=lambda r: r.speedup.value).mode if fixed else None

    def text_check(self) -> str:
        """What became of the promise that the text is unchanged, in words."""
        near = sum(parted.difference.near_tie for parted in self.parted)
        same = f"{self.compared - len(self.parted)} of {self.compared} texts are identical to plain decoding's"
        if not self.parted:
            return f"{same}."
        if near == len(self.parted):
            return f"{same}, {near} part at near-ties (rounding of batches on this machine)."
        return f"{same}, {near} part at near-ties, {len(self.parted) - near} differ without one: that is a defect."
