"""A draft that rested reads only a window of what it missed, and forgets the hole with the answer.

Mutants that were made by hand and the test that kills each:
- the window is not looked at: test_a_rested_draft_reads_only_its_window
- guesses behind a hole are rewound to the wrong place: test_the_text_is_the_same_with_a_hole
- the hole outlives its answer: test_the_next_answer_has_no_hole
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foredraft.core.params import Request, SamplingParams
from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.controllers.fixed import Fixed, FixedLookAhead
from foredraft.speculative.drafters import ModelDrafter, NoDrafter
from foredraft.speculative.record import Round
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import RunningSequence
from tests.speculative.stage import start, write

REST, WINDOW = 40, 8


def law(context: tuple[int, ...]) -> NDArray[np.float64]:
    return np.random.default_rng([7, *context]).dirichlet(np.ones(4))


def engine() -> ToyEngine:
    return ToyEngine(law, ToyTokenizer.of_size(4), order=3, n_ctx=256)


class Resting:
    """Guesses three tokens in every round, but for a long rest."""

    status = ("active", "")

    def __init__(self) -> None:
        self.round = 0

    def plan(self, sequences: Sequence[RunningSequence]) -> list[LookAhead]:
        self.round += 1
        return [FixedLookAhead(s.look_ahead(0 if 5 <= self.round < 5 + REST else 3)) for s in sequences]

    def observe(self, record: Round) -> None: ...


def request(n: int = 120) -> Request:
    return Request((0, 1, 2), SamplingParams(temperature=0.8, seed=5), max_tokens=n, ignore_eos=True)


def test_a_rested_draft_reads_only_its_window() -> None:
    target, draft = engine(), engine()
    drafter = ModelDrafter(draft, 4)
    drafter.window = WINDOW
    write(target, drafter, Resting(), start(target, request()))
    longest = max(length for chunks in draft.passes for _, _, length in chunks)
    assert longest == WINDOW + 1
    drafter.window, draft.passes = None, type(draft.passes)(maxlen=1000)
    write(target, drafter, Resting(), start(target, request()))
    assert max(length for chunks in draft.passes for _, _, length in chunks) > REST


def test_the_text_is_the_same_with_a_hole() -> None:
    """And as the toy looks back three tokens only, a perfect draft stays perfect behind its hole."""
    target, draft = engine(), engine()
    plain = write(target, NoDrafter(), Fixed(0), start(target, request()))
    drafter = ModelDrafter(draft, 4)
    drafter.window = WINDOW
    sequence = start(target, request())
    controller = Resting()
    while not sequence.done:
        record = run_round([sequence], target, drafter, controller)
        assert record.verdicts[0].kind in ("bonus", "plain")
    assert tuple(sequence.tokens[sequence.n_prompt :]) == plain


def test_the_next_answer_has_no_hole() -> None:
    target, draft = engine(), engine()
    drafter = ModelDrafter(draft, 4)
    drafter.window = WINDOW
    write(target, drafter, Resting(), start(target, request()))
    again = start(target, request(20))
    while not again.done:
        assert run_round([again], target, drafter, Fixed(3)).verdicts[0].kind in ("bonus", "plain")
    assert draft.length(0) <= len(again.tokens)
