"""Every drafter keeps the contract of `drafters/base.py`, whatever happens to its sequences."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Chunk, Logits
from foredraft.engines.toy import ToyEngine
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers.base import LookAhead
from foredraft.speculative.drafters import DRAFTERS, Arbiter, Drafter, HeadDrafter, ModelDrafter
from foredraft.speculative.drafters.finder import Finder
from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

N = 9
WIDTH = 4
EOS = 1
N_CTX = 80
SLOTS = 3


def draft_model() -> ModelDrafter:
    """A draft with a larger vocabulary than the target's, and a context that is sometimes too small."""
    return ModelDrafter(ToyEngine.random(3, n_vocab=N + 4, n_slots=SLOTS, n_ctx=N_CTX, n_batch=16), N)


class Hidden:
    """A target of which only the hidden rows of its last pass are seen: the drafter's tests read no target."""

    def __init__(self) -> None:
        self.hidden: list[np.ndarray] = []

    def offer_hidden(self, on: bool) -> None: ...


class ToyHead(ToyEngine):
    """A toy that offers rows like a head's, and does not mind what rows it is given."""

    def forward(self, chunks: Sequence[Chunk]) -> list[Logits]:
        for chunk in chunks:
            assert chunk.hidden is not None
            assert chunk.hidden.shape == (len(chunk.tokens), WIDTH)
        self.hidden = [np.ones((chunk.want, WIDTH), dtype=np.float32) for chunk in chunks]
        return super().forward(chunks)


class WatchedHead(HeadDrafter):
    """Has seen what the target read, as far as a sequence says: `target_read` is called by whoever makes passes."""

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        for one in sequences:
            rows = self._rows.get(one.slot)
            start, end = 0 if rows is None else rows.end, len(one.tokens) - 1
            if start < end:
                self._target.hidden[:] = [np.zeros((end - start, WIDTH), dtype=np.float32)]  # type: ignore[index]
                self.target_read([Chunk(one.slot, start, one.tokens[start:end])])
        return super().propose(sequences, plans)


def head_drafter() -> HeadDrafter:
    table = ToyEngine.random(3, n_vocab=N, n_slots=SLOTS, n_ctx=N_CTX, n_batch=16)
    head = ToyHead.__new__(ToyHead)
    head.__dict__.update(table.__dict__)
    return WatchedHead(head, Hidden(), N)


MAKE: dict[str, Callable[[], Drafter]] = {
    **DRAFTERS,
    "model": draft_model,
    "head": head_drafter,
    "auto": lambda: Arbiter([DRAFTERS["suffix"](), DRAFTERS["prediction"](), draft_model()]),
}
"""How to make each entry of the table; one that takes no arguments needs no line here."""


@dataclass
class Plan:
    limit: int
    stop: int
    wants_confidence: bool = True

    def go_on(self, drafted: int, confidence: float) -> bool:
        return drafted < self.stop

    def offer(self, source: str) -> tuple[int, float]:
        return self.limit, 1.0

    def keep(self, source: str, confidence: Sequence[float]) -> tuple[int, float]:
        return min(len(confidence), self.limit), 1.0


def sequence(slot: int, rng: random.Random, acceptance: str, temperature: float) -> RunningSequence:
    phrase = [rng.randrange(N) for _ in range(rng.randint(1, 5))]
    request = Request(
        tuple(phrase * rng.randint(1, 5))[:30],
        SamplingParams(temperature=temperature, seed=rng.randrange(100)),
        SpeculationParams(acceptance=acceptance),
        prediction=tuple(rng.choice([phrase * 3, [], [rng.randrange(N) for _ in range(40)]])),
        ignore_eos=rng.random() < 0.3,
    )
    sampler = Sampler(request.sampling, request.prompt, n_vocab=N)
    return RunningSequence(request, slot, sampler, RULES[acceptance](), {EOS}, N_CTX, n_read=len(request.prompt) - 1)


