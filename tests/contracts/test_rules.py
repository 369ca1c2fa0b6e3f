"""Every rule keeps the target's law: exact enumeration through the real loop on tiny vocabularies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from foredraft.core.params import SamplingParams
from foredraft.engines.toy import ToyClock, ToyEngine, ToyTokenizer
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.enumeration import outcomes
from tests.speculative.stage import Text, completed, largest_error, rounds_of_a_pair

EXACT = 1e-12

PLAIN = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 3}
SAMPLING = {
    "plain": {"temperature": 1.0},
    "cool": {"temperature": 0.5},
    "hot": {"temperature": 3.0},
    "greedy": {"temperature": 0.0},
    "top_k": {"temperature": 0.9, "top_k": 2},
    "top_p": {"temperature": 1.2, "top_p": 0.8},
    "min_p": {"temperature": 1.1, "min_p": 0.4},
    "bias": {"temperature": 1.0, "logit_bias": {0: 1.0, 2: -1.5}},
    "forbidden": {"temperature": 1.0, "logit_bias": {0: float("-inf")}},
    "penalties": {"temperature": 1.0, "repeat_penalty": 1.5, "frequency_penalty": 0.6, "presence_penalty": 0.3},
    "short window": {"temperature": 1.0, "frequency_penalty": 1.5, "penalty_last_n": 2},
}


def engine(seed: int, *, n_vocab: int = 3, zeros: float = 0.0) -> ToyEngine:
    """Laws drawn for every text of up to three tokens; a share of the probabilities is exactly zero."""

    def law(context: tuple[int, ...]) -> NDArray[np.float64]:
        rng = np.random.default_rng([seed, *context])
        p = rng.dirichlet(np.ones(n_vocab))
        p[rng.random(n_vocab) < zeros] = 0.0
        p[rng.integers(n_vocab)] += 0.1
        return p / p.sum()

    return ToyEngine(law, ToyTokenizer.of_size(n_vocab), order=3, n_ctx=64)


class Nodewise:
    """Looks as far as the draft's own certainty at the last node says: adaptive, and without anticipation."""

    limit = 3
    wants_confidence = True
    status = ("active", "")

    def go_on(self, drafted: int, confidence: float) -> bool:
        return confidence > 0.55

    def offer(self, source: str) -> tuple[int, float]:
        return self.limit, 1.0

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        return len(confidence), 1.0

    def plan(self, sequences: Sequence[RunningSequence]) -> list[Nodewise]:
        return [self for _ in sequences]

    def observe(self, record: Round) -> None: ...


class NeverZeroTwice:
    """A little grammar: no token 0 after a token 0."""

    def __init__(self) -> None:
        self._last = -1

    def allowed(self, prefix: Sequence[int]) -> NDArray[np.bool_]:
        mask = np.ones(3, dtype=bool)
        mask[0] = (prefix[-1] if prefix else self._last) != 0
        return mask

    def commit(self, tokens: Sequence[int]) -> None:
        self._last = tokens[-1]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("settings", SAMPLING.values(), ids=SAMPLING)
