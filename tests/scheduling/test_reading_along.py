"""A draft reads prompts along where it will be asked to guess, and catches up where it is asked after all.

Mutants that were made by hand and the test that kills each:
- `reads_along` is always true: test_a_prompt_is_read_once_where_the_draft_will_not_be_asked
- a paused draft reads along: test_the_prompts_of_a_paused_draft_are_read_as_fast_as_without_it
- a paused draft is never asked about the beginning of an answer again: test_a_paused_draft_is_looked_at_again
- what an earlier answer did not let it read stays unread: test_what_was_skipped_is_read_when_the_draft_is_wanted
- catching up with an unread prompt costs nothing: test_what_a_late_draft_must_read_is_in_the_price_of_its_first_guess
- a late draft reads the whole prompt: test_a_late_draft_reads_the_beginning_and_the_last_tokens
"""

from __future__ import annotations

from collections.abc import Sequence as Tokens

import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.toy import ToyEngine
from foredraft.sampling.sampler import Sampler
from foredraft.scheduling.request import ScheduledRequest
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers import Adaptive, DraftController, Fixed
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.measure import measure
from foredraft.speculative.drafters import Arbiter, ModelDrafter, NoDrafter
from foredraft.speculative.sequence import RunningSequence

N_VOCAB = 120
STEP = 0.01
"""Seconds of a plain step of the main model."""
OFF = SpeculationParams(enabled=False)
MODEL_ONLY = SpeculationParams(method="model")


class Pair:
    """A main model and a draft on one clock, with the controller that measures or a fixed one."""

    def __init__(
        self,
        *,
        draft_step: float = 0.1,
        blur: float = 0.02,
        controller: DraftController | None = None,
        n_slots: int = 1,
    ) -> None:
        self.main = ToyEngine.random(
            3, n_vocab=N_VOCAB, sharpness=3.0, n_ctx=2048, n_slots=n_slots, cost=lambda n: STEP * (0.8 + 0.2 * n)
        )
        clock = self.main.clock
        self.draft = self.main.blurred(blur, seed=4, cost=lambda n: STEP * draft_step * (0.8 + 0.2 * n))
        costs = measure(self.main, self.draft, clock=clock)
        self.controller = controller or Adaptive(costs)
        self.drafter = ModelDrafter(self.draft, N_VOCAB, clock=clock)
        if controller is None:
            self.drafter.window = costs.window
        self.scheduler = Scheduler(self.main, Arbiter([self.drafter]), self.controller, clock=clock)
        self.draft.passes.clear()

    def answer(
        self, prompt: Tokens[int], speculation: SpeculationParams = MODEL_ONLY, length: int = 8
    ) -> ScheduledRequest:
        params = SamplingParams(temperature=0.0)
        request = Request(tuple(prompt), params, speculation, max_tokens=length, ignore_eos=True)
        answer = self.scheduler.submit(request)
        while not answer.done:
            self.scheduler.step()
        return answer

    def draft_read(self) -> int:
        """Tokens in all passes of the draft since the last time this was asked."""
        count = sum(tokens for chunks in self.draft.passes for _, _, tokens in chunks)
        self.draft.passes.clear()
        return count


def prompt(number: int, length: int = 300) -> list[int]:
    """Prompts that have no beginning in common."""
    return [2 + (number * 7 + at * (number + 1)) % (N_VOCAB - 2) for at in range(length)]


def plain(text: Tokens[int], length: int = 8) -> ScheduledRequest:
    pair = Pair()
    pair.scheduler.drafter, pair.scheduler.controller = NoDrafter(), Fixed(0)
    return pair.answer(text, length=length)


@pytest.mark.parametrize("controller", [None, Fixed(4)])
def test_a_draft_that_is_asked_reads_the_prompt_with_the_target(controller: DraftController | None) -> None:
    pair = Pair(controller=controller)
    answer = pair.answer(prompt(1))
    assert answer.stats.accepted > 0
    assert 299 <= pair.draft_read() <= 330
    assert answer.tokens == plain(prompt(1)).tokens


@pytest.mark.parametrize(
    "pair",
    [Pair(draft_step=1.5), Pair(controller=Fixed(0))],
    ids=["a draft that cannot pay", "a look-ahead of 0"],
)
def test_a_prompt_is_read_once_where_the_draft_will_not_be_asked(pair: Pair) -> None:
    for number in range(3):
        answer, alone = pair.answer(prompt(number)), plain(prompt(number))
        assert pair.draft_read() == 0
        assert answer.tokens == alone.tokens
        assert answer.stats.prefill_s == pytest.approx(alone.stats.prefill_s)