def check(x: Proposal, plan: Plan, one: RunningSequence) -> None:
    assert len(x) <= plan.limit
    assert len(x) <= max(0, one.room - 1)
    assert all(0 <= token < N for token in x.tokens)
    assert x.confidence == [] or len(x.confidence) >= len(x)
    assert all(math.isnan(c) or 0.0 <= c <= 1.0 for c in x.confidence)
    assert x.draft_s >= 0.0
    if x.dists is not None:
        assert len(x.dists) == len(x)
        assert all(q.prob(token) > 0.0 for token, q in zip(x.tokens, x.dists, strict=True))
        assert all(q.probs.sum() == pytest.approx(1.0) for q in x.dists)
    if not one.request.ignore_eos:
        assert EOS not in x.tokens[:-1]


@pytest.mark.parametrize("name", DRAFTERS)
@given(st.integers(0, 2**32), st.sampled_from(list(RULES)), st.sampled_from([0.0, 0.9]))
@settings(max_examples=60, deadline=None)
def test_contract(name: str, seed: int, acceptance: str, temperature: float) -> None:
    """Sequences come and go, rounds are skipped, guesses stand or fall: guesses stay legal, nothing is raised."""
    rng = random.Random(seed)
    drafter = MAKE[name]()
    running: dict[int, RunningSequence] = {}
    for _ in range(rng.randint(1, 25)):
        for slot in range(SLOTS):
            if rng.random() < 0.2:
                if rng.random() < 0.7:
                    drafter.forget(slot)
                running[slot] = sequence(slot, rng, acceptance, temperature)
                if rng.random() < 0.5 and len(running[slot].tokens) > 1:
                    drafter.prefill([Chunk(slot, 0, running[slot].tokens[:-1])])
        running = {slot: one for slot, one in running.items() if not one.done}
        there = [one for one in running.values() if rng.random() < 0.8]  # the others sit this round out
        plans = [Plan(rng.choice([0, 0, 1, 2, 5, 16]), rng.choice([1, 3, 99])) for _ in there]
        proposals = drafter.propose(there, plans)
        assert len(proposals) == len(there)
        verdicts, grown = [], []
        for one, plan, x in zip(there, plans, proposals, strict=True):
            check(x, plan, one)
            kept = rng.randint(0, len(x))
            verdicts.append(Verification(kept, rng.randrange(N), "corrected" if kept < len(x) else "bonus", kept))
            grown.append(len(one.extend([*x.tokens[:kept], verdicts[-1].token])))
        if rng.random() < 0.9:  # a pass that failed is not observed
            drafter.observe(Round(there, proposals, verdicts, grown))
    assert getattr(drafter, "failure", None) is None
    drafter.close()


@pytest.mark.parametrize("name", DRAFTERS)
def test_no_guess_where_none_is_wanted(name: str) -> None:
    rng = random.Random(0)
    drafter = MAKE[name]()
    ones = [sequence(slot, rng, "match", 0.0) for slot in range(SLOTS)]
    assert [x.tokens for x in drafter.propose(ones, [Plan(0, 0)] * SLOTS)] == [[]] * SLOTS


@pytest.mark.parametrize("name", [name for name in DRAFTERS if isinstance(MAKE[name](), Finder)])
def test_found_guesses_are_found_again_after_a_sequence_has_left(name: str) -> None:
    """Nothing of one answer is seen in the next one at the same slot, forgotten or not."""
    drafter = MAKE[name]()
    params = SamplingParams(temperature=0)
    first = Request((2, 3, 4, 2, 3), params, prediction=(5, 6, 7))
    other = Request((2, 6, 5, 7, 3), params)
    for request in (first, other):
        one = RunningSequence(request, 0, Sampler(params), RULES["match"](), {EOS}, N_CTX)
        guess = drafter.propose([one], [Plan(4, 4)])[0]
        assert guess.dists is None
        if request is other:
            assert guess.tokens == []
        else:
            assert guess.tokens
