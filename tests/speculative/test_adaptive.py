"""The adaptive controller on a virtual clock: what it reaches, what it promises, what it says.

Mistakes that these tests must notice are made on purpose in `test_controller_mutants.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.errors import ParameterError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.acceptance import BUCKETS, FIRST, Calibration
from foredraft.speculative.controllers.adaptive.budget import PRESETS, LossBudget
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.hyperparameters import DEFAULT
from foredraft.speculative.controllers.throttled import Throttled
from foredraft.speculative.drafters import Arbiter
from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.simulator import (
    CURVES,
    T1,
    SimulatedDraft,
    Stream,
    World,
    fork_oracle,
    new_sequence,
    one_round,
    oracle,
    simulate,
    stream,
)

# ---- what it reaches (the whole table: python -m tests.speculative.simulator) ----


@pytest.mark.parametrize(
    ("curve", "kind", "share"),
    [
        ("CPU", "mixed", 0.94),
        ("GPU", "good", 0.94),
        ("GPU", "iid", 0.92),
        ("MoE", "mixed", 0.88),
    ],
)
def test_near_the_best_that_could_be_done(curve: str, kind: str, share: float) -> None:
    """A short run; over 20,000 tokens the bars are 0.95 and, for MoE, 0.88."""
    text, world = stream(kind, 2500, 1), World(CURVES[curve], seed=5)
    assert simulate(text, world).speed >= share * oracle(text, world)


@pytest.mark.parametrize(
    ("curve", "kind", "share"),
    [("CPU", "good", 0.95), ("GPU", "good", 0.92), ("CPU", "mixed", 0.9), ("GPU", "iid", 0.9)],
)
def test_near_the_best_where_rejections_are_read_again(curve: str, kind: str, share: float) -> None:
    """A main model that goes back by a fork: the oracle knows what each look-ahead will owe."""
    text, world = stream(kind, 2500, 1), World(CURVES[curve], seed=5, fork=True)
    assert simulate(text, world).speed >= share * fork_oracle(text, World(CURVES[curve], seed=5))


def test_a_fork_is_priced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faster than where the controller takes rejected guesses to cost nothing more."""
    text = stream("iid", 2500, 1)
    priced = simulate(text, World(CURVES["GPU"], seed=5, fork=True))
    monkeypatch.setattr(CostModel, "forked", property(lambda self: False, lambda self, forked: None), raising=False)
    assert priced.speed > 1.01 * simulate(text, World(CURVES["GPU"], seed=5, fork=True)).speed


@pytest.mark.parametrize("fork", [False, True])
@pytest.mark.parametrize(("curve", "kind"), [("CPU", "bad"), ("47M-Q8", "adversarial"), ("3B-Q4-0", "bad")])
def test_never_slower_on_hopeless_text(curve: str, kind: str, fork: bool) -> None:
    """3,000 tokens; over 20,000 the bar is 0.995."""
    text, world = stream(kind, 3000, 2), World(CURVES[curve], seed=6, fork=fork)
    assert simulate(text, world).speed >= 0.99


@pytest.mark.parametrize("curve", ["GPU", "1B-Q4KM"])
def test_never_much_slower_in_a_cold_short_answer(curve: str) -> None:
    for seed in range(3):
        world = World(CURVES[curve], seed=seed)
        assert simulate(stream("adversarial", 300, seed), world).speed >= 0.975


def test_jumps_over_an_expensive_row() -> None:
    """Two rows cost almost as much as eight: a guess of one never pays here, one of seven does."""
    curve = [1.0, 1.9, 1.9, 1.92, 1.95, 1.97, 2.0, 2.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5]
    text, world = stream("good", 1500, 3), World(curve, c=0.02, seed=1)
    run = simulate(text, world)
    used = [k for k in run.gammas if k]
    assert sum(used) / len(used) > 5.0
    assert run.speed > 2.0


# ---- what it promises ----


