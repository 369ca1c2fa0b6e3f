"""`min_draft`: drafts shorter than this are not sent to the main model, whoever guessed and whoever controls.

Mutants that were made by hand and the test that kills each:
- a short draft is sent all the same (`RunningSequence.sent` gives it back): test_a_short_draft_is_not_sent
- a drawn one is dropped where a law binds it: test_what_a_law_binds_is_sent, and
  test_a_least_length_keeps_the_law of the contracts
- the draft is asked although it cannot reach the length: test_nobody_is_asked_for_less_than_the_least
"""

from __future__ import annotations

import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.toy import ToyEngine
from foredraft.sampling.distribution import Distribution
from foredraft.speculative.controllers import CONTROLLERS, Fixed
from foredraft.speculative.drafters import ModelDrafter, NgramDrafter
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.stage import start

N = 12


class Knows(NgramDrafter):
    """Finds so many tokens each time."""

    def __init__(self, found: int) -> None:
        super().__init__()
        self.found, self.asked = found, 0

    def propose(self, sequences, plans):  # type: ignore[no-untyped-def]
        self.asked += sum(plan.limit > 0 for plan in plans)
        return [Proposal([1] * min(self.found, plan.limit), None, self.name) for plan in plans]


def running(
    target: ToyEngine, *, temperature: float = 0.0, max_tokens: int = 40, **speculation: object
) -> RunningSequence:
    params = SpeculationParams(**speculation)  # type: ignore[arg-type]
    sampling = SamplingParams(temperature=temperature, seed=1)
    return start(target, Request((1, 2, 3), sampling, params, max_tokens=max_tokens, ignore_eos=True))


@pytest.mark.parametrize("adapt", [True, False])
@pytest.mark.parametrize("controller", ["fixed", "adaptive"])
def test_a_short_draft_is_not_sent(controller: str, adapt: bool) -> None:
    target = ToyEngine.random(3, n_vocab=N)
    for found, least, sent in ((2, 4, 0), (4, 4, 4), (2, 0, 2)):
        sequence = running(target, min_draft=least, max_draft=6, adapt=adapt)
        record = run_round([sequence], target, Knows(found), CONTROLLERS[controller]())
        if controller == "adaptive" and adapt:  # it may send fewer, or none
            assert len(record.proposals[0]) in range(least, sent + 1) or len(record.proposals[0]) == 0
            continue
        assert len(record.proposals[0]) == sent
        assert sequence.stats.drafted == sent
        assert [len(rival) for rival in record.proposals[0].rivals] == ([found] if not sent else []), (
            "it is learned from"
        )


@pytest.mark.parametrize(
    ("acceptance", "temperature", "sent"), [("match", 0.9, 0), ("rejection", 0.9, 1), ("rejection", 0.0, 0)]
)
def test_what_a_law_binds_is_sent(acceptance: str, temperature: float, sent: int) -> None:
    sequence = running(ToyEngine.random(3, n_vocab=N), temperature=temperature, acceptance=acceptance, min_draft=3)
    assert len(sequence.sent(Proposal([1], [Distribution.one_hot(1)]))) == sent
    assert len(sequence.sent(Proposal([1], None))) == 0, "what was found may be left out under any rule"


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_draft_that_is_bound_is_drawn_to_the_least_length(temperature: float) -> None:
    """`p_min` ends a draft early; under rejection only from `min_draft` tokens on."""
    target = ToyEngine.random(3, n_vocab=N)
    for acceptance in ("match", "rejection"):
        sequence = running(target, temperature=temperature, acceptance=acceptance, min_draft=2, p_min=1.0, max_draft=5)
        record = run_round([sequence], target, ModelDrafter(target.blurred(0.5), N), Fixed())
        bound = acceptance == "rejection" and temperature > 0
        assert len(record.proposals[0]) == (2 if bound else 0)


def test_nobody_is_asked_for_less_than_the_least() -> None:
    target, drafter = ToyEngine.random(3, n_vocab=N), Knows(9)
    for request in ({"max_draft": 2, "min_draft": 3}, {"max_tokens": 3, "min_draft": 3}):
        run_round([running(target, **request)], target, drafter, Fixed(5))  # type: ignore[arg-type]
        assert drafter.asked == 0
    run_round([running(target, max_tokens=4, min_draft=3)], target, drafter, Fixed(5))
    assert drafter.asked == 1
