"""Log probabilities of a prompt's own tokens: the model's law, whatever else runs, comes, goes or fails."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import pytest

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.core.params import Request, SamplingParams
from foredraft.engines.rewind import FORK, NONE, Rewind, rollback
from foredraft.engines.toy import ToyEngine
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import ScheduledRequest
from tests.scheduling.test_scheduler import engine, finish, scheduler

PROMPT = tuple(2 + (7 * i + i * i) % 37 for i in range(50))


def ask(prompt: Sequence[int] = PROMPT, *, most: int = 4, seed: int = 1) -> Request:
    return Request(tuple(prompt), SamplingParams(seed=seed), max_tokens=most, ignore_eos=True)


def scores(answer: ScheduledRequest) -> list[TokenLogprob]:
    assert answer.prompt_logprobs is not None
    assert answer.prompt_logprobs.done
    return answer.prompt_logprobs.tokens


def values(answer: ScheduledRequest) -> list[float]:
    return [token.chosen.logprob for token in scores(answer)]


def law(model: ToyEngine, prompt: Sequence[int]) -> list[float]:
    return [math.log(model.law(prompt[:i])[prompt[i]]) for i in range(1, len(prompt))]


@pytest.mark.parametrize("most", [0, 1, 9])
@pytest.mark.parametrize("blur", [None, 0.2])
def test_they_are_the_models_law_and_change_no_text(most: int, blur: float | None) -> None:
    model = engine()
    one = scheduler(model, blur=blur)
    plain = one.submit(ask(most=most))
    finish(one)
    answer = one.submit(ask(most=most), prompt_logprobs=3)  # the prompt is in the cache by now
    finish(one)
    assert values(answer) == pytest.approx(law(model, PROMPT), abs=1e-6)
    assert [token.chosen.token for token in scores(answer)] == list(PROMPT[1:])
    for i, token in enumerate(scores(answer), start=1):
        best = model.law(PROMPT[:i]).argsort()[::-1][:3]
        assert [other.token for other in token.top] == best.tolist()
        assert all(other.bytes == model.tokenizer.piece(other.token, special=True) for other in token.top)
    assert answer.tokens == plain.tokens
    assert answer.stop_reason == plain.stop_reason
    assert answer.stats.cached_tokens == 0
    assert one.slots.free == len(one.slots)


def test_a_prompt_of_one_token_has_none() -> None:
    one = scheduler(engine())
    answers = [one.submit(ask((5,), most=most), prompt_logprobs=1) for most in (0, 3)]
    finish(one)
    assert [scores(answer) for answer in answers] == [[], []]
    assert [len(answer.tokens) for answer in answers] == [0, 3]


def test_they_are_taken_once() -> None:
    one = scheduler(engine())
    answer = one.submit(ask(), prompt_logprobs=0)
    taken = []
    while one.busy:
        one.step()
        assert answer.prompt_logprobs is not None
        taken.append(answer.prompt_logprobs.take())
    assert [each for each in taken if each is not None] == [tuple(scores(answer))]
    assert all(token.top == () for token in scores(answer))


@pytest.mark.parametrize("exact", [None, 4])
def test_neighbours_and_rows_neither_matter_nor_suffer(exact: int | None) -> None:
    """Answers are being written, two prompts are scored and another is read, on an engine with few rows a pass."""

    def machine() -> ToyEngine:
        rounding = {"rounding": 0.5, "exact_up_to": exact, "grain": 8} if exact else {}
        model = engine(n_ctx=2000, n_batch=256, **rounding)
        model.exact_rows = exact
        model.info = dataclasses.replace(model.info, max_rows=128)
        return model

    long = tuple(2 + (5 * i + i * i) % 37 for i in range(333))
    wanted = [ask(PROMPT[:7], most=60), ask(long, seed=2), ask((*long[::-1], 3), seed=3), ask((9, *long), seed=4)]
    scored = [None, 2, 1, None]

    def alone(request: Request, top: int | None) -> ScheduledRequest:
        one = scheduler(machine(), gamma=0, blur=None)
        answer = one.submit(request, prompt_logprobs=top)
        finish(one)
        return answer

    expected = [alone(request, top) for request, top in zip(wanted, scored, strict=True)]
    one = scheduler(machine(), draft_ctx=2000)
    model = one.engine
    assert isinstance(model, ToyEngine)
    answers = [one.submit(wanted[0])]
    for _ in range(4):
        one.step()
    answers += [one.submit(request, prompt_logprobs=top) for request, top in zip(wanted[1:], scored[1:], strict=True)]
    finish(one)
    for answer, right, top in zip(answers, expected, scored, strict=True):
        assert answer.tokens == right.tokens
        if top is not None:
            assert scores(answer) == scores(right)
    written = [i for i, each in enumerate(model.passes) if any(size <= 4 for _, _, size in each)]
    assert max(b - a for a, b in itertools.pairwise(written)) <= 3  # whoever is writing waits for one piece


@pytest.mark.parametrize("kind", ["cache_full", "cancelled", "error"])
@pytest.mark.parametrize("after", range(6))
def test_a_pass_that_fails_changes_nothing(kind: str, after: int) -> None:
    model = engine(n_batch=24)
    one = scheduler(model)
    answers = [one.submit(ask(PROMPT[:40], seed=i, most=9), prompt_logprobs=1) for i in range(2)]
    model.fail(kind, after=after)
    finish(one)
    for answer in answers:
        if answer.error is None:
            assert values(answer) == pytest.approx(law(model, PROMPT[:40]), abs=1e-6)
            assert len(answer.tokens) == 9
    assert sum(answer.error is not None for answer in answers) <= 1


def test_those_who_gave_their_cells_back_begin_again() -> None:
    """Two prompts of 60 tokens and their answers do not fit in 96 cells at once."""
    one = scheduler(engine(n_batch=16))
    prompts = [tuple(PROMPT), tuple(reversed(PROMPT))]
    answers = [one.submit(ask(prompt, most=20), prompt_logprobs=0) for prompt in prompts]
    finish(one)
    for answer, prompt in zip(answers, prompts, strict=True):
        assert values(answer) == pytest.approx(law(engine(), prompt), abs=1e-6)
        assert len(answer.tokens) == 20


@pytest.mark.parametrize("most", [0, 4])
def test_broken_logits_end_their_answer_only(most: int) -> None:
    model = engine()
    one = scheduler(model)
    model.fail("nan")
    broken = one.submit(ask(most=most), prompt_logprobs=0)
    one.step()
    other = one.submit(ask(PROMPT[::-1], most=most), prompt_logprobs=0)
    finish(one)
    assert isinstance(broken.error, NonFiniteLogitsError)
    assert other.error is None
    assert len(scores(other)) == len(PROMPT) - 1
    assert one.slots.free == len(one.slots)


@pytest.mark.parametrize("way", [NONE, FORK, rollback(3)], ids=lambda way: way.way)
def test_a_model_that_cannot_take_back_as_it_likes_is_scored_too(way: Rewind) -> None:
    model = engine(way=way)
    one = scheduler(model, gamma=0, blur=None)
    for _ in range(2):
        answer = one.submit(ask(), prompt_logprobs=0)
        finish(one)
        assert values(answer) == pytest.approx(law(model, PROMPT), abs=1e-6)