@given(
    st.lists(
        st.tuples(st.sampled_from([True, True, False]), st.sampled_from([0, 0, 0, 0, 1, 3, 16]), st.floats(0, 5)),
        min_size=10,
        max_size=60,
    ),
    st.sampled_from(sorted(PRESETS)),
)
@settings(max_examples=100, deadline=None)
def test_the_bucket_keeps_its_inequality(rounds: list[tuple[bool, int, float]], name: str) -> None:
    """Whoever only guesses when the credit covers the worst case stays within (1 + ε)·N + B in every window."""
    preset = PRESETS[name]
    bucket = LossBudget(preset)
    sums = [0.0]
    for guesses, stood, worst in rounds:
        if guesses and bucket.credit >= worst:
            steps = 1.0 + worst
            bucket.spend(stood + 1, steps)
            sums.append(sums[-1] + steps - (1.0 + preset.epsilon) * (stood + 1))
        else:
            bucket.earn()
            sums.append(sums[-1] - preset.epsilon)
        assert -1e-9 <= bucket.credit <= preset.size
    lowest = math.inf
    for total in sums:
        lowest = min(lowest, total)
        assert total - lowest <= preset.size + 1e-9


@pytest.mark.parametrize("name", PRESETS)
def test_who_always_loses_loses_no_more_than_the_bucket(name: str) -> None:
    preset = PRESETS[name]
    bucket, lost = LossBudget(preset), 0.0
    for _ in range(2000):
        if bucket.credit >= 0.5:
            worst = min(bucket.credit, 3.0)
            lost += worst - preset.epsilon
            bucket.spend(1, 1.0 + worst)
        else:
            lost -= preset.epsilon
            bucket.earn()
        assert lost <= preset.start + 1e-9


@pytest.mark.parametrize("curve", ["CPU", "GPU", "MoE", "1B-Q4KM"])
def test_no_guess_risks_more_than_there_is(curve: str) -> None:
    """Where the costs are known, the credit covers the worst case of every guess: it never goes below zero."""
    world = World(CURVES[curve], noise=0.0)
    costs = CostModel({n: T1 * world.v(n) for n in range(1, 18)}, T1 * world.c)
    controller = Adaptive(costs, promise="strict")
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: stream("adversarial", 2000, 1)})]), new_sequence()
    for _ in range(400):
        one_round([sequence], drafter, controller, world)
        assert controller.credit(sequence) >= -0.02  # a catch-up of two tokens is not foreseen to the last digit


@given(data=st.data(), seed=st.integers(0, 2**16), name=st.sampled_from(sorted(PRESETS)))
@settings(max_examples=20, deadline=None)
def test_the_promise_holds(data: st.DataObject, seed: int, name: str) -> None:
    """time ≤ (1 + ε)·plain + B over every window: any text, any curve, any draft cost, noise, disturbances.

    A round disturbed to more than `spike` times what it takes is a disturbance in plain decoding too: what is beyond
    that is not counted. Credit may go below zero by what a single round took longer than was known of it.
    """
    stretches = data.draw(
        st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(1, 60)), min_size=1, max_size=8),
        label="(confidence, stands, tokens)",
    )
    steps = data.draw(st.lists(st.floats(-0.1, 1.5), min_size=16, max_size=16), label="v(n + 1) - v(n)")
    c = data.draw(st.floats(0.01, 1.5), label="c")
    spikes = data.draw(st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.3, 0.8, 15.0]), max_size=12), label="spikes")
    curve = [1.0]
    for step in steps:
        curve.append(max(0.7, curve[-1] + step))
    text = Stream([], [], [])
    while len(text) < 200:
        for confidence, stands, n in stretches:
            text.confidence += [confidence] * n
            text.chance += [float(stands)] * n
            text.stands += [stands] * n
    world = World(curve, c=c, noise=0.02, spikes=spikes, seed=seed)
    preset = PRESETS[name]
    controller = Adaptive(world.measured(), promise=preset)
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: text})]), new_sequence()
    total = lowest = 0.0
    deepest = 0.0
    while sequence.n_emitted < len(text):
        plain_s = controller.costs.pass_s(1)
        calm = spikes[world.rounds % len(spikes)] if spikes else 1.0
        record = one_round([sequence], drafter, controller, world)
        tokens = record.emitted[0]
        if record.rows > 1 or record.draft_s:
            verify_s = min(record.verify_s, 1.1 * DEFAULT.spike * record.verify_s / max(calm, 1.0))
            total += (verify_s + record.draft_s) / plain_s - (1.0 + preset.epsilon) * tokens
        else:
            total -= preset.epsilon
        deepest = min(deepest, controller.credit(sequence))
        lowest = min(lowest, total)
        # 5 %: the plain step's time moves with its estimate from round to round
        assert total - lowest <= 1.05 * (preset.size - deepest) + 0.5


