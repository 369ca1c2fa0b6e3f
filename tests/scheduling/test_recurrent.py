"""The text of a request is that of running it alone, on models that cannot go back as they like.

The toys here have a law of the whole text, as a recurrent state is one, and every trap that llama.cpp has
(`engines/toy/recurrent.py`): a state that is not the right one shows in the next row.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.core.params import Request, SamplingParams
from foredraft.engines.rewind import CARRIED, FORK, FREE, NONE, Rewind, rollback
from foredraft.engines.toy import RecurrentToy
from foredraft.scheduling.checkpoints import APART, stops
from foredraft.scheduling.scheduler import Scheduler
from tests.scheduling.test_scheduler import (
    N_VOCAB,
    Arrival,
    alone,
    arrivals,
    each_text_is_that_of_a_single_run,
    engine,
    finish,
    scheduler,
)

WHOLE = 96
"""The law looks at all of a text."""
WAYS = [FORK, NONE, rollback(1), rollback(3), rollback(16)]
END = 1
"""The token that ends a message of the toy's."""


def recurrent_draft(way: Rewind) -> dict[str, Any]:
    return {} if way.free else {"kind": RecurrentToy, "rewind_limit": way}


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    arrivals,
    st.integers(1, 4),
    st.sampled_from([None, 0.0, 0.1, 0.9]),
    st.integers(0, 16),
    st.sampled_from([96, 200]),
    st.lists(st.tuples(st.sampled_from(["cache_full", "cancelled", "error"]), st.integers(0, 40)), max_size=3),
    st.sampled_from(WAYS),
    st.sampled_from([FREE, FORK, rollback(2)]),
    st.integers(0, 3),
)
def test_every_text_is_that_of_a_single_run(
    coming: list[Arrival],
    n_slots: int,
    blur: float | None,
    gamma: int,
    n_batch: int,
    failures: list[tuple[str, int]],
    way: Rewind,
    draft: Rewind,
    checkpoints: int,
) -> None:
    model = engine(n_slots=n_slots, n_batch=n_batch, way=way, order=WHOLE, checkpoints=checkpoints)
    each_text_is_that_of_a_single_run(model, coming, blur, gamma, failures, **recurrent_draft(draft))


def request(prompt: list[int], most: int = 20, seed: int = 0) -> Request:
    return Request(tuple(prompt), SamplingParams(temperature=0.8, seed=seed), max_tokens=most, ignore_eos=True)


def written(one: Scheduler, prompt: list[int], **more: int) -> tuple[list[int], int]:
    """The tokens of an answer, which are those of a single run, and how many of its prompt were not read again."""
    asked = request(prompt, **more)
    answer = one.submit(asked)
    finish(one)
    assert answer.tokens == alone(asked, n_ctx=one.engine.info.n_ctx, order=one.engine.order).tokens
    return answer.tokens, answer.stats.cached_tokens


def recurrent(way: Rewind, **more: Any) -> RecurrentToy:
    return engine(way=way, order=400, n_ctx=400, n_batch=64, **more)


def message(count: int, seed: int) -> list[int]:
    return [2 + (seed * 7 + i * i) % (N_VOCAB - 2) for i in range(count - 1)] + [END]


@pytest.mark.parametrize("way", [FORK, rollback(8)], ids=lambda way: way.way)
def test_the_next_turn_reads_only_what_is_new(way: Rewind) -> None:
    """A conversation goes on; its last question is asked otherwise; another begins with the same system prompt."""
    one = scheduler(recurrent(way, n_slots=2), gamma=4, draft_ctx=400)
    system, question, next_question = message(40, 1), message(30, 2), message(30, 3)
    answer, cached = written(one, [*system, *question, 5, 6])
    assert cached == 0
    second = [*system, *question, 5, 6, *answer, END, *next_question, 5, 6]
    answer, cached = written(one, second)
    assert cached == 72 + 19  # all but the last token of the answer, which nobody has read
    again = [*second[:-32], *message(25, 4), 5, 6]
    assert written(one, again)[1] >= 72
    assert written(one, [*system, *message(50, 5), 5, 6])[1] == 40
    assert written(one, [*system, *message(50, 6), 5, 6])[1] == 40


@pytest.mark.parametrize("way", [FORK, rollback(8)], ids=lambda way: way.way)
def test_an_answer_written_anew_reads_its_prompt_once(way: Rewind) -> None:
    """A history without the reasoning of the last answer parts right behind the question."""
    one = scheduler(recurrent(way, n_slots=1), gamma=4, draft_ctx=400)
    prompt = [*message(40, 1), *message(30, 2), 5, 6]
    first, _ = written(one, prompt)
    assert written(one, prompt, seed=3)[1] == 71
    assert written(one, [*prompt, *first[8:], END, *message(20, 3), 5])[1] == 72


@pytest.mark.parametrize("way", [FORK, rollback(8)], ids=lambda way: way.way)
def test_several_choices_read_their_prompt_once(way: Rewind) -> None:
    model = recurrent(way, n_slots=4)
    one = scheduler(model, gamma=3, draft_ctx=400)
    prompt = [*message(60, 1), *message(50, 2), 5, 6, 7]
    answers = [one.submit(request(prompt, seed=seed)) for seed in range(4)]
    finish(one)
    for seed, answer in enumerate(answers):
        assert answer.tokens == alone(request(prompt, seed=seed), n_ctx=400, order=400).tokens
    assert sorted(answer.stats.cached_tokens for answer in answers) == [0, 110, 110, 110]


@pytest.mark.parametrize("limit", [1, 3, 8])
def test_no_round_guesses_more_than_can_be_taken_back(limit: int) -> None:
    model = recurrent(rollback(limit), n_slots=1)
    one = scheduler(model, gamma=16, blur=0.0, draft_ctx=400)
    written(one, [*message(20, 1), 5], most=60)
    assert max(size for chunks in list(model.passes)[2:] for _, _, size in chunks) == limit + 1


def test_what_a_fork_owes_stays_bounded() -> None:
    """Rejection after rejection: a round without guesses moves the fork on before long."""
    model = recurrent(FORK, n_slots=1)
    one = scheduler(model, gamma=3, blur=1.0, draft_ctx=400)
    written(one, [*message(20, 1), 5], most=80)
    sizes = [size for chunks in list(model.passes)[2:] for _, _, size in chunks]
    assert max(sizes) <= CARRIED + 4
    assert sum(sizes) > 100  # there were guesses, and they were read


def test_the_stops_of_a_prompt() -> None:
    eog = {END}
    system, question = message(40, 1), message(30, 2)
    assert stops([*system, *question, 5, 6, 7], eog) == [40, 70]
    assert stops([*system, *question, 5, 6, 7], eog, start=70) == []
    assert stops([*system, *message(APART - 1, 3), 5], eog) == [40]
    assert stops(message(200, 4)[:-1], eog) == [198]  # no conversation
    assert stops([*system, *message(100, 5)[:-1]], eog) == [40, 138]  # nor an end to its last message
    assert stops([3], eog) == stops([3, 4], eog) == []


def crowd(way: Rewind) -> None:
    """Six answers at three slots."""
    prompts = [[2 + (i * i + n) % 30 for i in range(20)] for n in range(6)]
    coming = [Arrival(request(prompt, seed=n), at=n, cancelled_after=None) for n, prompt in enumerate(prompts)]
    each_text_is_that_of_a_single_run(engine(n_slots=3, way=way, order=WHOLE), coming, 0.3, 5, [])
