"""What each part of the controller is worth: the same texts with one part switched off, or one number changed.

Parts are switched off through the hyperparameters, or by an object in the place of another. Differences below about
half a per cent are luck: one decision more or less changes all that follow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.budget import Preset
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.controllers.hyperparameters import DEFAULT, Hyperparameters
from tests.speculative.simulator.table import Make, Plan

ENDLESS = 10**9


class Deaf(CostModel):
    """Costs as they were measured at the load; what rounds take teaches nothing."""

    def observe_pass(self, n: int, context: int, seconds: float, *, plain: bool = False) -> float:
        return self.pass_s(n, context)

    def observe_draft(self, sequences: int, steps: int, behind: int, first_s: float, rest_s: float) -> float:
        return self.first_s(sequences) + (steps - 1) * self.draft_s(sequences) + self.catch_up_s(behind)


def with_numbers(**numbers: Any) -> Make:
    """The controller with some hyperparameters changed."""
    hyper: Hyperparameters = replace(DEFAULT, **numbers)
    return lambda costs: Adaptive(costs, hyper=hyper)


def deaf(costs: CostModel) -> DraftController:
    return Adaptive(Deaf.from_dict(costs.to_dict()))


def without_budget(costs: CostModel) -> DraftController:
    return Adaptive(costs, promise=Preset("none", 0.0, float(ENDLESS), float(ENDLESS)))


PARTS: Mapping[str, Callable[[CostModel], DraftController]] = {
    "as it is": with_numbers(),
    "no margin": with_numbers(margin=0.0),
    "λ is 1: a token's time has one value": with_numbers(lam_prior=float(ENDLESS)),
    "short guesses spend the credit": with_numbers(worth=-float(ENDLESS)),
    "nothing held back": with_numbers(most_held=0),
    "acceptance not learned": with_numbers(kappa=float(ENDLESS)),
    "next confidence not learned": with_numbers(next_kappa=float(ENDLESS)),
    "no drift filter": with_numbers(levels=(1.0,) * len(DEFAULT.levels)),
    "costs not learned in use": deaf,
    "no loss budget": without_budget,
    "no probes but an answer's first": with_numbers(first_wait=ENDLESS, longest_wait=ENDLESS, won_wait=ENDLESS),
    "probes cost what they like": with_numbers(probe_budget=float(ENDLESS)),
    "winnings pay for no probes": with_numbers(won_share=0.0),
}
"""By name: how the controller is made without the part."""


def ablate(plan: Plan) -> None:
    """Print, for each part, the share of the oracle that is reached without it, by kind of text (mean over curves)."""
    show(plan, PARTS)


def sweep(plan: Plan, name: str) -> None:
    """Print the same with one hyperparameter halved, as it is, and doubled."""
    value = getattr(DEFAULT, name)
    steps = {f"{name} = {x:g}": with_numbers(**{name: type(value)(x)}) for x in (value / 2, value, 2 * value)}
    show(plan, steps)


def show(plan: Plan, variants: Mapping[str, Make]) -> None:
    print(f"{'share of the oracle':40}" + "".join(f" {kind:>12}" for kind in plan.streams) + f" {'cold worst':>12}")
    for name, make in variants.items():
        rows = list(plan.rows(make))
        shares = [sum(row.share for row in rows if row.stream == kind) / len(plan.curves) for kind in plan.streams]
        worst = min(itertools.chain([row.worst for row in rows]))
        print(f"{name:40}" + "".join(f" {share:12.4f}" for share in shares) + f" {worst:12.3f}", flush=True)
