"""Text with speculation equals text without, token for token; and the counts add up. On exact toy models."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.errors import EngineError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.core.stats import GenerationStats
from foredraft.engines.base import Chunk
from foredraft.engines.toy import ToyEngine
from foredraft.sampling import noise
from foredraft.speculative.controllers import Fixed, LookAhead
from foredraft.speculative.drafters import DRAFTERS, Arbiter, Drafter, ModelDrafter, NoDrafter
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import RunningSequence
from tests.sampling import reference
from tests.speculative.stage import Text, start, write

N = 14
MODELS = [
    ToyEngine.random(0, n_vocab=N, order=2, sharpness=1.0, n_slots=3, n_ctx=150),
    ToyEngine.random(1, n_vocab=N, order=2, sharpness=3.0, n_slots=3, n_ctx=150),
    ToyEngine.from_table({(): [1 / N] * N, (2,): [0, 0, 0.4, 0.4, *[0.2 / (N - 4)] * (N - 4)]}, n_slots=3, n_ctx=150),
]
"""Smooth laws, sharp ones, and one of nothing but ties."""


class Monkey:
    """Guesses anything, any number of it."""

    name = "monkey"

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        return [
            Proposal([self._random.randrange(N) for _ in range(self._random.randint(0, plan.limit))], source=self.name)
            for plan in plans
        ]

    def target_read(self, chunks: Sequence[Chunk]) -> None: ...

    def prefill(self, chunks: Sequence[Chunk]) -> None: ...

    def observe(self, record: Round) -> None: ...

    def forget(self, slot: int) -> None: ...

    def close(self) -> None: ...


def drafter(kind: str, target: ToyEngine, seed: int) -> Drafter:
    if kind == "monkey":
        return Monkey(seed)
    if kind == "none":
        return NoDrafter()
    if kind == "auto":
        found = [DRAFTERS[name]() for name in ("prediction", "suffix", "ngram")]
        return Arbiter([*found, ModelDrafter(target.blurred(0.3), N)])
    if kind in ("suffix", "ngram", "prediction"):
        return DRAFTERS[kind]()
    if kind == "other":
        engine = ToyEngine.random(99, n_vocab=N + 3, order=1, n_slots=3, n_ctx=150)  # and a few ids too many
    else:
        engine = target.blurred({"same": 0.0, "good": 0.2, "bad": 0.9}[kind])
    for failure in ["nan", "error"] if kind == "bad" else []:
        engine.fail(failure, after=seed % 50)
    return ModelDrafter(engine, N)


samplings = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.0, 0.3, 0.8, 1.5]),
    top_k=st.sampled_from([0, 3, 40]),
    top_p=st.sampled_from([0.7, 0.95, 1.0]),
    min_p=st.sampled_from([0.0, 0.05]),
    repeat_penalty=st.sampled_from([1.0, 1.3]),
    frequency_penalty=st.sampled_from([0.0, 0.5]),
    penalty_last_n=st.sampled_from([-1, 3, 64]),
    logit_bias=st.sampled_from([{}, {3: 2.0, 5: float("-inf")}]),
    seed=st.integers(0, 2**64 - 1),
)
requests = st.builds(
    Request,
    prompt=st.lists(st.integers(0, N - 1), min_size=1, max_size=6).map(tuple),
    sampling=samplings,
    max_tokens=st.sampled_from([1, 2, 7, 25]),
    prediction=st.lists(st.integers(0, N - 1), max_size=20).map(tuple),
    ignore_eos=st.booleans(),
    speculation=st.builds(SpeculationParams, min_draft=st.integers(0, 4), p_min=st.sampled_from([0.0, 0.0, 0.3])),
)
kinds = st.sampled_from(["same", "good", "bad", "other", "monkey", "none", "suffix", "ngram", "prediction", "auto"])


def plain(target: ToyEngine, request: Request) -> Text:
    return write(target, NoDrafter(), Fixed(0), start(target, request))


def check_counts(stats: GenerationStats, answer: Text) -> None:
    """The identities of core/stats.py."""
    assert stats.tokens == len(answer) == stats.accepted + stats.rounds - stats.cut
    assert stats.drafted == stats.accepted + stats.rejected + stats.ignored
    assert stats.cut in (0, 1)
    assert sum(stats.accepted_at) == stats.accepted
    assert sum(stats.tested_at) == stats.accepted + stats.rejected
    assert all(a <= t for a, t in zip(stats.accepted_at, stats.tested_at, strict=True))
    assert sum(stats.depth_histogram.values()) == stats.rounds
    assert sum(depth * rounds for depth, rounds in stats.depth_histogram.items()) == stats.drafted
    for name in ("drafted", "accepted", "rejected", "ignored"):
        assert sum(getattr(source, name) for source in stats.by_source.values()) == getattr(stats, name)


@given(st.sampled_from(MODELS), requests, kinds, st.integers(0, 16), st.integers(0, 99))
@settings(max_examples=300, deadline=None)
def test_same_text(target: ToyEngine, request: Request, kind: str, gamma: int, seed: int) -> None:
    wanted = plain(target, request)
    sequence = start(target, request)
    got = write(target, drafter(kind, target, seed), Fixed(gamma), sequence)
    assert got == wanted
    check_counts(sequence.stats, got)
    if kind == "same" and gamma > 0:
        assert sequence.stats.rejected == 0  # coupled: the same model with the same noise is always right


@given(st.sampled_from(MODELS), requests)
@settings(max_examples=60, deadline=None)
def test_plain_decoding_is_argmax_of_the_references_law_and_the_noise(target: ToyEngine, request: Request) -> None:
    """The text without speculation, once more without any line of the loop or the sampler."""
    params, text = request.sampling, list(request.prompt)
    for token in plain(target, request):
        law = reference.law(target.logits(text).tolist(), params, text)
        place = noise.key(params.seed or 0, noise.TARGET, len(text))
        score = [math.log(p) + noise.gumbel_one(place, t) if p > 0 else -math.inf for t, p in enumerate(law)]
        assert score[token] >= max(score) - 1e-9
        text.append(token)


@given(st.sampled_from(MODELS), requests, kinds, st.integers(0, 16), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_a_cancelled_answer_is_a_beginning_of_the_whole_one(
    target: ToyEngine, request: Request, kind: str, gamma: int, rounds: int
) -> None:
    wanted = plain(target, request)
    sequence = start(target, request)
    got = write(target, drafter(kind, target, 0), Fixed(gamma), sequence, rounds)
    assert got == wanted[: len(got)]
    check_counts(sequence.stats, got)


@given(
    st.sampled_from(MODELS),
    st.lists(st.tuples(requests, st.integers(0, 4)), min_size=1, max_size=3),
    kinds,
    st.integers(0, 8),
    st.sets(st.integers(0, 30), max_size=4),
)
@settings(max_examples=80, deadline=None)
def test_sequences_that_come_and_go_do_not_touch_each_other(
    model: ToyEngine, arrivals: list[tuple[Request, int]], kind: str, gamma: int, failing: set[int]
) -> None:
    """Three slots, staggered starts, passes that fail now and then: everyone gets the text they get alone."""
    wanted = [plain(model, request) for request, _ in arrivals]
    target = model.blurred(0.0)
    guesser, controller = drafter(kind, target, 1), Fixed(gamma)
    for after in failing:
        target.fail("cache_full" if after % 2 else "error", after=after + len(arrivals))
    running: list[RunningSequence] = []
    sequences: list[RunningSequence] = []
    for now in range(400):
        for slot, (request, when) in enumerate(arrivals):
            if when == now:
                guesser.forget(slot)
                sequence = None
                while sequence is None:  # passes may fail while the prompt is read, several in a row
                    with suppress(EngineError):
                        sequence = start(target, request, slot=slot)
                sequences.append(sequence)
                running.append(sequence)
        running = [sequence for sequence in running if not sequence.done]
        if running:
            before = [list(sequence.tokens) for sequence in running]
            try:
                run_round(running, target, guesser, controller)
            except EngineError:
                assert before == [sequence.tokens for sequence in running]
        elif now > 4:
            break
    by_slot = {sequence.slot: tuple(sequence.tokens[sequence.n_prompt :]) for sequence in sequences}
    assert [by_slot[slot] for slot in range(len(arrivals))] == wanted
    for sequence in sequences:
        check_counts(sequence.stats, by_slot[sequence.slot])


@pytest.mark.parametrize("acceptance", ["rejection", "block"])
@pytest.mark.parametrize("kind", ["same", "good", "bad", "other", "monkey"])
def test_sampled_rules_on_long_answers_keep_their_counts_and_are_repeatable(acceptance: str, kind: str) -> None:
    target = MODELS[0]
    request = Request(
        (0, 2),
        SamplingParams(temperature=0.9, seed=4),
        SpeculationParams(acceptance=acceptance),
        max_tokens=100,
        ignore_eos=True,
    )
    texts = []
    for _ in range(2):
        sequence = start(target, request)
        texts.append(write(target, drafter(kind, target, 7), Fixed(5), sequence))
        check_counts(sequence.stats, texts[-1])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 100


def test_nan_of_the_target_ends_one_answer_and_not_the_others() -> None:
    laws = {(): [0.2, 0.2, 0.6], (2, 2): [float("nan")] * 3}
    target = ToyEngine.from_table(laws, n_slots=2, n_ctx=60)
    one = start(target, Request((2, 2), SamplingParams(seed=1), max_tokens=5), slot=0)
    two = start(target, Request((0,), SamplingParams(seed=1, logit_bias={2: -50.0}), max_tokens=5), slot=1)
    run_round([one, two], target, NoDrafter(), Fixed(0))
    assert one.stop_reason == "error"
    assert one.error is not None
    assert one.error.code == "nan_logits"
    assert (one.tokens, target.read(0)) == ([2, 2], (2,))
    assert len(two.tokens) == 2
    assert one.stats.rounds == 0
