"""The draft model may lag, be full or fail: the answer goes on, and only speed changes."""

from __future__ import annotations

import pytest

from foredraft.core.params import Request, SamplingParams
from foredraft.engines.base import Chunk
from foredraft.engines.rewind import NONE
from foredraft.engines.toy import RecurrentToy, ToyEngine
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import ModelDrafter, NoDrafter
from foredraft.speculative.round import run_round
from tests.speculative.stage import Text, start, write

N = 14
TARGET = ToyEngine.random(0, n_vocab=N, n_slots=3, n_ctx=200)


def request(length: int = 40, *, temperature: float = 0.0, **settings: object) -> Request:
    params = SamplingParams(temperature=temperature, seed=2)
    return Request((0, 2, 3), params, max_tokens=length, ignore_eos=True, **settings)  # type: ignore[arg-type]


def plain(asked: Request) -> Text:
    return write(TARGET, NoDrafter(), Fixed(0), start(TARGET, asked))


def draft(**settings: object) -> ToyEngine:
    return TARGET.blurred(0.0, **settings)


def test_the_draft_reads_what_was_emitted_and_not_what_fell() -> None:
    engine = TARGET.blurred(0.5)
    drafter = ModelDrafter(engine, N)
    sequence = start(TARGET, request(60))
    while not sequence.done:
        run_round([sequence], TARGET, drafter, Fixed(4))
        read = engine.read(0)
        assert read == tuple(sequence.tokens[: len(read)])
        if not sequence.done:  # the last round may have had room for no guess
            assert len(read) >= len(sequence.tokens) - 2  # -2 where all stood: the last guess is still unread
    assert sequence.stats.rejected > 0


def test_a_guess_costs_one_step_each_and_catching_up_none_of_its_own() -> None:
    engine = draft()
    sequence = start(TARGET, request(41))
    write(TARGET, ModelDrafter(engine, N), Fixed(4), sequence)
    assert sequence.stats.rounds == 9
    assert len(engine.passes) == sequence.stats.drafted


@pytest.mark.parametrize("kind", ["nan", "error"])
@pytest.mark.parametrize("after", [0, 1, 7])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_draft_that_fails_stops_with_its_reason_and_the_text_goes_on(
    kind: str, after: int, temperature: float
) -> None:
    asked = request(temperature=temperature)
    engine = draft()
    engine.fail(kind, after=after)
    drafter = ModelDrafter(engine, N)
    assert write(TARGET, drafter, Fixed(3), start(TARGET, asked)) == plain(asked)
    assert drafter.failure is not None
    assert "draft model failed" in str(drafter.failure)


def test_a_draft_that_cannot_rewind_stops_with_its_reason() -> None:
    asked = request()
    engine = TARGET.blurred(0.9, kind=RecurrentToy, rewind_limit=NONE)
    drafter = ModelDrafter(engine, N)
    assert write(TARGET, drafter, Fixed(3), start(TARGET, asked)) == plain(asked)
    assert drafter.failure is not None


def test_a_full_cache_is_cleared_of_ended_answers_and_guessing_goes_on() -> None:
    """All slots share the draft's cells, and ended answers leave theirs behind for the next one to share."""
    engine = draft(n_ctx=100)
    drafter = ModelDrafter(engine, N)
    for slot in range(3):
        sequence = start(TARGET, request(60), slot=slot)
        assert write(TARGET, drafter, Fixed(3), sequence) == plain(request(60))
        TARGET.rewind(slot, 0)
        assert sequence.stats.accepted > 40
    assert drafter.failure is None


def test_an_answer_longer_than_the_drafts_context_goes_on_without_it() -> None:
    asked = request(80)
    drafter = ModelDrafter(draft(n_ctx=30), N)
    sequence = start(TARGET, asked)
    assert write(TARGET, drafter, Fixed(3), sequence) == plain(asked)
    assert 0 < sequence.stats.accepted < 30
    assert drafter.failure is None


def test_a_draft_that_reads_only_a_window_changes_no_text() -> None:
    asked = request(90)
    drafter = ModelDrafter(draft(), N)
    drafter.window = 8
    sequence = start(TARGET, asked)
    for _ in range(4):
        write(TARGET, drafter, Fixed(3), sequence, rounds=2)
        write(TARGET, NoDrafter(), Fixed(0), sequence, rounds=15)
    assert tuple(sequence.tokens[3:]) == plain(asked)[: len(sequence.tokens) - 3]
    assert sequence.stats.accepted > 0


def test_the_draft_reads_along_with_the_prompt() -> None:
    engine = draft(n_batch=16)
    drafter = ModelDrafter(engine, N)
    prompt = (2, 3, 4, 5) * 20
    drafter.prefill([Chunk(0, 0, prompt[:50])])
    drafter.prefill([Chunk(0, 50, prompt[50:79])])
    assert engine.read(0) == prompt[:79]
    before = len(engine.passes)
    sequence = start(TARGET, Request(prompt, SamplingParams(temperature=0), max_tokens=8))
    run_round([sequence], TARGET, drafter, Fixed(2))
    assert len(engine.passes) == before + 2  # two guesses, and nothing to catch up with