@pytest.mark.parametrize("controller", [None, Fixed(4)])
def test_a_request_without_guesses_of_the_draft_has_its_prompt_read_once(controller: DraftController | None) -> None:
    pair = Pair(controller=controller)
    for number, speculation in enumerate((OFF, SpeculationParams(method="off"), SpeculationParams(max_draft=0))):
        pair.answer(prompt(number), speculation)
    if controller is None:
        pair.answer(prompt(5), SpeculationParams(method="suffix"))
    assert pair.draft_read() == 0
    pair.answer(prompt(6))
    assert pair.draft_read() >= 299


def test_a_draft_that_has_failed_reads_nothing_more() -> None:
    pair = Pair()
    pair.draft.fail("error", after=0)
    pair.answer(prompt(1))
    pair.draft_read()
    pair.answer(prompt(2))
    assert pair.draft_read() == 0


def test_the_prompts_of_a_paused_draft_are_read_as_fast_as_without_it() -> None:
    """A draft that is always wrong: after some answers it reads hardly a prompt, and the texts are the same."""
    pair = Pair(blur=1.0)
    for number in range(20):
        pair.answer(prompt(number))
    reading = alone = 0.0
    for number in range(20, 120):
        reading += pair.answer(prompt(number)).stats.prefill_s
        alone += plain(prompt(number)).stats.prefill_s
    assert alone / reading >= 0.99


def test_a_paused_draft_is_looked_at_again() -> None:
    pair = Pair(blur=1.0)
    for number in range(30):
        pair.answer(prompt(number))
    pair.draft_read()
    looks = sum(bool(pair.answer(prompt(number), length=4)) and pair.draft_read() >= 299 for number in range(30, 160))
    assert 1 <= looks <= 4


def test_what_was_skipped_is_read_when_the_draft_is_wanted() -> None:
    """A conversation whose first turn went without guesses: in the second the draft has all of it before it."""
    pair = Pair()
    first = pair.answer(prompt(1), OFF)
    assert pair.draft_read() == 0
    text = [*prompt(1), *first.tokens, *prompt(2, 50)]
    second = pair.answer(text)
    assert pair.draft.read(0)[: len(text)] == tuple(text)
    assert second.stats.accepted > 0
    again = pair.answer(text)  # the target has it all in its cache
    assert again.tokens == second.tokens


def test_a_prompt_that_only_the_target_has_in_its_cache_is_read_before_the_first_guess() -> None:
    pair = Pair()
    pair.answer(prompt(1), OFF)
    pair.answer(prompt(1))
    assert pair.draft.read(0)[:299] == tuple(prompt(1)[:299])


def test_a_late_draft_reads_the_beginning_and_the_last_tokens() -> None:
    pair = Pair(controller=Fixed(3))
    pair.drafter.window = 40
    pair.controller.reads_along = lambda sequence: False  # type: ignore[method-assign]
    answer = pair.answer(prompt(1), length=1 + 4)
    steps = answer.stats.drafted
    assert pair.draft_read() <= 4 + 41 + steps
    assert pair.draft.read(0)[:4] == tuple(prompt(1)[:4])
    assert pair.draft.read(0)[4:8] == tuple(prompt(1)[-40:-36])
    assert answer.tokens == plain(prompt(1), length=5).tokens


def test_what_a_late_draft_must_read_is_in_the_price_of_its_first_guess() -> None:
    limits = []
    for speculation in (SpeculationParams(), OFF):
        costs = CostModel({1: STEP, 8: 1.5 * STEP}, 0.1 * STEP)
        costs.catch_up_share = 1.0
        controller = Adaptive(costs)
        params = SamplingParams(temperature=0.0)
        sequence = RunningSequence(
            Request(tuple(prompt(1)), params, speculation), 0, Sampler(params), RULES["match"](), eog=(), n_ctx=1000
        )
        controller.reads_along(sequence)
        sequence.request = Request(tuple(prompt(1)), params)
        limits.append(controller.plan([sequence])[0].limit)
    assert limits[0] > 0
    assert limits[1] == 0


def test_two_prompts_at_once_are_judged_each_for_itself() -> None:
    pair = Pair(n_slots=2)
    params = SamplingParams(temperature=0.0)
    one = pair.scheduler.submit(Request(tuple(prompt(1)), params, OFF, max_tokens=8, ignore_eos=True))
    two = pair.scheduler.submit(Request(tuple(prompt(2)), params, MODEL_ONLY, max_tokens=8, ignore_eos=True))
    while not (one.done and two.done):
        pair.scheduler.step()
    read = {slot: sum(n for chunks in pair.draft.passes for at, _, n in chunks if at == slot) for slot in (0, 1)}
    assert (read[0] == 0) is not (read[1] == 0)
    assert max(read.values()) >= 299
    assert (one.tokens, two.tokens) == (plain(prompt(1)).tokens, plain(prompt(2)).tokens)
