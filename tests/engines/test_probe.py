"""The numerics probe: finds rounding where there is some, costs what it may, leaves nothing behind."""

from __future__ import annotations

import pytest

from foredraft.core.errors import EngineError, NonFiniteLogitsError
from foredraft.engines.base import Chunk
from foredraft.engines.probe import SIZES, probe
from foredraft.engines.toy import ToyClock, ToyEngine


def test_an_exact_engine_is_called_exact() -> None:
    engine = ToyEngine.random(0)
    numerics = probe(engine)
    assert numerics.batches_exact
    assert numerics.by_batch == dict.fromkeys(SIZES, 0.0)
    assert numerics.argmax_flips == 0
    assert numerics.positions == 4 * sum(SIZES)


def test_rounding_is_measured() -> None:
    engine = ToyEngine.random(0, rounding=0.01)
    assert engine.numerics is not None
    assert not engine.numerics.batches_exact
    assert 0.008 < engine.numerics.max_abs_diff <= 0.0101  # a float32's own rounding on top
    assert engine.numerics.max_abs_diff == max(engine.numerics.by_batch.values())


def test_flips_are_counted() -> None:
    assert ToyEngine.random(0, sharpness=0.01, rounding=1.0).numerics.argmax_flips > 100  # type: ignore[union-attr]


def test_forbidden_tokens_are_no_difference() -> None:
    """log 0 is -inf on both sides."""
    engine = ToyEngine.from_table({(): [0.0, 0.0, 0.5, 0.5]})
    assert probe(engine).batches_exact


def test_nan_in_a_single_step_or_in_a_batch_is_an_error() -> None:
    for number in (3, 25):
        engine = ToyEngine.random(0)
        engine.fail("nan", after=number)
        with pytest.raises(NonFiniteLogitsError):
            probe(engine)
        assert engine.length(0) == 0


@pytest.mark.parametrize("step_s", [0.0, 1e-4, 0.01, 0.05, 0.1, 0.25])
def test_a_slow_model_is_probed_for_a_moment_only(step_s: float) -> None:
    clock = ToyClock()
    engine = ToyEngine.random(0, cost=lambda n: step_s * (0.7 + 0.3 * n), clock=clock)
    numerics = probe(engine, clock=clock)
    assert clock() < 2.8
    assert {2, 3, 4} <= set(numerics.by_batch)
    assert (8 in numerics.by_batch) == (step_s <= 0.1)
    assert (17 in numerics.by_batch) == (step_s <= 0.05)


def test_it_uses_an_empty_slot_and_leaves_it_empty() -> None:
    engine = ToyEngine.random(0, n_slots=2)
    engine.forward([Chunk(0, 0, [1, 2, 3])])
    probe(engine)
    assert [engine.length(slot) for slot in range(2)] == [3, 0]
    assert engine.read(0) == (1, 2, 3)
    engine.forward([Chunk(1, 0, [1])])
    with pytest.raises(EngineError, match="empty slot"):
        probe(engine)


def test_a_model_that_cannot_go_back_is_probed_from_the_start() -> None:
    numerics = probe(ToyEngine.random(0, rewind_limit=0))
    assert set(numerics.by_batch) == set(SIZES)


def test_a_small_context_or_batch_limits_the_sizes() -> None:
    assert set(probe(ToyEngine.random(0, n_ctx=6)).by_batch) == {2, 3, 4}
    assert set(probe(ToyEngine.random(0, n_batch=3)).by_batch) == {2, 3}
    nothing = probe(ToyEngine.random(0, n_batch=1))
    assert nothing.batches_exact  # there are only single steps
    assert nothing.by_batch == {}
