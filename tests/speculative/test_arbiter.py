"""The arbiter: the source that promises most, and never a guess bent by looking at it.

Mutants that were made by hand and the test that kills each:
- a drawn guess under `rejection` gives way to a found one: test_what_was_drawn_from_a_law_is_put_before_the_target
- a drawn guess under `rejection` is cut by `keep`: test_what_was_drawn_from_a_law_is_put_before_the_target
- the model runs although what was found promises more: test_a_good_find_spares_the_draft_model
- the request's method is not looked at: test_the_request_chooses_its_sources
- a failing source ends the answer: test_a_failing_source_is_parked_with_its_reason
- guesses that lost are forgotten: test_losers_are_kept_for_learning
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from foredraft.core.errors import EngineError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.drafters.arbiter import Arbiter
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence


class Source:
    """Guesses what it is told to."""

    def __init__(self, name: str, tokens: Sequence[int], confidence: float = 0.9, *, law: bool = False) -> None:
        self.name = name
        self.tokens = list(tokens)
        self.confidence = confidence
        self.law = law
        self.asked = 0
        self.failure: str | None = None
        self.closed = False

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        self.asked += 1
        guesses = []
        for plan in plans:
            tokens = self.tokens[: plan.limit]
            dists = [Distribution(np.arange(3), np.full(3, 1 / 3)) for _ in tokens] if self.law and tokens else None
            guesses.append(Proposal(tokens, dists, self.name, [self.confidence] * len(tokens), 0.001))
        return guesses

    def target_read(self, chunks: object) -> None: ...

    def prefill(self, chunks: object) -> None: ...
    def observe(self, record: Round) -> None: ...
    def forget(self, slot: int) -> None: ...

    def close(self) -> None:
        self.closed = True


class Plan:
    """A look-ahead that expects `hope` of the model and values each found token at `worth`, up to `best` of them."""

    def __init__(self, hope: float = 1.0, worth: float = 1.0, best: int = 16, limit: int = 8) -> None:
        self.hope, self.worth, self.best, self.limit = hope, worth, best, limit
        self.wants_confidence = True

    def go_on(self, drafted: int, confidence: float) -> bool:
        return True

    def offer(self, source: str) -> tuple[int, float]:
        return self.limit, self.hope

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        k = min(len(confidence), self.best)
        return k, k * self.worth


def running(method: str = "auto", acceptance: str = "match") -> RunningSequence:
    params = SamplingParams(temperature=0.8, seed=1)
    request = Request((0, 1), params, SpeculationParams(method=method, acceptance=acceptance))
    return RunningSequence(request, 0, Sampler(params), RULES[acceptance](), eog=(), n_ctx=100)


def test_a_good_find_spares_the_draft_model() -> None:
    model, suffix = Source("model", [1, 1, 1]), Source("suffix", [2, 2, 2, 2])
    [x] = Arbiter([suffix, model]).propose([running()], [Plan(hope=3.0)])
    assert (x.source, x.tokens, model.asked) == ("suffix", [2, 2, 2, 2], 0)


def test_the_model_is_run_where_it_promises_more() -> None:
    model, suffix = Source("model", [1, 1, 1]), Source("suffix", [2])
    [x] = Arbiter([suffix, model]).propose([running()], [Plan(hope=2.0)])
    assert (x.source, x.tokens) == ("model", [1, 1, 1])


def test_losers_are_kept_for_learning() -> None:
    model, suffix, ngram = Source("model", [1, 1, 1]), Source("suffix", [2]), Source("ngram", [4, 4])
    [x] = Arbiter([suffix, ngram, model]).propose([running()], [Plan(hope=2.5)])
    assert x.source == "model"
    assert sorted(y.source for y in x.rivals) == ["ngram", "suffix"]


def test_under_match_a_drawn_guess_may_be_cut_and_remembers_the_rest() -> None:
    [x] = Arbiter([Source("model", [5, 6, 7, 8])]).propose([running()], [Plan(best=2)])
    assert (x.tokens, x.whole, len(x.confidence)) == ([5, 6], [5, 6, 7, 8], 4)


def test_under_match_a_drawn_guess_may_be_held_back() -> None:
    [x] = Arbiter([Source("model", [5, 6])]).propose([running()], [Plan(best=0)])
    assert not x.tokens
    assert [(y.source, y.tokens) for y in x.rivals] == [("model", [5, 6])]


@pytest.mark.parametrize("acceptance", ["rejection", "block"])
@pytest.mark.parametrize("best", [0, 2])
def test_what_was_drawn_from_a_law_is_put_before_the_target(acceptance: str, best: int) -> None:
    """Non-anticipation (docs/concepts/algorithms.md §1.6): no cut, no exchange after a token has been drawn."""
    model, suffix = Source("model", [1, 1, 1, 1], law=True), Source("suffix", [2, 2])
    plan = Plan(hope=9.0, worth=1.0, best=best)
    [x] = Arbiter([suffix, model]).propose([running(acceptance=acceptance)], [plan])
    assert (x.source, x.tokens) == ("model", [1, 1, 1, 1])
    assert x.dists is not None
    assert len(x.dists) == 4


@pytest.mark.parametrize(
    ("method", "wanted"), [("auto", "suffix"), ("model", "model"), ("ngram", "ngram"), ("off", "none")]
)
def test_the_request_chooses_its_sources(method: str, wanted: str) -> None:
    sources = [Source("suffix", [2, 2, 2]), Source("ngram", [3, 3]), Source("model", [1])]
    [x] = Arbiter(sources).propose([running(method)], [Plan(hope=0.5)])
    assert x.source == wanted


def test_a_limit_of_zero_is_plain_decoding() -> None:
    sources = [Source("suffix", [2, 2, 2]), Source("model", [1])]
    [x] = Arbiter(sources).propose([running()], [Plan(limit=0)])
    assert not x.tokens
    assert not any(source.asked for source in sources)


def test_a_failing_source_is_parked_with_its_reason() -> None:
    told: list[tuple[str, str]] = []

    class Broken(Source):
        def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
            raise EngineError("the draft is on fire")

    broken = Broken("model", [])
    arbiter = Arbiter([Source("suffix", [2]), broken], on_park=lambda source, reason: told.append((source, reason)))
    for _ in range(3):
        [x] = arbiter.propose([running()], [Plan(hope=5.0)])
        assert (x.source, x.tokens) == ("suffix", [2])
    assert told == [("model", "the draft is on fire")]
    assert arbiter.parked == {"model": "the draft is on fire"}


def test_a_source_that_says_it_failed_is_parked_too() -> None:
    model = Source("model", [1])
    arbiter = Arbiter([model])
    model.failure = "NaN"
    arbiter.propose([running()], [Plan()])
    arbiter.propose([running()], [Plan()])
    assert (arbiter.parked, model.asked) == ({"model": "NaN"}, 1)


def test_closing_closes_every_source() -> None:
    sources = [Source("suffix", []), Source("model", [])]
    Arbiter(sources).close()
    assert all(source.closed for source in sources)
