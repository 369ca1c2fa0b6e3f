"""The numerics probe: finds rounding where there is some, costs what it may, leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from foredraft.core.errors import EngineError, NonFiniteLogitsError
from foredraft.engines.base import BLOCK, GRAIN, Chunk, Logits
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.llamacpp.library import library
from foredraft.engines.probe import ALL_SIZES, SIZES, TEXTS, probe
from foredraft.engines.rewind import NONE
from foredraft.engines.toy import RecurrentToy, ToyClock, ToyEngine
from tests import tiny_gguf


def test_an_exact_engine_is_called_exact() -> None:
    engine = ToyEngine.random(0)
    numerics = probe(engine)
    assert numerics.batches_exact
    assert numerics.by_batch == dict.fromkeys(SIZES, 0.0)
    assert numerics.argmax_flips == 0
    assert numerics.positions == len(TEXTS) * sum(SIZES)
    assert numerics.large == numerics.beside == 0.0
    assert numerics.exact_rows is None


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
    for number in (6, 25):  # the passes before are only timed
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
    assert clock() < 3.3
    assert {2, 3, 4} <= set(numerics.by_batch)
    assert (8 in numerics.by_batch) == (step_s <= 0.05)
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
    numerics = probe(RecurrentToy.random(0, rewind_limit=NONE))
    assert set(numerics.by_batch) == set(SIZES)


def test_a_small_context_or_batch_limits_the_sizes() -> None:
    assert set(probe(ToyEngine.random(0, n_ctx=6)).by_batch) == {2, 3, 4}
    assert set(probe(ToyEngine.random(0, n_batch=3)).by_batch) == {2, 3}
    nothing = probe(ToyEngine.random(0, n_batch=1))
    assert nothing.batches_exact  # there are only single steps
    assert nothing.by_batch == {}


def test_what_is_known_is_not_measured_again() -> None:
    """A slow model leaves something out; the next probe adds it, and the one after that has nothing to do."""
    clock = ToyClock()
    engine = ToyEngine.random(0, rounding=0.01, n_slots=2, cost=lambda n: 0.1 * (0.7 + 0.3 * n), clock=clock)
    first = probe(engine, clock=clock)
    assert 17 not in first.by_batch
    second = probe(engine, clock=clock, budget_s=20.0, known=first)
    assert second.by_batch == {**first.by_batch, 8: second.by_batch[8], 17: second.by_batch[17]}
    assert second.beside is not None
    assert second.large is not None
    passes = len(engine.passes)
    assert probe(engine, clock=clock, known=second) == second
    assert len(engine.passes) == passes
    assert [engine.length(slot) for slot in range(2)] == [0, 0]


@pytest.mark.parametrize("n_slots", [1, 2])
def test_other_answers_are_measured_apart(n_slots: int) -> None:
    exact = probe(ToyEngine.random(0, n_slots=n_slots))
    assert exact.beside == 0.0
    assert exact.beside_exact
    rough = ToyEngine.random(0, rounding=0.01, n_slots=n_slots).numerics
    assert rough is not None
    if n_slots == 1:  # nobody is beside
        assert rough.beside == 0.0
    else:
        assert 0.0 < (rough.beside or 0.0) <= 0.0101
    assert not rough.beside_exact
    assert rough.rounding == max(rough.max_abs_diff, rough.beside or 0.0)


@pytest.mark.parametrize("m", [1, 2, 3, 7, 16, 17, 40])
def test_the_largest_exact_pass_is_found(m: int) -> None:
    """Larger passes round, and what they have read is another memory. What is exact for small ones is exact for others
    beside them, as long as they keep to it."""
    engine = ToyEngine.random(0, rounding=0.01, exact_up_to=m, n_slots=2)
    found = probe(engine, sizes=ALL_SIZES, whole=True, exact=True)
    assert found.exact_rows == min(m, 17)
    assert found.beside == 0.0
    assert found.large is not None
    assert found.large > 0.0


@pytest.mark.parametrize(
    ("grain", "n_batch", "expected"),
    [(1, 512, GRAIN), (8, 512, GRAIN), (16, 512, BLOCK), (64, 512, BLOCK), (8, 128, BLOCK)],
)
def test_large_passes_are_compared_with_each_other(grain: int, n_batch: int, expected: int) -> None:
    """Where those of 64 tokens and of other multiples of 8 are not alike, or could not be compared, only those of
    exactly 64 are taken to be."""
    engine = ToyEngine.random(0, rounding=0.01, exact_up_to=7, grain=grain, n_slots=2, n_ctx=1024, n_batch=n_batch)
    assert probe(engine, sizes=ALL_SIZES, exact=True).grain == expected
    assert probe(engine, sizes=ALL_SIZES).grain == BLOCK, "fast numerics need not know"


def test_natural_text_is_read_where_the_vocabulary_has_words() -> None:
    engine = ToyEngine.random(0, n_vocab=320)
    read: list[list[int]] = []
    forward = engine.forward

    def spy(chunks: Sequence[Chunk]) -> list[Logits]:
        read.extend(list(chunk.tokens) for chunk in chunks)
        return forward(chunks)

    engine.forward = spy  # type: ignore[method-assign]
    probe(engine)
    longest = max(read, key=len)
    text = b"".join(map(engine.tokenizer.piece, longest)).decode("utf-8", "replace")
    assert "def mean(values)" in text


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("kv_type", "value_type", "flash"),
    [("f16", "bf16", "auto"), ("f16", None, "auto"), ("f32", None, "auto"), ("f16", None, "off")],
)
def test_what_it_says_is_what_long_texts_show(
    tmp_path: Path, kv_type: str, value_type: str | None, flash: str, threads: int
) -> None:
    """Across 512 tokens, and beside another answer: where the probe says exact, every bit is the same. (On processors
    of today only the first of these is: others are not on two threads, beside others, or across that border.)"""
    path = tiny_gguf.llama(tmp_path / "tiny.gguf", kind="q8_0")
    engine = LlamaCppEngine(
        path,
        LoadOptions(
            n_ctx=1024,
            n_slots=2,
            n_threads=threads,
            kv_type=kv_type,
            value_type=value_type,
            flash_attention=flash,
        ),
    )
    numerics = engine.numerics
    assert numerics is not None
    assert numerics.context in (510, 600)
    ids = np.random.default_rng(9).integers(3, 320, size=522).tolist()
    for at in range(0, 505, 5):
        engine.forward([Chunk(0, at, ids[at : at + 5])])
    singles = np.concatenate([engine.forward([Chunk(0, at, [ids[at]], 1)])[0].copy() for at in range(505, 522)])
    apart, crowded = [], []
    for size in (2, 5, 17):
        engine.rewind(0, 505)
        apart.append(np.array_equal(engine.forward([Chunk(0, 505, ids[505 : 505 + size], size)])[0], singles[:size]))
        engine.rewind(0, 505)
        chunks = [Chunk(1, 0, ids[:70]), Chunk(0, 505, ids[505 : 505 + size], size)]
        crowded.append(np.array_equal(engine.forward(chunks)[1], singles[:size]))
        engine.rewind(1, 0)
    engine.close()
    assert numerics.ordered == (value_type == "bf16" and not library().api.llama_supports_gpu_offload())
    assert all(apart) or not numerics.batches_exact
    assert all(crowded + apart) or not numerics.beside_exact


def test_it_takes_back_what_it_put_into_the_cache(tmp_path: Path) -> None:
    """The long text that it makes up is nobody's: the cache is whole again, and so are the answers."""
    path = tiny_gguf.llama(tmp_path / "tiny.gguf", kind="q8_0")
    probed, fresh = (
        LlamaCppEngine(path, LoadOptions(n_ctx=1024, n_slots=3, n_threads=1, probe=wanted)) for wanted in (True, False)
    )
    ids = np.random.default_rng(9).integers(3, 320, size=1024).tolist()
    rows = [
        [engine.forward([Chunk(2, at, ids[at : at + 512], 1)])[0].copy() for at in (0, 512)]
        for engine in (probed, fresh)
    ]
    assert np.array_equal(rows[0], rows[1])
    probed.close()
    fresh.close()
