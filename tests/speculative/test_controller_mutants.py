"""The controller's tests test it: each mistake, made on purpose in one object, makes the test beside it fail."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foredraft.speculative.controllers import adaptive, throttled
from foredraft.speculative.controllers.adaptive import Adaptive, acceptance, curve
from foredraft.speculative.controllers.adaptive.acceptance import AcceptanceTable, NextConfidence
from foredraft.speculative.controllers.adaptive.budget import LossBudget
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.curve import CostCurve, RobustMean
from foredraft.speculative.controllers.adaptive.drift import DriftFilter
from foredraft.speculative.controllers.adaptive.probing import FirstProbes, ProbeSchedule
from foredraft.speculative.controllers.adaptive.savings import TimeSaved
from foredraft.speculative.controllers.adaptive.sequence_state import SequenceState
from foredraft.speculative.controllers.adaptive.stopping import StoppingPolicy
from foredraft.speculative.controllers.hyperparameters import DEFAULT
from tests.speculative import test_adaptive as of_adaptive
from tests.speculative import test_calibration as of_calibration
from tests.speculative import test_costs as of_costs
from tests.speculative import test_throttled as of_throttled

Patch = pytest.MonkeyPatch
Proof = Callable[[], None]


def always(value: object) -> property:
    """An attribute that keeps its value whatever is written to it."""
    return property(lambda self: value, lambda self, new: None)


# ---- the mistakes ----


def margin_is_a_plain_step(patch: Patch) -> None:
    """Only what saves a whole plain step is believed to pay."""
    init = Adaptive.__init__

    def mutant(self: Adaptive, *args: Any, **more: Any) -> None:
        init(self, *args, **{"hyper": replace(DEFAULT, margin=1.0), **more})

    patch.setattr(Adaptive, "__init__", mutant)


def lambda_is_one(patch: Patch) -> None:
    patch.setattr(SequenceState, "lam", always(1.0), raising=False)


def probes_never_happen(patch: Patch) -> None:
    patch.setattr(ProbeSchedule, "due", lambda self, cost, known: False)
    patch.setattr(FirstProbes, "begin", lambda self, ready: False)


def the_budget_never_drains(patch: Patch) -> None:
    patch.setattr(LossBudget, "spend", lambda self, tokens, steps: self.earn())


def the_worst_case_is_not_looked_at(patch: Patch) -> None:
    patch.setattr(adaptive, "affordable", lambda credit, worst: len(worst) - 1)


def the_richest_decides(patch: Patch) -> None:
    """Only one answer's credit is looked at, not everyone's."""
    patch.setattr(adaptive, "min", lambda *a, **more: (max if more else builtins.min)(*a, **more), raising=False)


def drafting_never_goes_on(patch: Patch) -> None:
    """No look over a jump of the cost curve."""
    patch.setattr(StoppingPolicy, "go_on", lambda self, drafted: np.full_like(self._on[0], -1.0).tolist())


def p_min_is_ignored(patch: Patch) -> None:
    patch.setattr(SequenceState, "p_min", always(0.0), raising=False)


def min_draft_is_ignored(patch: Patch) -> None:
    patch.setattr(SequenceState, "min_draft", always(0), raising=False)


def censored_guesses_teach(patch: Patch) -> None:
    learn = Adaptive._learn

    def mutant(self: Adaptive, state: SequenceState, x: Any, accepted: int, emitted: int) -> None:
        learn(self, state, x, accepted, emitted)
        self.calibration.table(x.source, state.mode).learn([0] * (len(x) - accepted - 1), 0)

    patch.setattr(Adaptive, "_learn", mutant)


def a_jump_of_the_clock_is_charged(patch: Patch) -> None:
    patch.setattr(CostModel, "observe_pass", lambda self, n, context, seconds, plain=False: seconds)


def the_next_answer_goes_on_with_the_last_ones_state(patch: Patch) -> None:
    state = Adaptive._state
    patch.setattr(Adaptive, "_state", lambda self, sequence: self._states.get(sequence.slot) or state(self, sequence))


def savings_are_losses(patch: Patch) -> None:
    add = TimeSaved.add
    patch.setattr(TimeSaved, "add", lambda self, saved_s, error_s=0.0: add(self, -saved_s, error_s))


def a_spike_moves_the_mean(patch: Patch) -> None:
    observe = RobustMean.observe

    def mutant(self: RobustMean, seconds: float) -> float:
        charged = observe(self, seconds)
        self.seconds = seconds
        return charged

    patch.setattr(RobustMean, "observe", mutant)


def a_change_is_a_disturbance_for_ever(patch: Patch) -> None:
    patch.setattr(curve, "_median", lambda values, low=True: 1.0)


def charges_have_no_limit(patch: Patch) -> None:
    observe = RobustMean.observe
    patch.setattr(RobustMean, "observe", lambda self, seconds: observe(self, seconds) and seconds)


def a_slow_machine_is_not_noticed(patch: Patch) -> None:
    patch.setattr(CostCurve, "follow", lambda self, ratio, rate: None)


def blocks_are_interpolated(patch: Patch) -> None:
    def mutant(self: CostCurve, n: int) -> float:
        known = sorted(self.means)
        return float(np.interp(n, known, [self.means[k].seconds for k in known]))

    patch.setattr(CostCurve, "at", mutant)


def rates_need_not_rise(patch: Patch) -> None:
    patch.setattr(acceptance, "isotonic", lambda values, weights: list(values))


def the_prior_never_yields(patch: Patch) -> None:
    patch.setattr(AcceptanceTable, "refresh", lambda self: None)


def counts_never_fade(patch: Patch) -> None:
    def mutant(self: NextConfidence, before: int, at: int) -> None:
        self.counts[before][at] += 1.0

    patch.setattr(NextConfidence, "learn", mutant)


def drift_never_ends(patch: Patch) -> None:
    patch.setattr(DriftFilter, "on_skip", lambda self, tokens: None)


def every_round_is_planned(patch: Patch) -> None:
    patch.setattr(throttled.PlanThrottle, "on_skip", lambda self, cost, due=0.0: None)


def new_sequences_are_slept_through(patch: Patch) -> None:
    patch.setattr(throttled, "_is", lambda one, other: True)


def rising() -> None:
    """`test_rates_rise_with_confidence`"""
    verdicts = [(0.9, False), (0.2, True)] * 40
    of_calibration.test_rates_rise_with_confidence.hypothesis.inner_test(verdicts)


MUTANTS: list[tuple[Callable[[Patch], None], Proof]] = [
    (margin_is_a_plain_step, lambda: of_adaptive.test_near_the_best_that_could_be_done("GPU", "iid", 0.92)),
    (lambda_is_one, lambda: of_adaptive.test_near_the_best_that_could_be_done("GPU", "good", 0.94)),
    (probes_never_happen, of_adaptive.test_probes_are_few_and_do_not_stop),
    (the_budget_never_drains, lambda: of_adaptive.test_who_always_loses_loses_no_more_than_the_bucket("standard")),
    (the_worst_case_is_not_looked_at, lambda: of_adaptive.test_no_guess_risks_more_than_there_is("CPU")),
    (the_richest_decides, lambda: of_adaptive.test_guesses_cost_other_answers_no_more_than_promised(SHARED)),
    (drafting_never_goes_on, of_adaptive.test_jumps_over_an_expensive_row),
    (p_min_is_ignored, of_adaptive.test_the_request_bounds_the_guess),
    (min_draft_is_ignored, of_adaptive.test_a_draft_has_the_least_length_asked_for_or_is_not_sent),
    (censored_guesses_teach, of_adaptive.test_guesses_behind_the_first_rejection_teach_nothing),
    (a_jump_of_the_clock_is_charged, lambda: of_adaptive.test_a_clock_that_jumps(3600.0)),
    (the_next_answer_goes_on_with_the_last_ones_state, of_adaptive.test_the_next_answer_in_a_slot_is_another_answer),
    (savings_are_losses, of_adaptive.test_what_was_saved_is_near_the_truth),
    (a_spike_moves_the_mean, of_costs.test_one_disturbance_teaches_nothing),
    (a_change_is_a_disturbance_for_ever, of_costs.test_a_lasting_change_is_learned),
    (charges_have_no_limit, of_costs.test_what_is_laid_to_a_guess_is_limited),
    (a_slow_machine_is_not_noticed, of_costs.test_a_slower_machine_keeps_its_ratios),
    (blocks_are_interpolated, of_costs.test_nothing_is_interpolated_across_a_border),
    (rates_need_not_rise, rising),
    (the_prior_never_yields, of_calibration.test_the_prior_yields_to_verdicts),
    (counts_never_fade, of_calibration.test_old_counts_fade),
    (drift_never_ends, of_calibration.test_trust_falls_fast_and_comes_back),
    (every_round_is_planned, of_throttled.test_planning_costs_a_hundredth_whatever_a_step_costs),
    (new_sequences_are_slept_through, of_throttled.test_any_controller_is_asked_less_often_and_told_everything),
]
SHARED = ("good", "adversarial")


@pytest.mark.parametrize(("mutant", "proof"), MUTANTS, ids=lambda part: getattr(part, "__name__", "proof"))
def test_mutant_is_killed(mutant: Callable[[Patch], None], proof: Proof, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        proof()


@pytest.mark.parametrize("proof", [rising])
def test_the_proof_that_is_made_here_holds_without_the_mutant(proof: Proof) -> None:
    proof()
