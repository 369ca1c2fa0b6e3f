"""The noise is frozen: these numbers are every seeded text that was ever written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foredraft.sampling import noise

KEYS = {
    (0, 0, 0, 0): 0x238275BC38FCBE91,
    (1, 0, 0, 0): 0xB18A02F46D8D86C3,
    (42, noise.TARGET, 7, 0): 0x518CCFBCC8489B3D,
    (42, noise.DRAFT, 7, 3): 0xEA801258CCE8EAE1,
    (42, noise.ACCEPT, 7, 3): 0x7AB1987AE165130,
    (42, noise.RESIDUAL, 7, 3): 0x945804445AFC0CE,
    (2**64 - 1, noise.TARGET, 2**31, 2**31): 0x7A9EA46F497EF5DC,
}
"""(seed, stream, position, round start) -> key."""

GUMBEL = [3.0851242208233325, 3.5880880067940555, 2.4087013930683248, -0.412344185797811, 0.8320089159305163]
"""Of the key of (42, TARGET, 7), for the tokens 0, 1, 2, 1000 and 151935."""

seeds = st.integers(0, 2**64 - 1)
places = st.integers(0, 2**64 - 1)


def splitmix(state: int) -> int:
    """SplitMix64's output function (Steele, Lea & Flood 2014), written from the paper."""
    z = state % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def chained(*words: int) -> int:
    """seed, stream, start, position: each word steps the state by a multiple of the golden gamma and mixes it."""
    seed, *rest = words
    state = seed
    for word in rest:
        state = splitmix(state + 0x9E3779B97F4A7C15 * (word + 1))
    return state


def test_reference_is_splitmix64() -> None:
    """The published first outputs for seed 1234567 (Rosetta Code, SplitMix64)."""
    gamma = 0x9E3779B97F4A7C15
    assert [splitmix(1234567 + gamma * n) for n in (1, 2, 3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize(("words", "frozen"), KEYS.items())
def test_keys_are_frozen(words: tuple[int, int, int, int], frozen: int) -> None:
    seed, stream, position, start = words
    assert noise.key(*words) == frozen == chained(seed, stream, start, position)


def test_gumbel_is_frozen() -> None:
    got = noise.gumbel(noise.key(42, noise.TARGET, 7), np.array([0, 1, 2, 1000, 151935]))
    assert got == pytest.approx(GUMBEL, rel=1e-14)


@given(places, st.lists(st.integers(0, 2**31), min_size=1, max_size=9))
def test_gumbel_is_minus_log_minus_log_of_the_hash(place: int, tokens: list[int]) -> None:
    got = noise.gumbel(place, np.array(tokens))
    for token, g in zip(tokens, got, strict=True):
        u = ((splitmix(place + 0x9E3779B97F4A7C15 * (token + 1)) >> 12) + 0.5) / 2**52
        assert 0.0 < u < 1.0
        assert g == pytest.approx(-math.log(-math.log(u)), rel=1e-12, abs=1e-12)
        assert noise.gumbel_one(place, token) == pytest.approx(float(g), rel=1e-12, abs=1e-12)


@given(places)
def test_uniform_is_inside_the_open_interval(place: int) -> None:
    assert noise.uniform(place) == ((splitmix(place + 0x9E3779B97F4A7C15) >> 12) + 0.5) / 2**52
    assert 0.0 < noise.uniform(place) < 1.0


def test_the_largest_and_smallest_hash_give_finite_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    for bits in (0, 2**64 - 1):
        monkeypatch.setattr(noise, "_mix", lambda z, bits=bits: bits)
        assert 0.0 < noise.uniform(0) < 1.0
        assert math.isfinite(noise.gumbel_one(0, 0))


@given(seeds, st.integers(0, 2**20), st.integers(0, 2**20))
def test_streams_positions_and_rounds_have_keys_of_their_own(seed: int, position: int, start: int) -> None:
    keys = {
        noise.key(seed, stream, position + i, start + j)
        for stream in (noise.TARGET, noise.DRAFT, noise.ACCEPT, noise.RESIDUAL)
        for i in range(4)
        for j in range(4)
    }
    assert len(keys) == 64


def test_uniform_numbers_fill_the_interval_evenly_and_do_not_follow_each_other() -> None:
    """Over positions, rounds and streams: chi-square of 64 cells (bound: p = 1e-6) and correlations of neighbours."""
    for words in (
        [(1, noise.TARGET, i, 0) for i in range(20_000)],
        [(1, noise.ACCEPT, i, i) for i in range(20_000)],
        [(i, noise.ACCEPT, 5, 2) for i in range(20_000)],
    ):
        u = np.array([noise.uniform(noise.key(*w)) for w in words])
        counts = np.bincount((u * 64).astype(int), minlength=64)
        assert ((counts - len(u) / 64) ** 2 / (len(u) / 64)).sum() < 130.0
        assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 5 / math.sqrt(len(u))
