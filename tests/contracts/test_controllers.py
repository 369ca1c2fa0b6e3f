"""The contract of every controller: legal look-aheads for answers that come and go, and recovery after a bad stretch.

Mutants that were made by hand and the test that kills each:
- `plan` ignores `look_ahead` and guesses past max_tokens: test_never_past_the_limits
- a plan for each slot and not for each answer: test_answers_that_come_and_go
- λ and trust forget nothing (decay and hazard 0): test_recovers_after_a_bad_stretch
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.params import MAX_DRAFT, Request, SamplingParams, SpeculationParams
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers import CONTROLLERS
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters import Arbiter
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.simulator import CURVES, SimulatedDraft, Stream, World, new_sequence, one_round

EVERY = pytest.mark.parametrize("name", CONTROLLERS)


def flat(confidence: float, chance: float, n: int) -> Stream:
    return Stream([confidence] * n, [chance] * n, [chance > 0.5] * n)


def constant(*parts: tuple[float, float, int]) -> Stream:
    """Stretches of (confidence, stands or not, tokens)."""
    whole = Stream([], [], [])
    for part in parts:
        piece = flat(*part)
        whole.confidence += piece.confidence
        whole.chance += piece.chance
        whole.stands += piece.stands
    return whole


@EVERY
@settings(max_examples=60, deadline=None)
@given(
    max_tokens=st.integers(1, 12),
    max_draft=st.one_of(st.none(), st.integers(0, MAX_DRAFT)),
    min_draft=st.integers(0, 4),
    p_min=st.sampled_from([0.0, 0.5]),
    method=st.sampled_from(["auto", "model", "suffix", "off"]),
    acceptance=st.sampled_from(sorted(RULES)),
    n_ctx=st.integers(3, 20),
    right=st.booleans(),
)
def test_never_past_the_limits(
    name: str, max_tokens: int, max_draft: int | None, min_draft: int, p_min: float, method: str, acceptance: str,
    n_ctx: int, right: bool,
) -> None:  # fmt: skip
    speculation = SpeculationParams(
        max_draft=max_draft, min_draft=min_draft, p_min=p_min, method=method, acceptance=acceptance
    )
    params = SamplingParams(temperature=0.8, seed=1)
    request = Request((0, 0), params, speculation, max_tokens=max_tokens)
    sequence = RunningSequence(request, 0, Sampler(params), RULES[acceptance](), eog=(), n_ctx=n_ctx)
    controller, world = CONTROLLERS[name](), World(CURVES["CPU"])
    drafter = Arbiter([SimulatedDraft(world, {0: flat(0.95, float(right), 100)})])
    while sequence.room > 0:
        limit = max(0, sequence.room - 1)
        if max_draft is not None:
            limit = min(limit, max_draft)
        if method == "off":
            limit = 0
        [plan] = controller.plan([sequence])
        assert 0 <= plan.limit <= limit
        for source in ("model", "suffix"):
            most, _ = plan.offer(source)
            assert 0 <= most <= limit
            kept, _ = plan.keep(source, [0.9] * 40)
            assert 0 <= kept <= limit
        record = one_round([sequence], drafter, controller, world)
        assert len(record.proposals[0]) <= limit
    status, reason = controller.status
    assert status in ("active", "off", "paused")
    assert reason


@EVERY
@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["come", "go", "round", "round", "round"]), min_size=5, max_size=40), st.integers(0, 9))
def test_answers_that_come_and_go(name: str, happenings: list[str], seed: int) -> None:
    controller, world = CONTROLLERS[name](), World(CURVES["GPU"], seed=seed)
    text = constant((0.9, 1.0, 500))
    drafter = Arbiter([SimulatedDraft(world, dict.fromkeys(range(4), text))])
    running: dict[int, RunningSequence] = {}
    for happening in happenings:
        if happening == "come" and len(running) < 4:
            slot = next(i for i in range(4) if i not in running)
            running[slot] = new_sequence(slot)
        elif happening == "go" and running:
            drafter.forget(slot := min(running))
            del running[slot]
        elif happening == "round":
            sequences = list(running.values())
            plans = controller.plan(sequences)
            assert len(plans) == len(sequences)
            if sequences:
                one_round(sequences, drafter, controller, world)


@EVERY
def test_recovers_after_a_bad_stretch(name: str) -> None:
    """400 tokens of which no guess stands, then a text where all do: soon it guesses again."""
    text = constant((0.9, 1.0, 100), (0.9, 0.0, 400), (0.9, 1.0, 1500))
    world = World(CURVES["GPU"])
    controller: DraftController = CONTROLLERS[name]()
    if name == "adaptive":
        controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {0: text})])
    sequence = new_sequence()
    depths: list[int] = []
    at: list[int] = []
    while len(sequence.tokens) < 1900:
        at.append(len(sequence.tokens) - 2)
        depths.append(len(one_round([sequence], drafter, controller, world).proposals[0]))
    late = [depth for depth, token in zip(depths, at, strict=True) if token > 1200]
    assert sum(late) / len(late) > 1.0