def test_strict_risks_less_than_standard() -> None:
    lost = {}
    for name in ("strict", "standard", "eager"):
        world = World(CURVES["MoE"], seed=1)
        run = simulate(stream("adversarial", 300, 1), world, Adaptive(world.measured(), promise=name))
        lost[name] = run.time - run.tokens
    assert lost["strict"] <= lost["standard"] + 1.0
    assert all(loss < 0.04 * 300 for loss in lost.values())


def test_an_unknown_promise_is_refused() -> None:
    with pytest.raises(ParameterError, match="standard, strict, eager"):
        Adaptive(promise="reckless")


@pytest.mark.parametrize("kinds", [("good", "adversarial"), ("good", "bad", "bad"), ("mixed",) * 4])
def test_guesses_cost_other_answers_no_more_than_promised(kinds: tuple[str, ...]) -> None:
    """Every answer of a shared pass is held to its own plain time, guesses of its neighbours included."""
    world = World(CURVES["CPU"], seed=3)
    controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {i: stream(kind, 6000, i) for i, kind in enumerate(kinds)})])
    sequences = [new_sequence(i) for i in range(len(kinds))]
    time = 0.0
    for _ in range(700):
        time += one_round(sequences, drafter, controller, world).total_s / T1 / world.v(len(kinds))
    for sequence in sequences:
        assert time <= 1.02 * sequence.n_emitted + 20.0


def test_several_good_answers_gain_together() -> None:
    world = World(CURVES["MoE"], seed=3)
    controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {i: stream("good", 6000, i) for i in range(3)})])
    sequences = [new_sequence(i) for i in range(3)]
    time = sum(one_round(sequences, drafter, controller, world).total_s for _ in range(300)) / T1 / world.v(3)
    assert all(sequence.n_emitted > 1.4 * time for sequence in sequences)


# ---- what it learns ----


def verdict(
    controller: Adaptive,
    sequence: RunningSequence,
    x: Proposal,
    accepted: int,
    *,
    took: float = T1,
    draft_s: float = 0.0,
) -> Round:
    """One round with a given proposal: what stands is token 0."""
    controller.plan([sequence])
    sequence.tokens.extend([0] * (accepted + 1))
    kind = "corrected" if accepted < len(x) else "bonus" if len(x) else "plain"
    record = Round(
        [sequence], [x], [Verification(accepted, 0, kind, min(accepted + 1, len(x)))], [accepted + 1],
        draft_s, took, took + draft_s, len(x) + 1,
    )  # fmt: skip
    controller.observe(record)
    return record


def drawn(stands: list[bool], confidence: float = 0.9) -> Proposal:
    return Proposal([0 if s else 1 for s in stands], None, "model", [confidence] * len(stands), 0.002)


def test_guesses_behind_the_first_rejection_teach_nothing() -> None:
    controller, sequence = Adaptive(CostModel({1: T1, 8: 2 * T1}, 0.1 * T1)), new_sequence()
    verdict(controller, sequence, drawn([True, False, True, True]), 1)
    assert controller.calibration.table("model", "greedy").learned == 2


def test_a_guess_held_back_is_judged_by_what_was_written() -> None:
    controller, sequence = Adaptive(CostModel({1: T1, 8: 2 * T1}, 0.1 * T1)), new_sequence()
    verdict(controller, sequence, Proposal(rivals=[drawn([True, True])]), 0)
    table = controller.calibration.table("model", "greedy")
    assert table.learned == 1  # the second position was not written
    assert table.acceptance == 1.0


