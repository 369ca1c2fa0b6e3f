"""Golden values of the rules: acceptance of one position, expected guesses kept, and block against token by token.

Figures from Sun et al. 2025 (the toy pair) and from independent enumerations of the same pairs (project's brief §1.3,
§2.1). All are computed here by enumerating the product.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.core.params import SamplingParams
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES, Block, Rejection
from foredraft.speculative.proposal import Proposal, Verification
from tests.speculative.enumeration import coupled, outcomes

PARAMS = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=1)

TOY = ((1 / 3, 2 / 3), (2 / 3, 1 / 3))
PAIRS = {
    "A": ((0.5, 0.3, 0.1, 0.06, 0.04), (0.4, 0.3, 0.15, 0.1, 0.05)),
    "B": ((0.1,) * 10, (0.1,) * 10),
    "C": ((0.9, 0.05, 0.03, 0.02), (0.9, 0.05, 0.03, 0.02)),
    "D": ((0.9, 0.06, 0.03, 0.01), (0.5, 0.3, 0.15, 0.05)),
    "E": ((0.5, 0.3, 0.1, 0.06, 0.04), (0.85, 0.1, 0.03, 0.01, 0.01)),
    "F": ((0.55, 0.35, 0.1), (0.3, 0.6, 0.1)),
}
ONE_POSITION = {  # rejection, coupled matching, a greedy draft
    "A": (0.900, 0.871, 0.500),
    "B": (1.000, 1.000, 0.100),
    "C": (1.000, 1.000, 0.900),
    "D": (0.600, 0.600, 0.900),
    "E": (0.650, 0.648, 0.500),
    "F": (0.750, 0.730, 0.350),
}
KEPT = [  # pair, γ, E[τ] of rejection, of block
    (TOY, 1, 2 / 3, 2 / 3),
    (TOY, 2, 10 / 9, 11 / 9),
    (TOY, 4, 1.604938, 2.049383),
    (TOY, 8, 1.921963, 3.106843),
    (PAIRS["A"], 1, 0.9, 0.9),
    (PAIRS["A"], 2, 1.71, 1.73),
    (PAIRS["D"], 1, 0.6, 0.6),
    (PAIRS["D"], 2, 0.96, 1.0),
    (PAIRS["D"], 4, 1.3056, 1.5396),
    (PAIRS["F"], 1, 0.75, 0.75),
    (PAIRS["F"], 2, 1.3125, 1.3875),
    (PAIRS["F"], 4, 2.050781, 2.413969),
]


def law(probs: tuple[float, ...]) -> Distribution:
    return Distribution(np.arange(len(probs)), np.array(probs))


def logits(probs: tuple[float, ...]) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(probs).astype(np.float32)


def judge(rule: str, p: list[tuple[float, ...]], tokens: list[int], q: list[Distribution] | None) -> Verification:
    return judge_rows(rule, np.stack([logits(row) for row in p]), tokens, q)


def judge_rows(rule: str, rows: np.ndarray, tokens: list[int], q: list[Distribution] | None) -> Verification:
    laws = Sampler(PARAMS).laws(rows, tokens, 5)
    return RULES[rule]().accept(laws, Proposal(tokens, q))


def draw_and_judge(rule: str, p: list[tuple[float, ...]], q: list[Distribution]) -> Verification:
    tokens = [one.sample(1000 + i) for i, one in enumerate(q)]
    return judge(rule, p, tokens, q)


def mean_kept(rule: str, p: tuple[float, ...], q: tuple[float, ...], gamma: int) -> float:
    how_many = outcomes(lambda: draw_and_judge(rule, [p] * (gamma + 1), [law(q)] * gamma).accepted)
    return sum(kept * mass for kept, mass in how_many.items())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """How many guesses stand does not depend on the token behind them: one outcome of it is enough."""
    for rule in (Rejection, Block):
        monkeypatch.setattr(rule, "accept", _without_the_last_token(rule.accept))


def _without_the_last_token(accept):
    def quick(self, laws, proposal):
        laws.residual_place = lambda i: 0
        sample = Distribution.sample
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Distribution, "sample", lambda law, place: law.argmax() if not place else sample(law, place))
            return accept(self, laws, proposal)

    return quick


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("pair", "gamma", "token", "block"), KEPT)
def test_expected_guesses_kept(pair: tuple, gamma: int, token: float, block: float) -> None:
    assert mean_kept("rejection", *pair, gamma) == pytest.approx(token, abs=1e-6)
    assert mean_kept("block", *pair, gamma) == pytest.approx(block, abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_acceptance_of_one_position(pair: str) -> None:
    p, q = PAIRS[pair]
    rejection, gumbel, greedy = ONE_POSITION[pair]
    assert mean_kept("rejection", p, q, 1) == pytest.approx(rejection, abs=6e-4)
    assert law(p).overlap(law(q)) == pytest.approx(rejection, abs=1e-9)
    joint = sum(q[x] * coupled(law(p), law(q), x)[x] for x in range(len(p)))
    assert joint == pytest.approx(gumbel, abs=6e-4)
    best = int(np.argmax(q))
    for rule in RULES:
        kept = outcomes(lambda rule=rule: judge(rule, [p, p], [best], None).accepted)
        assert kept[1] == pytest.approx(greedy, abs=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_joint_law_of_coupled_choices_has_the_right_margins(pair: str) -> None:
    """The instrument itself: whatever the draft chose, the target's choice has the target's law."""
    p, q = PAIRS[pair]
    total = np.zeros(len(p))
    for x, mass in enumerate(q):
        given_x = np.array(coupled(law(p), law(q), x))
        assert given_x.sum() == pytest.approx(1.0, abs=1e-12)
        total += mass * given_x
    assert total == pytest.approx(np.array(p), abs=1e-12)


@st.composite
def laws(draw: st.DrawFn, n: int) -> tuple[float, ...]:
    weights = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n).filter(any))
    return tuple(w / sum(weights) for w in weights)


@pytest.mark.usefixtures("quick")
@given(st.data(), st.sampled_from([(2, 1), (2, 2), (2, 3), (3, 2)]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_block_keeps_no_fewer_and_the_lemma_holds_at_every_node(data: st.DataObject, size: tuple[int, int]) -> None:
    """P(τ ≥ i | x1…xi) = P_i at every node (Sun et al. 2025), for laws that differ from place to place."""
    n, gamma = size
    rows = np.stack([logits(data.draw(laws(n))) for _ in range(gamma + 1)])
    p = np.exp(rows.astype(float)) / np.exp(rows.astype(float)).sum(axis=1, keepdims=True)
    q = [data.draw(laws(n)) for _ in range(gamma)]

    def kept_given_x(rule: str) -> dict[tuple[tuple[int, ...], int], float]:
        def run() -> tuple[tuple[int, ...], int]:
            tokens = [law(one).sample(1000 + i) for i, one in enumerate(q)]
            return tuple(tokens), judge_rows(rule, rows, tokens, [law(one) for one in q]).accepted

        return outcomes(run)

    block, token = kept_given_x("block"), kept_given_x("rejection")
    mean = [sum(kept * mass for (_, kept), mass in one.items()) for one in (token, block)]
    assert mean[1] >= mean[0] - 1e-12

    for node in {x[:i] for x, _ in block for i in range(1, gamma + 1)}:
        here = sum(mass for (x, _), mass in block.items() if x[: len(node)] == node)
        beyond = sum(mass for (x, kept), mass in block.items() if x[: len(node)] == node and kept >= len(node))
        weight = 1.0
        for i, x in enumerate(node):
            weight = min(1.0, weight * p[i, x] / q[i][x])
        assert beyond / here == pytest.approx(weight, abs=1e-9)


@pytest.mark.parametrize(
    ("p", "q", "least", "bent"),
    [
        ((0.5, 0.3, 0.2), (0.6, 0.3, 0.1), 0.2, (0.55, 0.33, 0.12)),
        ((0.2, 0.3, 0.5), (0.2, 0.6, 0.2), 0.5, (0.08, 0.42, 0.5)),
    ],
)
@pytest.mark.parametrize("rule", ["rejection", "block"])
def test_dropping_a_drawn_guess_bends_the_law_and_not_drawing_the_next_does_not(
    rule: str, p: tuple[float, ...], q: tuple[float, ...], least: float, bent: tuple[float, ...]
) -> None:
    """The counter-examples of the documentation: a guess less likely than `least` is thrown away after it was drawn."""

    def run(anticipating: bool) -> int:
        x = law(q).sample(1000)
        drop = anticipating and q[x] < least
        laws = Sampler(PARAMS).laws(np.stack([logits(p)] * 2)[: 1 if drop else 2], [] if drop else [x], 5)
        verdict = RULES[rule]().accept(laws, Proposal() if drop else Proposal([x], [law(q)]))
        return x if verdict.accepted else verdict.token

    for anticipating, wanted in ((True, bent), (False, p)):
        got = outcomes(lambda anticipating=anticipating: run(anticipating))
        assert [got.get(token, 0.0) for token in range(3)] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_at_temperature_0_every_rule_is_matching(rule: str) -> None:
    params = SamplingParams(temperature=0.0)
    rows = np.array([[0, 2, 1], [3, 1, 1], [0, 0, 5]], dtype=np.float32)
    spread = Distribution(np.arange(3), np.array([0.2, 0.3, 0.5]))
    for tokens in ([1, 0], [1, 1], [2, 0]):
        for dists in (None, [spread, spread]):
            verdict = RULES[rule]().accept(Sampler(params).laws(rows, tokens, 0), Proposal(tokens, dists))
            wanted = RULES["match"]().accept(Sampler(params).laws(rows, tokens, 0), Proposal(tokens))
            assert (verdict.accepted, verdict.token, verdict.kind) == (wanted.accepted, wanted.token, wanted.kind)


@pytest.mark.parametrize("rule", ["rejection", "block"])
def test_without_guesses_the_token_is_that_of_plain_decoding(rule: str) -> None:
    rows = np.array([[0, 2, 1]], dtype=np.float32)
    sampler = Sampler(PARAMS)
    assert RULES[rule]().accept(sampler.laws(rows, [], 9), Proposal()) == Verification(
        0, sampler.choose(rows[0], [], 9), "plain", tested=0
    )


@pytest.mark.parametrize("rule", ["rejection", "block"])
def test_a_residual_of_rounding_is_never_divided_by(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """p = q but for the last bit, and a uniform number that turns the guess down all the same."""
    p = Sampler(PARAMS).law(logits(PAIRS["F"][0]), [], 0)
    q = Distribution(p.ids, p.probs * (1 - 1e-15))
    monkeypatch.setattr("foredraft.sampling.noise.uniform", lambda place: 2.0)
    rows = np.stack([logits(PAIRS["F"][0])] * 2)
    verdict = RULES[rule]().accept(Sampler(PARAMS).laws(rows, [0], 0), Proposal([0], [q]))
    assert verdict.accepted == 0
    assert verdict.token in (0, 1, 2)