@pytest.mark.parametrize("zeros", [0.0, 0.4], ids=["full support", "zeros"])
def test_one_round_keeps_the_law(rule: str, settings: dict[str, float], zeros: float) -> None:
    target, draft = engine(1, zeros=zeros), engine(2, zeros=zeros)
    params = SamplingParams(**{**PLAIN, **settings})
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params, gamma=3))
    assert largest_error(completed(law, target, params, 4), completed({(): 1.0}, target, params, 4)) <= EXACT


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_two_rounds_keep_the_law(rule: str, seed: int) -> None:
    """Nothing is carried from one round to the next: neither state nor noise."""
    target, draft = engine(seed, n_vocab=2), engine(seed + 50, n_vocab=2)
    target.tokenizer.eog = draft.tokenizer.eog = frozenset()
    params = SamplingParams(**PLAIN, temperature=1.0, frequency_penalty=0.5)
    judge = RULES[rule]()
    judge.needs_laws = True  # `match` with a draft of its own noise: `coupled` cannot tell three uses of one noise
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params, rounds=2, rule=judge)[:4])
    got, wanted = completed(law, target, params, 4), completed({(): 1.0}, target, params, 4)
    assert largest_error(got, wanted) <= EXACT


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_a_length_that_follows_the_drafts_own_law_keeps_the_law(rule: str, seed: int, temperature: float) -> None:
    target, draft = engine(seed), engine(seed + 20)
    params = SamplingParams(**PLAIN, temperature=temperature)
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params, controller=Nodewise))
    assert largest_error(completed(law, target, params, 4), completed({(): 1.0}, target, params, 4)) <= EXACT


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_a_least_length_keeps_the_law(rule: str, seed: int) -> None:
    """A draft that is too short is not sent, but where its law would be bent by that: there it is drawn on."""
    target, draft = engine(seed + 30), engine(seed + 40)
    params = SamplingParams(**PLAIN, temperature=1.0)
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params, gamma=3, min_draft=2, p_min=0.5))
    assert largest_error(completed(law, target, params, 4), completed({(): 1.0}, target, params, 4)) <= EXACT


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["same", "point masses", "disjoint"])
def test_special_drafts_keep_the_law(rule: str, kind: str) -> None:
    """The draft is the target itself, certain of everything, or of the other half of the vocabulary."""
    target = engine(5)
    one = ToyEngine.from_table({(): [0, 0, 1]}, n_ctx=64)
    draft = {"same": engine(5), "point masses": one, "disjoint": one}[kind]
    if kind == "disjoint":
        target = ToyEngine.from_table({(): [0.7, 0.3, 0.0]}, n_ctx=64)
    params = SamplingParams(**PLAIN, temperature=1.0)
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params))
    assert largest_error(completed(law, target, params, 3), completed({(): 1.0}, target, params, 3)) <= EXACT
    if kind == "same" and rule != "match":
        assert all(len(text) == 3 or 1 in text for text in law)  # nothing is ever turned down


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("finder", ["suffix", "ngram", "prediction"])
def test_choosing_among_sources_keeps_the_law(rule: str, finder: str) -> None:
    """What is found in the text goes before the target in some rounds, what the draft draws in others."""
    target, draft = engine(11, n_vocab=2), engine(12, n_vocab=2)
    target.tokenizer.eog = draft.tokenizer.eog = frozenset()
    params = SamplingParams(**PLAIN, temperature=1.0)
    judge = RULES[rule]()
    judge.needs_laws = True
    law = outcomes(
        lambda: rounds_of_a_pair(target, draft, rule, params, rounds=3, rule=judge, finders=[finder], gamma=1)[:5]
    )
    got, wanted = (completed(start, target, params, 5) for start in (law, {(): 1.0}))
    assert largest_error(got, wanted) <= EXACT


@pytest.mark.parametrize("rule", RULES)
def test_the_adaptive_controller_keeps_the_law(rule: str) -> None:
    """What it learned from earlier rounds decides how far later ones look, and between the tokens of one."""
    clock = ToyClock()
    target, draft = engine(21, n_vocab=2), engine(22, n_vocab=2)
    for model in (target, draft):
        model.tokenizer.eog = frozenset()
        model.clock = clock
    target._cost, draft._cost = (lambda n: 1.0 + 0.4 * n), (lambda n: 0.3)
    params = SamplingParams(**PLAIN, temperature=1.0)
    judge = RULES[rule]()
    judge.needs_laws = True
    depths = set()

    class Watched(Adaptive):
        def observe(self, record: Round) -> None:
            depths.update(len(x) for x in record.proposals)
            super().observe(record)

    def run() -> Text:
        clock._now = 0.0
        controller = Watched(CostModel({1: 1.4, 2: 1.8, 3: 2.2}, 0.3), promise="eager", max_draft=2)
        text = rounds_of_a_pair(
            target, draft, rule, params, rounds=2, rule=judge, finders=["suffix"], controller=lambda: controller
        )
        return text[:4]

    got, wanted = (completed(start, target, params, 4) for start in (outcomes(run), {(): 1.0}))
    assert largest_error(got, wanted) <= EXACT
    assert depths == {0, 1, 2}


@pytest.mark.parametrize("rule", RULES)
def test_a_grammar_keeps_its_law_along_the_draft(rule: str) -> None:
    target, draft = engine(8), engine(9)
    target.tokenizer.eog = draft.tokenizer.eog = frozenset()
    params = SamplingParams(**PLAIN, temperature=1.0)
    law = outcomes(lambda: rounds_of_a_pair(target, draft, rule, params, constraint=NeverZeroTwice()))

    def mask(answer: Text) -> list[bool]:
        return [not answer or answer[-1] != 0, True, True]

    got, wanted = (completed(start, target, params, 3, mask) for start in (law, {(): 1.0}))
    assert largest_error(got, wanted) <= EXACT
