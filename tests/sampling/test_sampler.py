"""The sampler chain against the slow reference, over whatever rows Hypothesis can think of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foredraft.core.errors import NonFiniteLogitsError, ParameterError
from foredraft.core.params import SamplingParams
from foredraft.sampling import noise, search, steps
from foredraft.sampling.sampler import Sampler
from tests.sampling import reference

POSITION = 11


class Mask:
    """A constraint that allows the same tokens everywhere."""

    def __init__(self, allowed: list[bool]) -> None:
        self._allowed = np.array(allowed)

    def allowed(self, prefix: object) -> NDArray[np.bool_]:
        return self._allowed

    def commit(self, tokens: object) -> None: ...


def logit_values() -> st.SearchStrategy[float]:
    few = st.sampled_from([0.0, 1.0, -1.0, 2.0])  # ties
    usual = st.floats(-30, 30, width=32)
    huge = st.floats(-(2.0**100), 2.0**100, width=32)
    return st.one_of(few, usual, huge, st.just(-math.inf))


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[float], SamplingParams, list[int], list[int], list[bool] | None]:
    """(row, params, history, drafted prefix, mask), with at least one token possible."""
    n = draw(st.integers(1, 40))
    row = draw(st.lists(logit_values(), min_size=n, max_size=n))
    row = [float(np.float32(x)) for x in row]
    tokens = st.lists(st.integers(0, n + 1), max_size=12)  # a draft's row may lack ids of the prompt
    bias = draw(st.dictionaries(st.integers(0, n - 1), st.one_of(st.just(-math.inf), st.floats(-20, 20)), max_size=5))
    params = SamplingParams(
        temperature=draw(st.sampled_from([0.0, 0.8, 1.0, 0.01, 50.0])),
        top_k=draw(st.sampled_from([0, 1, 2, 5, 40])),
        top_p=draw(st.sampled_from([0.0, 0.3, 0.95, 1.0])),
        min_p=draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
        repeat_penalty=draw(st.sampled_from([1.0, 1.1, 0.5, 3.0])),
        presence_penalty=draw(st.sampled_from([0.0, 0.7, -2.0])),
        frequency_penalty=draw(st.sampled_from([0.0, 0.4, -1.0])),
        penalty_last_n=draw(st.sampled_from([-1, 0, 1, 4, 64])),
        logit_bias=bias,
        seed=5,
    )
    mask = draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=n, max_size=n)))
    history, prefix = draw(tokens), draw(tokens)
    changed = reference.changed(row, params, [*history, *prefix], mask)
    assume(max(changed) > -math.inf)
    return row, params, history, prefix, mask


def dense(sampler: Sampler, row: list[float], prefix: list[int]) -> list[float]:
    law = sampler.law(np.array(row, dtype=np.float32), prefix, POSITION)
    return [law.prob(token) for token in range(len(row))]


@given(cases())
def test_law_is_the_references(
    case: tuple[list[float], SamplingParams, list[int], list[int], list[bool] | None],
) -> None:
    row, params, history, prefix, mask = case
    sampler = Sampler(params, history, constraint=None if mask is None else Mask(mask))
    got = dense(sampler, row, prefix)
    # A token exactly on the border of top-p or min-p may fall on either side of it by rounding.
    wanted = [reference.law(row, params, [*history, *prefix], mask, slack=s) for s in (0.0, -1e-12, 1e-12)]
    assert any(got == pytest.approx(law, abs=1e-12) for law in wanted)


@given(cases())
def test_choice_is_argmax_of_log_law_plus_noise(
    case: tuple[list[float], SamplingParams, list[int], list[int], list[bool] | None],
) -> None:
    """The Gumbel-max trick on the law itself; at temperature 0 the most likely token with the lowest id."""
    row, params, history, prefix, mask = case
    sampler = Sampler(params, history, constraint=None if mask is None else Mask(mask))
    law = dense(sampler, row, prefix)
    choice = sampler.choose(np.array(row, dtype=np.float32), prefix, POSITION)
    place = noise.key(5, noise.TARGET, POSITION)
    score = [math.log(p) + noise.gumbel_one(place, t) if p > 0 else -math.inf for t, p in enumerate(law)]
    assert score[choice] == pytest.approx(max(score), abs=1e-9)


@given(cases())
def test_state_after_a_drafted_prefix_is_the_state_after_committing_it(
    case: tuple[list[float], SamplingParams, list[int], list[int], list[bool] | None],
) -> None:
    row, params, history, prefix, _ = case
    ahead, after = Sampler(params, history), Sampler(params, history)
    assume(max(reference.changed(row, params, [*history, *prefix])) > -math.inf)
    looked = dense(ahead, row, prefix)
    after.commit(prefix)
    assert looked == dense(after, row, [])
    assert looked == dense(ahead, row, prefix)  # looking changed nothing


@given(cases(), st.sampled_from([2, 3, 7]))
def test_the_search_finds_the_same_tokens_whatever_the_size_of_its_blocks(
    case: tuple[list[float], SamplingParams, list[int], list[int], list[bool] | None], blocks: int
) -> None:
    row, params, history, prefix, mask = case
    sampler = Sampler(params, history, constraint=None if mask is None else Mask(mask))
    wanted = dense(sampler, row, prefix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_BLOCKS", blocks)
        assert dense(sampler, row, prefix) == wanted


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.0},
        {"repeat_penalty": 1.3, "frequency_penalty": 0.5},
        {"temperature": 0.0, "repeat_penalty": 4.0, "penalty_last_n": -1},
        {"top_k": 0, "top_p": 1.0, "min_p": 0.1},
        {"top_k": 0, "top_p": 0.9},
        {"top_k": 700, "top_p": 1.0, "min_p": 0.0},
        {"top_k": 0, "top_p": 1.0, "min_p": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("n", [1000, 32_003])
def test_law_on_large_vocabularies(settings: dict[str, float], n: int) -> None:
    """With the blocks of the product: more tokens than blocks, a rest that fills no row, peaks side by side."""
    rng = np.random.default_rng(n)
    row = rng.normal(0, 4, n).astype(np.float32)
    row[n - 5 :] += 14
    row[rng.integers(0, n, 60)] += 12
    history = [int(t) for t in np.argsort(-row)[:50]] + [int(t) for t in rng.integers(0, n, 50)]
    params = SamplingParams(**settings)
    got = dense(Sampler(params, history), row.tolist(), [3])
    assert got == pytest.approx(reference.law(row.tolist(), params, [*history, 3]), abs=1e-12)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("settings", [{}, {"repeat_penalty": 1.2}, {"logit_bias": {1: 2.0}}, {"top_k": 0}], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("at", [0, 700, 1036])
def test_nan_and_infinite_logits_are_errors(
    temperature: float, settings: dict[str, object], bad: float, at: int
) -> None:
    row = np.zeros(1037, dtype=np.float32)
    row[at] = bad
    sampler = Sampler(SamplingParams(temperature=temperature, **settings), [1, 2])
    with pytest.raises(NonFiniteLogitsError, match="position 11"):
        sampler.choose(row, [], POSITION)
    with pytest.raises(NonFiniteLogitsError):
        sampler.guess(row, [], POSITION, confidence=True)


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("row", [[-math.inf, -math.inf], [0.0, -math.inf]])
def test_a_row_without_any_possible_token_is_an_error_not_an_endless_search(
    temperature: float, row: list[float]
) -> None:
    sampler = Sampler(SamplingParams(temperature=temperature, logit_bias={0: -math.inf}))
    with pytest.raises(NonFiniteLogitsError):
        sampler.choose(np.array(row, dtype=np.float32), [], POSITION)


def test_nan_of_a_forbidden_token_does_not_matter() -> None:
    row = np.array([0.0, math.nan, 1.0], dtype=np.float32)
    assert Sampler(SamplingParams(temperature=0), constraint=Mask([True, False, True])).choose(row, [], POSITION) == 2


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-320])
def test_no_temperature_is_too_small_to_divide_by(temperature: float) -> None:
    law = dense(Sampler(SamplingParams(temperature=temperature)), [3.0, 3.0, 2.0], [])
    assert law == pytest.approx([0.5, 0.5, 0.0])


@pytest.mark.parametrize("top_k", [0, 4, 40])
@pytest.mark.parametrize("top_p", [0.9, 1.0])
@pytest.mark.parametrize("min_p", [0.0, 0.2])
@pytest.mark.parametrize("added", [False, True])
def test_what_is_quick_is_the_list_of_steps(
    top_k: int, top_p: float, min_p: float, added: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps one by one on the whole sorted row, one that was added among them: no short cut skips one."""
    if added:
        half = steps.Truncation(lambda _: True, lambda logits, asked, mass: (len(logits) + 1) // 2)
        monkeypatch.setitem(steps.TRUNCATIONS, "half", half)
    params = SamplingParams(temperature=0.7, top_k=top_k, top_p=top_p, min_p=min_p, seed=1)
    for seed in range(20):
        row = np.random.default_rng(seed).normal(size=30).astype(np.float32) * 2.0
        ids, logits = steps.sort(np.arange(30), row.astype(np.float64))
        keep = steps.truncate(logits, params, [name for name, step in steps.TRUNCATIONS.items() if step.active(params)])
        got_ids, got = Sampler(params).candidates(row, [], 5)
        order = np.argsort(-got, kind="stable")
        assert sorted(got_ids.tolist()) == sorted(ids[:keep].tolist())
        assert got[order] == pytest.approx(steps.temperature(logits[:keep], logits[0], 0.7))


def test_ties_go_to_the_lowest_id() -> None:
    row = np.array([1.0, 2.0, 2.0, 2.0], dtype=np.float32)
    assert Sampler(SamplingParams(temperature=0)).choose(row, [], 0) == 1
    assert Sampler(SamplingParams(temperature=0, logit_bias={0: 1.0})).choose(row, [], 0) == 0
    assert dense(Sampler(SamplingParams(top_k=2, top_p=1, min_p=0)), row.tolist(), []) == [0, 0.5, 0.5, 0]


def test_samples_follow_the_law() -> None:
    """Chi-square over 40,000 positions with a fixed seed; the bound is that of p = 1e-6 with 5 degrees of freedom."""
    row = np.array([2.0, 1.5, 0.0, -1.0, 1.5, -3.0], dtype=np.float32)
    sampler = Sampler(SamplingParams(temperature=1.3, top_k=0, top_p=1.0, min_p=0.0, seed=2))
    n = 40_000
    counts = np.bincount([sampler.choose(row, [], position) for position in range(n)], minlength=6)
    expected = n * np.array(dense(sampler, row.tolist(), []))
    assert ((counts - expected) ** 2 / expected).sum() < 37.0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("settings", [{}, {"repeat_penalty": 1.2}], ids=str)
def test_a_guess_is_the_targets_own_choice_and_its_confidence_a_share(
    temperature: float, settings: dict[str, float]
) -> None:
    rng = np.random.default_rng(0)
    sampler = Sampler(SamplingParams(temperature=temperature, seed=1, **settings), [1, 2, 3], n_vocab=50)
    for position in range(50):
        padded = rng.normal(0, 5, 60).astype(np.float32)  # ids from 50 on are unknown to the target
        token, confidence = sampler.guess(padded, [4], position, confidence=True)
        assert token == sampler.choose(padded[:50], [4], position)
        assert 0.0 < confidence <= 1.0
        assert sampler.guess(padded, [4], position, confidence=False)[0] == token


def test_greedy_confidence_is_the_drafts_probability() -> None:
    row = np.array([3.0, 1.0, 2.0], dtype=np.float32)
    weights = np.exp([3.0, 1.0, 2.0])
    assert Sampler(SamplingParams(temperature=0)).guess(row, [], 0, confidence=True) == (
        0,
        pytest.approx(weights[0] / weights.sum()),
    )
    biased = Sampler(SamplingParams(temperature=0, logit_bias={1: 4.0}))
    weights[1] *= math.exp(4.0)
    assert biased.guess(row, [], 0, confidence=True) == (1, pytest.approx(weights[1] / weights.sum()))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("temperature", -0.1, "0 to 100 (0 is greedy)"),
        ("temperature", math.nan, "0 to 100 (0 is greedy)"),
        ("temperature", True, "0 to 100 (0 is greedy)"),
        ("top_k", -1, "at least 0"),
        ("top_k", 2.0, "at least 0"),
        ("top_p", 1.01, "from 0 to 1"),
        ("min_p", -0.5, "from 0 to 1"),
        ("repeat_penalty", 0.0, "0.001 to 1000"),
        ("presence_penalty", 101.0, "-100 to 100"),
        ("frequency_penalty", -101.0, "-100 to 100"),
        ("penalty_last_n", -2, "at least -1"),
        ("logit_bias", {-1: 0.0}, "token id"),
        ("logit_bias", {0: math.inf}, "-inf"),
        ("logit_bias", {0: 2e6}, "1000000"),
        ("seed", -1, "2^64 - 1"),
        ("seed", 2**64, "2^64 - 1"),
    ],
)
def test_parameters_out_of_range_are_named_with_their_range(name: str, value: object, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        SamplingParams(**{name: value})
    assert caught.value.name == name
    assert name in str(caught.value)
    assert words in str(caught.value)
