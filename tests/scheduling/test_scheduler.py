"""The text of a request is that of running it alone, whatever else runs, comes, goes or fails."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.core.errors import ContextOverflowError, EmptyPromptError, EngineError, ParameterError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.rewind import FREE, NONE, Rewind
from foredraft.engines.toy import RecurrentToy, ToyEngine
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.packing import PREFILL_BESIDE_OTHERS
from foredraft.scheduling.request import ScheduledRequest
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import ModelDrafter, NoDrafter

N_VOCAB = 40


def engine(*, n_slots: int = 4, n_ctx: int = 96, n_batch: int = 64, way: Rewind = FREE, **more: object) -> ToyEngine:
    more |= {"n_vocab": N_VOCAB, "sharpness": 1.5, "n_slots": n_slots, "n_ctx": n_ctx, "n_batch": n_batch}
    return ToyEngine.random(7, **more) if way.free else RecurrentToy.random(7, rewind_limit=way, **more)


def scheduler(
    model: ToyEngine, *, gamma: int = 3, blur: float | None = 0.3, draft_ctx: int = 96, **draft: Any
) -> Scheduler:
    drafter = NoDrafter() if blur is None else ModelDrafter(model.blurred(blur, n_ctx=draft_ctx, **draft), N_VOCAB)
    return Scheduler(model, drafter, Fixed(gamma), clock=model.clock)


def finish(one: Scheduler) -> None:
    steps = 0
    while one.busy:
        one.step()
        steps += 1
        assert steps < 5000, "the scheduler does not come to an end"


def alone(request: Request, n_ctx: int = 96, order: int = 2) -> ScheduledRequest:
    """The answer of a plain run with nothing else."""
    one = scheduler(engine(n_slots=1, n_ctx=n_ctx, order=order), gamma=0, blur=None)
    answer = one.submit(request)
    finish(one)
    return answer


@dataclass
class Arrival:
    request: Request
    at: int
    """Before which step it comes."""
    cancelled_after: int | None
    answer: ScheduledRequest | None = None
    grown: list[int] = field(default_factory=list)


tokens = st.integers(2, N_VOCAB - 1)
prompts = st.one_of(
    st.lists(tokens, min_size=1, max_size=60),
    st.lists(tokens, max_size=8).map(lambda end: [2 + i % 30 for i in range(44)] + end),  # a beginning many share
)
requests = st.builds(
    lambda prompt, seed, temperature, most, stop, speculation: Request(
        tuple(prompt),
        SamplingParams(temperature=temperature, seed=seed, top_k=0, min_p=0.0, repeat_penalty=1.1),
        speculation,
        stop=stop,
        max_tokens=most,
    ),
    prompts,
    st.integers(0, 5),
    st.sampled_from([0.0, 1.0]),
    st.one_of(st.none(), st.integers(0, 40)),
    st.sampled_from([(), ("a",), ("the", " cat")]),
    st.sampled_from([SpeculationParams(), SpeculationParams(enabled=False), SpeculationParams(max_draft=1)]),
)
arrivals = st.lists(
    st.builds(Arrival, requests, st.integers(0, 30), st.one_of(st.none(), st.none(), st.integers(0, 20))),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrivals,
    st.integers(1, 4),
    st.sampled_from([None, 0.1, 0.9]),
    st.integers(1, 16),
    st.sampled_from([96, 200]),
    st.lists(st.tuples(st.sampled_from(["cache_full", "cancelled", "error"]), st.integers(0, 40)), max_size=3),
    st.sampled_from([FREE, FREE, NONE]),
)
def test_every_text_is_that_of_a_single_run(
    coming: list[Arrival],
    n_slots: int,
    blur: float | None,
    gamma: int,
    n_batch: int,
    failures: list[tuple[str, int]],
    way: Rewind,
) -> None:
    each_text_is_that_of_a_single_run(engine(n_slots=n_slots, n_batch=n_batch, way=way), coming, blur, gamma, failures)


def each_text_is_that_of_a_single_run(
    model: ToyEngine,
    coming: list[Arrival],
    blur: float | None,
    gamma: int,
    failures: list[tuple[str, int]],
    **draft: Any,
) -> None:
    """Whatever comes, goes and fails. `draft`: how it differs from a toy that goes back freely."""
    for kind, after in failures:
        model.fail(kind, after=after)
    one = scheduler(model, gamma=gamma, blur=blur, **draft)
    step = 0
    while step <= 30 or one.busy:
        for arrival in coming:
            if arrival.at == step:
                arrival.answer = one.submit(arrival.request)
            if arrival.answer is not None and step == arrival.at + (arrival.cancelled_after or 10**6):
                arrival.answer.cancel()
        one.step()
        step += 1
        assert step < 5000

    errors = 0
    for arrival in coming:
        answer, expected = arrival.answer, alone(arrival.request, order=model.order)
        assert answer is not None
        assert answer.done
        assert answer.text == "".join(piece.text for piece in answer.pieces)
        if answer.stop_reason == "error":
            errors += 1
        elif answer.stop_reason == "cancelled":
            assert answer.tokens == expected.tokens[: len(answer.tokens)]
            assert expected.text.startswith(answer.text.rstrip("\ufffd"))
        else:
            assert answer.tokens == expected.tokens
            assert answer.text == expected.text
            assert answer.stop_reason == expected.stop_reason
            stats = answer.stats
            assert stats.tokens == len(answer.tokens)
            assert stats.tokens == stats.accepted + stats.rounds - stats.cut
            assert stats.drafted == stats.accepted + stats.rejected + stats.ignored
    assert errors <= sum(kind != "cancelled" for kind, _ in failures)
    assert one.slots.free == model.info.n_slots
    assert not one.running
    assert not one.waiting


def test_a_full_cache_is_shared_in_turns() -> None:
    """Four answers of 60 tokens in a cache of 96: the youngest give their cells back and read again later."""
    wanted = [Request(tuple(range(2, 12)), SamplingParams(seed=i), max_tokens=60, ignore_eos=True) for i in range(4)]
    one = scheduler(engine())
    answers = [one.submit(request) for request in wanted]
    parked = 0
    while one.busy:
        one.step()
        parked = max(parked, sum(answer.parked for answer in one.running))
    assert parked > 0
    for answer, request in zip(answers, wanted, strict=True):
        assert answer.tokens == alone(request).tokens
        assert answer.stop_reason == "length"


def test_a_failing_pass_takes_only_the_one_that_fails() -> None:
    model = engine()
    one = scheduler(model)
    good = [one.submit(Request((2, 3 + i), SamplingParams(seed=i), max_tokens=20, ignore_eos=True)) for i in range(2)]
    bad = one.submit(Request((9, 9, 9), SamplingParams(seed=3), max_tokens=20, ignore_eos=True))
    one.step()
    one.step()
    forward = model.forward
    slot = bad.sequence.slot

    def fails_for_the_bad_one(chunks):
        if any(chunk.slot == slot for chunk in chunks) and not bad.done:
            raise EngineError("No.")
        return forward(chunks)

    model.forward = fails_for_the_bad_one
    finish(one)
    assert bad.stop_reason == "error"
    assert isinstance(bad.error, EngineError)
    for answer in good:
        assert answer.tokens == alone(answer.request).tokens


def test_nan_logits_end_one_answer_only() -> None:
    model = engine()
    one = scheduler(model, blur=None)
    first = one.submit(Request((2, 3), SamplingParams(seed=1), max_tokens=10, ignore_eos=True))
    one.step()
    model.fail("nan")
    one.step()
    assert first.done
    assert first.stop_reason == "error"
    later = one.submit(Request((2, 3), SamplingParams(seed=1), max_tokens=10, ignore_eos=True))
    finish(one)
    assert later.stop_reason == "length"


@pytest.mark.parametrize("length", [1, 2, 5, 46, 64, 66, 150])
@pytest.mark.parametrize("gamma", [0, 3])
def test_the_last_piece_of_a_prompt_brings_the_first_token(length: int, gamma: int) -> None:
    """No pass is spent on the last token alone; the round that reads a piece guesses nothing."""
    model = engine(n_slots=1, n_ctx=200)
    one = scheduler(model, gamma=gamma, draft_ctx=200)
    answer = one.submit(Request(tuple(2 + i % 30 for i in range(length)), SamplingParams(seed=1), max_tokens=9))
    finish(one)
    assert answer.tokens == alone(answer.request, 200).tokens
    sizes = [n for ((_, _, n),) in model.passes]
    pieces = [64] * ((length - 1) // 64) if length > 64 else []
    assert sizes[: len(pieces)] == pieces
    assert answer.stats.rounds == len(sizes) - len(pieces)
    if length > 1:
        assert sizes[len(pieces)] == length - sum(pieces)
    assert answer.stats.prefill_s >= 0.0


def test_the_time_of_the_prompt_is_none_of_the_answer() -> None:
    """A pass of n tokens takes n seconds here."""
    model = engine(n_slots=1, cost=float)
    one = scheduler(model, gamma=0, blur=None)
    answer = one.submit(Request(tuple(2 + i % 30 for i in range(40)), SamplingParams(seed=1), max_tokens=9))
    finish(one)
    stats = answer.stats
    assert stats.prefill_s == pytest.approx(39.0)
    assert stats.time_to_first_token_s == pytest.approx(40.0)
    assert stats.generation_s == pytest.approx(stats.tokens)
    assert stats.draft_s + stats.verify_s + stats.other_s == pytest.approx(stats.generation_s)


def test_the_draft_reads_a_prompt_when_its_first_token_is_out() -> None:
    model = engine(n_slots=1)
    draft = model.blurred(0.1, n_ctx=96)
    one = Scheduler(model, ModelDrafter(draft, N_VOCAB), Fixed(3), clock=model.clock)
    answer = one.submit(Request(tuple(2 + i % 30 for i in range(40)), SamplingParams(seed=1), max_tokens=9))
    one.step()
    assert len(answer.sequence.tokens if answer.sequence else ()) == 41
    assert draft.length(0) == 0
    one.step()
    assert draft.length(0) >= 40
    assert answer.stats.drafted > 0


def test_a_first_round_that_fails_leaves_the_slot_as_it_was() -> None:
    model = engine(n_slots=1)
    one = scheduler(model, blur=None)
    prompt = tuple(2 + i % 30 for i in range(11))
    first = one.submit(Request(prompt, SamplingParams(seed=1), max_tokens=5))
    model.fail("nan")
    one.step()
    assert first.stop_reason == "error"
    assert model.length(0) == 0
    again = one.submit(first.request)
    finish(one)
    assert again.stats.cached_tokens == 0
    assert again.tokens == alone(first.request).tokens


def test_the_second_turn_reads_only_what_is_new() -> None:
    model = engine(n_ctx=4096, n_batch=512)
    one = scheduler(model, draft_ctx=4096)
    first = one.submit(Request(tuple([2 + i % 30 for i in range(2000)]), SamplingParams(seed=1), max_tokens=50))
    finish(one)
    other = one.submit(Request(tuple(range(2, 30)), SamplingParams(seed=1), max_tokens=5))
    finish(one)
    model.passes.clear()
    history = (*first.request.prompt, *first.tokens)
    second = one.submit(Request((*history, 3, 4, 5, 6), SamplingParams(seed=2), max_tokens=1))
    finish(one)
    read = sum(n for chunks in model.passes for _, _, n in chunks)
    assert second.stats.cached_tokens == len(history) - 1
    assert read <= 1 + 4 + 3
    assert other.stats.cached_tokens <= 1


def test_a_conversation_is_not_given_up_for_its_beginning() -> None:
    """A prompt that shares only the beginning of a kept conversation is copied to another slot."""
    system = [2 + i % 30 for i in range(40)]
    one = scheduler(engine(n_ctx=400), blur=None, gamma=0)
    first = one.submit(Request((*system, 5, 6, 7), SamplingParams(seed=1), max_tokens=20, ignore_eos=True))
    finish(one)
    other = one.submit(Request((*system, 9, 9), SamplingParams(seed=1), max_tokens=2))
    finish(one)
    assert other.stats.cached_tokens == len(system)
    again = one.submit(Request((*first.request.prompt, *first.tokens, 8), SamplingParams(seed=1), max_tokens=2))
    finish(one)
    assert again.stats.cached_tokens == len(first.request.prompt) + len(first.tokens) - 1


def test_choices_of_one_prompt_read_it_once() -> None:
    model = engine(n_ctx=2000, n_batch=128)
    one = scheduler(model, blur=None, gamma=0)
    prompt = tuple(2 + i % 30 for i in range(300))
    answers = [one.submit(Request(prompt, SamplingParams(seed=i), max_tokens=3, ignore_eos=True)) for i in range(4)]
    finish(one)
    read = sum(n for chunks in model.passes for _, _, n in chunks)
    assert read <= 300 + 4 * 5 + 2 * 32
    assert [answer.tokens for answer in answers] == [alone(answer.request, 2000).tokens for answer in answers]


def test_a_long_prompt_never_stalls_running_answers_for_longer_than_a_piece() -> None:
    """A pass of n tokens takes n seconds here, so the longest gap is the longest pass."""
    model = engine(n_ctx=8000, n_batch=512, cost=float)
    one = scheduler(model, draft_ctx=8000)
    running = [
        one.submit(Request((2, 3, i), SamplingParams(seed=i), max_tokens=200, ignore_eos=True)) for i in (4, 5, 6)
    ]
    one.step()
    one.step()
    long = one.submit(Request(tuple(2 + i % 30 for i in range(4000)), SamplingParams(seed=9), max_tokens=2))
    longest = 0.0
    while not long.done:
        before, lengths = model.clock(), [answer.stats.tokens for answer in running]
        one.step()
        gap = model.clock() - before
        if any(not answer.done for answer in running):
            longest = max(longest, gap)
            for answer, length in zip(running, lengths, strict=True):
                assert answer.done or answer.stats.tokens > length, "every pass moves every running answer"
    assert longest <= 2 * PREFILL_BESIDE_OTHERS


def test_a_short_prompt_does_not_wait_for_a_long_one() -> None:
    model = engine(n_ctx=8000, n_batch=512)
    one = scheduler(model, blur=None, gamma=0)
    long = one.submit(Request(tuple(2 + i % 30 for i in range(4000)), SamplingParams(seed=1), max_tokens=2))
    one.step()
    short = one.submit(Request((2, 3, 4), SamplingParams(seed=1), max_tokens=2, ignore_eos=True))
    steps = 0
    while not short.done:
        one.step()
        steps += 1
    assert steps <= 4
    assert not long.done


def test_cancelled_frees_its_slot_within_one_step() -> None:
    one = scheduler(engine(n_slots=1))
    first = one.submit(Request((2, 3), SamplingParams(seed=1), max_tokens=80, ignore_eos=True))
    queued = one.submit(Request((2, 4), SamplingParams(seed=1), max_tokens=5))
    one.step()
    first.cancel()
    queued.cancel()
    moved = one.step()
    assert {first, queued} <= set(moved)
    assert first.stop_reason == queued.stop_reason == "cancelled"
    assert one.slots.free == 1
    assert not one.busy


def test_close_ends_those_who_wait_too() -> None:
    one = scheduler(engine(n_slots=1))
    answers = [one.submit(Request((2, 3, i), SamplingParams(seed=1), max_tokens=80)) for i in (4, 5)]
    one.step()
    one.close()
    assert [answer.done for answer in answers] == [True, True]
    assert not one.busy


@pytest.mark.parametrize("top", [0, 3])
def test_logprobs_are_those_of_the_plain_path(top: int) -> None:
    request = Request((2, 5, 9), SamplingParams(temperature=1.0, seed=4, repeat_penalty=1.3), max_tokens=60)
    found = []
    for gamma, blur in ((0, None), (4, 0.2)):
        one = scheduler(engine(), gamma=gamma, blur=blur)
        answer = one.submit(request, top_logprobs=top)
        finish(one)
        extras = [piece.logprob for piece in answer.pieces]
        assert all(isinstance(extra, TokenLogprob) for extra in extras)
        assert [extra.chosen.token for extra in extras] == [piece.token for piece in answer.pieces]
        assert all(len(extra.top) == top for extra in extras)
        found.append(extras)
    assert found[0] == found[1]
    model, history = engine(), list(request.prompt)
    for extra in found[0]:
        law = model.law(history)
        assert extra.chosen.logprob == pytest.approx(math.log(law[extra.chosen.token]), abs=1e-5)
        if top:
            assert extra.top[0].logprob == pytest.approx(math.log(law.max()), abs=1e-5)
        history.append(extra.chosen.token)


def test_what_cannot_be_served_is_refused_at_once() -> None:
    one = scheduler(engine())
    with pytest.raises(EmptyPromptError):
        one.submit(Request(()))
    with pytest.raises(ContextOverflowError) as overflow:
        one.submit(Request(tuple([2] * 96)))
    assert (overflow.value.prompt_tokens, overflow.value.context) == (96, 96)
    with pytest.raises(ParameterError, match="prompt"):
        one.submit(Request((2, N_VOCAB)))
    with pytest.raises(ParameterError, match="logit_bias"):
        one.submit(Request((2,), SamplingParams(logit_bias={N_VOCAB: 1.0})))
    assert not one.busy