def test_probes_are_few_and_do_not_stop() -> None:
    """In a hopeless text the draft is asked again, ever more rarely."""
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: stream("adversarial", 3000, 1)})]), new_sequence()
    seen = []
    for _ in range(2400):
        [x] = one_round([sequence], drafter, controller, world).proposals
        seen.append(bool(x.tokens or x.rivals))
    assert sum(seen[:600]) > 0
    assert sum(seen[1200:]) > 0
    assert sum(seen) < 40


def test_the_next_answer_in_a_slot_is_another_answer() -> None:
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {0: stream("good", 3000, 1)})])
    for _ in range(2):
        sequence = new_sequence()
        for _ in range(30):
            one_round([sequence], drafter, controller, world)
        assert sequence.stats.saved_s is not None
        assert sequence.stats.saved_s > 0.0


def test_sources_that_were_not_used_are_learned_too() -> None:
    controller, sequence = Adaptive(CostModel({1: T1, 8: 2 * T1}, 0.1 * T1)), new_sequence()
    found = Proposal([0, 0, 1], None, "suffix", [0.8] * 3)
    x = drawn([True, True, True])
    x.rivals = [found]
    verdict(controller, sequence, x, 3)
    assert controller.calibration.table("suffix", "greedy").learned == 3
    assert controller.calibration.table("suffix", "greedy").acceptance == pytest.approx(2 / 3, rel=0.01)


def test_the_request_bounds_the_guess() -> None:
    text = Stream([0.9] * 400, [1.0] * 400, [True] * 400)
    world = World(CURVES["GPU"], seed=1)
    assert max(simulate(text, world, speculation=SpeculationParams(max_draft=2)).gammas) == 2
    assert max(simulate(text, world, speculation=SpeculationParams(max_draft=0)).gammas) == 0
    assert max(simulate(text, world, speculation=SpeculationParams(p_min=0.95)).gammas) == 1


def test_a_request_may_have_its_guesses_in_every_round() -> None:
    """Where no guess would pay, the controller makes none; who asks for them all the same gets them all."""
    hopeless = Stream([0.02] * 200, [1.0] * 200, [False] * 200)
    world = World(CURVES["CPU"], seed=1)
    assert simulate(hopeless, world, speculation=SpeculationParams(max_draft=4)).gammas.count(4) < 20
    steady = simulate(hopeless, world, speculation=SpeculationParams(max_draft=4, adapt=False)).gammas
    assert set(steady[:-4]) == {4}


def test_a_draft_has_the_least_length_asked_for_or_is_not_sent() -> None:
    for least in (0, 3):
        sequence = new_sequence(speculation=SpeculationParams(min_draft=least, p_min=0.12))
        [plan] = Adaptive(CostModel({1: T1, 2: 1.9 * T1, 8: 4 * T1}, 0.1 * T1)).plan([sequence])
        assert plan.limit >= 3
        assert plan.go_on(1, 0.15) is (least == 3), "it would be thrown away if it ended here"
        assert plan.go_on(2, 0.1) is False, "p_min ends it all the same"
        assert plan.keep("suffix", [0.99, 0.99])[0] == (0 if least else 2)
        assert plan.keep("suffix", [0.99, 0.2, 0.2, 0.2])[0] in ((0, 3, 4) if least else (0, 1))
        assert plan.keep("suffix", [0.99, 0.99, 0.1])[0] == (0 if least else 2)


@pytest.mark.parametrize("acceptance", ["rejection", "block"])
def test_laws_that_need_it_are_never_anticipated(acceptance: str) -> None:
    """The plan of such an answer never weighs holding back: its value of stopping is that of reading everything."""
    params = SamplingParams(temperature=0.9, seed=1)
    request = Request((0, 0), params, SpeculationParams(acceptance=acceptance))
    sequence = RunningSequence(request, 0, Sampler(params), RULES[acceptance](), eog=(), n_ctx=1000)
    answer = Adaptive(CostModel({1: T1, 8: 2 * T1}, 0.1 * T1))._state(sequence)
    assert answer.may_hold is False


# ---- bad input, and what it says ----


