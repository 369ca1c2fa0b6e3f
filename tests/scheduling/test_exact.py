"""Exact numerics where large passes round: whatever the draft, the cache, the neighbours and the order do, a text is
the same to the last bit.

The toy is made to round as a real machine does: passes of more than m tokens move every row, and what they have read is
another memory, so that a single token read in another kind of pass changes every row behind it. Of large passes, those
in multiples of `grain` tokens are of one kind, or with a grain of 64 those of exactly 64.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import BLOCK, GRAIN, LARGEST
from foredraft.engines.toy import ToyEngine
from foredraft.scheduling.exact_prefill import Cut, cut_of
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Adaptive, Fixed
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters import ModelDrafter, NoDrafter

N_VOCAB = 24
LOGITS = SamplingParams(temperature=0.0)


def engine(m: int | None, grain: int = GRAIN, **settings: object) -> ToyEngine:
    """A toy whose passes of more than m tokens round so much that half of its choices change."""
    toy = ToyEngine.random(
        3,
        n_ctx=2048,
        n_batch=256,
        sharpness=0.5,
        rounding=2.0,
        exact_up_to=m,
        grain=grain,
        measure=False,
        **settings,  # type: ignore[arg-type]
    )
    toy.exact_rows = m
    return toy


def scheduler(m: int, gamma: int | None, n_slots: int = 1, grain: int = GRAIN) -> Scheduler:
    target = engine(m, grain, n_slots=n_slots)
    if gamma == 0:
        return Scheduler(target, NoDrafter(), Fixed(0))
    draft = ToyEngine.random(3, n_ctx=2048, n_batch=256, sharpness=0.5, n_slots=n_slots)
    controller: DraftController = Adaptive() if gamma is None else Fixed(gamma)
    return Scheduler(target, ModelDrafter(draft, N_VOCAB), controller)


def prompt(length: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(2 + (seed * 7 + 5 * i * i + i) % (N_VOCAB - 2) for i in range(length))


def request(tokens: tuple[int, ...], temperature: float, n: int = 24) -> Request:
    return Request(
        tokens,
        SamplingParams(temperature=temperature, seed=5),
        SpeculationParams(),
        max_tokens=n,
        ignore_eos=True,
    )


def answer(of: Scheduler, asked: Request) -> list[int]:
    submitted = of.submit(asked)
    while not submitted.done:
        of.step()
    assert submitted.error is None
    return submitted.tokens


def plain(asked: Request, m: int, grain: int = GRAIN) -> list[int]:
    return _plain(asked.prompt, asked.sampling.temperature, asked.max_tokens, m, grain)


@functools.cache
def _plain(tokens: tuple[int, ...], temperature: float, n: int, m: int, grain: int) -> list[int]:
    return answer(scheduler(m, 0, grain=grain), request(tokens, temperature, n))


def pass_sizes(of: Scheduler) -> Iterator[list[tuple[int, int, int]]]:
    toy = of.engine
    assert isinstance(toy, ToyEngine)
    yield from toy.passes


@pytest.mark.parametrize("grain", [GRAIN, BLOCK])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("gamma", [3, 7, None])
@pytest.mark.parametrize("m", [1, 2, 3, 7])
def test_any_look_ahead_and_any_cache(m: int, gamma: int | None, temperature: float, grain: int) -> None:
    """Fresh, cached, behind a longer text that shares the beginning, and as the next turn of a conversation."""
    for length in (2, 30, BLOCK, BLOCK + 1, BLOCK + 2, 3 * BLOCK - 5):
        asked = request(prompt(length), temperature)
        expected = plain(asked, m, grain)
        drafted = scheduler(m, gamma, grain=grain)
        assert answer(drafted, asked) == expected, "fresh"
        assert answer(drafted, asked) == expected, "cached"
        answer(drafted, request(prompt(length) + prompt(2 * BLOCK, 1), temperature))
        assert answer(drafted, asked) == expected, "behind a longer text"
        turn = request(prompt(length) + tuple(expected) + prompt(30, 2), temperature)
        assert answer(drafted, turn) == plain(turn, m, grain), "the next turn"


@pytest.mark.parametrize("grain", [GRAIN, BLOCK])
@pytest.mark.parametrize("gamma", [0, 3, 7, None])
@pytest.mark.parametrize("m", [1, 2, 3, 7])
def test_any_neighbours(m: int, gamma: int | None, grain: int) -> None:
    """Five answers in four slots, begun at different times, with a prefix that two of them share."""
    lengths = (40, 3 * BLOCK, 2 * BLOCK + 9, BLOCK - 1, 5 * BLOCK + 20)
    asked = [request(prompt(length, seed=length % 2), 0.8 * (i % 2)) for i, length in enumerate(lengths)]
    expected = [plain(one, m, grain) for one in asked]
    shared = scheduler(m, gamma, n_slots=4, grain=grain)
    submitted = []
    for one in asked:
        submitted.append(shared.submit(one))
        for _ in range(3):
            shared.step()
    while shared.busy:
        shared.step()
    assert [one.tokens for one in submitted] == expected


@pytest.mark.parametrize("grain", [GRAIN, BLOCK])
@pytest.mark.parametrize("m", [1, 3, 7])
def test_passes_are_large_or_small(m: int, grain: int) -> None:
    of = scheduler(m, 7, n_slots=2, grain=grain)
    submitted = [of.submit(request(prompt(length, length), 0.0)) for length in (2 * BLOCK + 11, 7 * BLOCK + 3, 30)]
    while not all(one.done for one in submitted):
        of.step()
    large = []
    for chunks in pass_sizes(of):
        total = sum(size for _, _, size in chunks)
        if total > m:
            ((_, start, size),) = chunks
            large.append(size)
            assert start % grain == 0
            assert (size >= BLOCK and size % grain == 0) or (start, size) == (0, 29), "the short prompt, at once"
            assert size <= (LARGEST if grain < BLOCK else BLOCK)
    assert sum(large) == 2 * BLOCK + (8 if grain < BLOCK else 0) + 7 * BLOCK + 29
    if m > 1:
        assert submitted[0].stats.drafted > 0


def test_where_every_size_is_exact_nothing_is_restricted() -> None:
    of = scheduler(7, 7, n_slots=2)
    of.engine.exact_rows = None  # type: ignore[misc]
    of.submit(request(prompt(200), 0.0))
    of.step()
    assert max(size for chunks in pass_sizes(of) for _, _, size in chunks) == 200


def test_without_the_rules_the_texts_part() -> None:
    """The toy does round: with passes as they come, cached and drafted answers differ from plain ones."""
    asked = request(prompt(2 * BLOCK + 9), 0.0)
    careless = scheduler(3, 7)
    careless.engine.exact_rows = None  # type: ignore[misc]
    assert answer(careless, asked) != plain(asked, 3)


def test_a_parked_answer_is_read_again_in_the_same_pieces() -> None:
    m = 3
    asked = [request(prompt(BLOCK + 40, seed), 0.0, n=60) for seed in range(3)]
    expected = [plain(one, m) for one in asked]
    target = ToyEngine.random(
        3, n_ctx=420, n_batch=256, n_slots=3, sharpness=0.5, rounding=2.0, exact_up_to=m, grain=GRAIN
    )
    target.exact_rows = m
    of = Scheduler(target, NoDrafter(), Fixed(0))
    submitted = [of.submit(one) for one in asked]
    parked = False
    while of.busy:
        of.step()
        parked = parked or any(one.parked for one in of.running)
    assert parked, "the cache was large enough for all"
    assert [one.tokens for one in submitted] == expected


@pytest.mark.parametrize("grain", [GRAIN, BLOCK])
@pytest.mark.parametrize("n_batch", [16, 64, 100, 144, 256, 512])
def test_what_is_taken_over_was_read_as_it_would_be_now(n_batch: int, grain: int) -> None:
    """By enumeration: of two texts with a common beginning, every token kept has the same kind in both, and what is
    missing can be read in large passes."""
    cut = cut_of(Sized(n_batch, grain))  # type: ignore[arg-type]
    assert cut is not None
    assert cut.least == min(BLOCK, n_batch)
    lengths = range(1, 3 * cut.least + 4, 5)
    for old, new in itertools.product(lengths, lengths):
        held, wanted = cut.end(old), cut.end(new)
        assert wanted < cut.least or wanted % cut.grain == 0
        for shared in range(0, min(old, new), 3):
            kept = cut.same_kind(shared, held, wanted)
            assert 0 <= kept <= shared
            assert all(kind(cut, at, held) == kind(cut, at, wanted) for at in range(kept)), (old, new, shared)
            check_pieces(cut, kept, wanted)
            if held == wanted and shared >= held:
                assert kept == shared


def kind(cut: Cut, at: int, end: int) -> str:
    """Of the pass that reads the token at this position of a prompt whose large passes end at `end`."""
    return "small" if at >= end else "large" if end >= cut.least else f"the only one, of {end}"


def check_pieces(cut: Cut, start: int, end: int) -> None:
    """What is left of a prompt can be cut, however much is wanted at once."""
    for most in (1, 128, cut.most):
        at = start
        while at < end:
            size = cut.size(at, end, most)
            assert size == end < cut.least or (cut.least <= size <= max(cut.most, cut.least) and size % cut.grain == 0)
            at += size
        assert at == end or start >= end


class Sized:
    """An engine of which only the sizes of passes are asked."""

    exact_rows = 3

    def __init__(self, n_batch: int, grain: int) -> None:
        self.info = dataclasses.replace(engine(3).info, n_batch=n_batch)
        self.exact_grain = grain