@pytest.mark.parametrize("odd", [-5.0, 0.0, math.nan, math.inf, 3600.0])
def test_a_clock_that_jumps(odd: float) -> None:
    """One impossible round changes nothing that matters; the answer's credit and speed survive."""
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    text = stream("good", 4000, 1)
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: text})]), new_sequence()
    for _ in range(100):
        one_round([sequence], drafter, controller, world)
    credit = controller.credit(sequence)
    verdict(controller, sequence, drawn([True, True, False]), 2, took=odd, draft_s=odd)
    assert controller.credit(sequence) > credit - 4.0
    depths = [len(one_round([sequence], drafter, controller, world).proposals[0]) for _ in range(50)]
    assert sum(depths) > 100
    assert sequence.stats.saved_s is not None
    assert math.isfinite(sequence.stats.saved_s)


def test_what_was_saved_is_near_the_truth() -> None:
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: stream("good", 4000, 1)})]), new_sequence()
    time = sum(one_round([sequence], drafter, controller, world).total_s for _ in range(400))
    truth = sequence.n_emitted * T1 - time
    saved, error = sequence.stats.saved_s, sequence.stats.saved_error_s
    assert saved is not None
    assert error is not None
    assert saved == pytest.approx(truth, abs=max(2 * error, 0.05 * truth))
    assert 0.0 < error < 0.2 * truth


def test_it_says_what_it_does() -> None:
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {0: stream("good", 3000, 1)})])
    sequence = new_sequence()
    for _ in range(60):
        one_round([sequence], drafter, controller, world)
    status, reason = controller.status
    assert status == "active"
    assert "tokens a round" in str(reason)


def test_it_says_why_it_pauses() -> None:
    world = World(CURVES["CPU"], seed=1)
    controller = Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {0: stream("adversarial", 3000, 1)})])
    sequence = new_sequence()
    for _ in range(150):
        one_round([sequence], drafter, controller, world)
    status, reason = controller.status
    assert status == "paused"
    assert "%" in str(reason) or "plain steps" in str(reason)


def test_a_parked_draft_is_off_with_its_reason() -> None:
    controller, sequence = Adaptive(CostModel({1: T1, 8: 2 * T1}, 0.1 * T1)), new_sequence()
    controller.park("model", "The draft model failed: NaN.")
    [plan] = controller.plan([sequence])
    assert plan.limit == 0
    assert controller.status == ("off", "The draft model failed: NaN.")


def test_without_a_draft_only_found_guesses_are_planned() -> None:
    controller, sequence = Adaptive(CostModel({1: T1, 8: 2 * T1})), new_sequence()
    [plan] = controller.plan([sequence])
    assert plan.limit == 0
    most, _ = plan.offer("suffix")
    assert most > 0
    kept, gain = plan.keep("suffix", [0.95] * 8)
    assert kept > 3
    assert gain > 0


# ---- models so fast that deciding is dear ----


def credit_at_first(plain_s: float, answers: Iterable[int] = ()) -> float:
    """What may be risked in an answer behind others of so many tokens, in which nothing was earned or lost."""
    controller = Adaptive(CostModel({1: plain_s, 8: 2.5 * plain_s}, 0.15 * plain_s))
    for length in answers:
        sequence = new_sequence()
        answer = controller._state(sequence)
        answer.budget.credit = 0.0
        sequence.tokens += [0] * length
        sequence.stop_reason = "length"
        controller._end(answer)
    return controller.credits.first(plain_s)


def test_what_nobody_notices_may_be_risked() -> None:
    """10 ms, but no more than a small share of answers like the last ones; with 20 ms a token the promise's start."""
    assert credit_at_first(0.02) == PRESETS["standard"].start
    assert credit_at_first(0.0001) == PRESETS["standard"].start
    assert credit_at_first(0.0001, answers=[1000] * 30) == pytest.approx(PRESETS["standard"].size, abs=0.1)
    assert credit_at_first(0.001, answers=[1000] * 30) == pytest.approx(10.0)
    assert credit_at_first(0.0001, answers=[10] * 30) < 2.5


def test_credit_is_not_spent_on_guesses_too_short_to_bring_anything() -> None:
    """v(2) = 1.8: one guess hardly pays even if it stands, three do. Credit for one is saved for three."""
    costs = CostModel({1: T1, 2: 1.8 * T1, 3: 1.9 * T1, 4: 2.0 * T1, 8: 2.5 * T1}, 0.1 * T1)
    controller = Adaptive(costs)
    for _ in range(50):
        controller.calibration.table("model", "greedy").next.learn(FIRST, BUCKETS - 1)
    sequence = new_sequence()
    budget = controller._state(sequence).budget
    budget.credit = 1.0
    assert controller.plan([sequence])[0].limit == 0
    budget.credit = 3.0
    assert controller.plan([sequence])[0].limit >= 3


def test_earned_credit_outlives_the_process() -> None:
    calibration = Calibration()
    controller = Adaptive(CostModel({1: T1}, 0.1 * T1), calibration)
    first = new_sequence()
    controller._state(first).budget.credit = 17.0
    controller._state(new_sequence())
    assert controller.credit(new_sequence(1)) == 17.0, "in whatever slot"
    kept = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    again = Adaptive(CostModel({1: T1}, 0.1 * T1), kept)
    assert again.credit(new_sequence()) == 17.0


def test_an_answer_begins_with_a_probe_until_that_fails_again_and_again() -> None:
    controller = Adaptive(CostModel({1: T1, 4: 2.9 * T1, 8: 5.0 * T1}, 0.1 * T1))
    begins = []
    for slot in range(40):
        sequence = new_sequence(slot)
        look = controller.plan([sequence])[0]
        begins.append(look.limit > 0)
        x = drawn([False], 0.5) if look.limit else Proposal()
        sequence.tokens.append(0)
        kept = Proposal(rivals=[x]) if len(x) else x  # drawn, found doubtful, and not read
        controller.observe(Round([sequence], [kept], [Verification(0, 0, "plain", 0)], [1], 0.002, T1, T1, 1))
    assert begins[0]
    assert 4 <= sum(begins) <= 10, "every one, then every second, fourth … sixteenth answer"


def test_a_draft_that_could_never_pay_is_never_asked_and_the_reason_says_so() -> None:
    """Slower than the main model: even if every guess stood, nothing would be gained."""
    world = World(CURVES["CPU"], seed=3, c=1.2)
    controller = Adaptive(world.measured())
    drafter, sequence = Arbiter([SimulatedDraft(world, {0: stream("good", 400, 1)})]), new_sequence()
    for _ in range(200):
        [x] = one_round([sequence], drafter, controller, world).proposals
        assert not x.tokens
        assert not x.rivals
    status, reason = controller.status
    assert status == "paused"
    assert "cannot pay here, not even if every token were accepted" in str(reason)


def test_who_is_left_alone_in_the_pass_is_looked_at_again() -> None:
    """Beside three others guessing did not pay and rounds passed unlooked at; alone it pays, and at once."""
    world = World(CURVES["CPU"], seed=3)
    controller = Throttled(Adaptive(world.measured()))
    answers = [new_sequence(slot) for slot in range(4)]
    drafter = Arbiter([SimulatedDraft(world, {slot: stream("good", 400, slot) for slot in range(4)})])
    one_round(answers, drafter, controller, world)
    controller.throttle.left = 30
    assert controller.plan(answers)[0].limit == 0
    assert controller.plan(answers[:1])[0].limit > 0


def test_plain_passes_nobody_looks_at_still_teach_what_they_cost() -> None:
    world = World(CURVES["CPU"], seed=3)
    controller = Throttled(inner := Adaptive(world.measured()))
    answers = [new_sequence(slot) for slot in range(3)]
    drafter = Arbiter([SimulatedDraft(world, {slot: stream("bad", 4000, slot) for slot in range(3)})])
    one_round(answers, drafter, controller, world)
    for _ in range(60):
        controller.throttle.left = 30
        controller.plan(answers)
        plain = [Proposal() for _ in answers]
        verdicts = [Verification(0, 0, "plain", 0) for _ in answers]
        for sequence in answers:
            sequence.tokens.append(0)
        controller.observe(Round(answers, plain, verdicts, [1] * 3, 0.0, 2.0 * T1, 2.0 * T1, 3))
    assert inner.costs.pass_s(3) == pytest.approx(2.0 * T1, rel=0.1)
