"""The toy keeps its promises: an exact law, strict rows, failures on demand. (`tests/contracts` has the rest.)"""

from __future__ import annotations

import doctest
from itertools import product

import numpy as np
import pytest

from foredraft.core.errors import CacheFullError, Cancelled, EngineError, ParameterError
from foredraft.engines.base import Chunk
from foredraft.engines.toy import ToyClock, ToyEngine, ToyTokenizer, engine, tokenizer


@pytest.mark.parametrize("module", [engine, tokenizer])
def test_the_examples_in_the_documentation(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 2
    assert result.failed == 0


def test_logits_are_the_logarithm_of_the_law() -> None:
    toy = ToyEngine.random(5, n_vocab=6, order=2)
    for text in product(range(6), repeat=2):
        toy.rewind(0, 0)
        rows = toy.forward([Chunk(0, 0, text, 2)])[0]
        law = toy.law(text)
        assert law.sum() == pytest.approx(1.0, abs=1e-12)
        assert np.allclose(np.exp(rows[1].astype(np.float64)), law, rtol=1e-5)
        assert np.array_equal(rows[0], toy.logits(text[:1]))


def test_the_law_looks_at_the_last_tokens_only() -> None:
    toy = ToyEngine.random(5, order=2)
    assert np.array_equal(toy.law([9, 9, 1, 2]), toy.law([1, 2]))
    assert not np.array_equal(toy.law([9, 1, 2]), toy.law([1, 9, 2]))
    assert np.array_equal(ToyEngine.random(5, order=2).law([1, 2]), toy.law([1, 2]))
    assert not np.array_equal(ToyEngine.random(6, order=2).law([1, 2]), toy.law([1, 2]))


def test_a_table_answers_with_its_longest_entry() -> None:
    toy = ToyEngine.from_table({(): [1, 0, 0], (1,): [0, 1, 0], (2, 1): [0, 0, 1]})
    assert [int(toy.law(text).argmax()) for text in ([], [1], [2, 1], [2], [1, 1])] == [0, 1, 2, 0, 1]
    assert toy.logits([1])[0] == -np.inf


def test_rows_read_too_late_are_nan() -> None:
    toy = ToyEngine.random(0, n_slots=2)
    rows = toy.forward([Chunk(0, 0, [1, 2], 2)])[0]
    assert np.isfinite(rows).all()
    toy.rewind(0, 1)
    assert np.isfinite(rows).all()
    toy.forward([Chunk(1, 0, [1])])
    assert np.isnan(rows).all()


@pytest.mark.parametrize(
    ("kind", "error"), [("cache_full", CacheFullError), ("cancelled", Cancelled), ("error", EngineError)]
)
def test_failures_on_demand_leave_everything_as_it_was(kind: str, error: type[Exception]) -> None:
    toy = ToyEngine.random(0, n_slots=2)
    toy.fail(kind, after=1)
    toy.forward([Chunk(0, 0, [1, 2])])
    with pytest.raises(error):
        toy.forward([Chunk(0, 2, [3]), Chunk(1, 0, [4])])
    assert (toy.read(0), toy.read(1)) == ((1, 2), ())
    toy.forward([Chunk(0, 2, [3]), Chunk(1, 0, [4])])
    assert (toy.read(0), toy.read(1)) == ((1, 2, 3), (4,))


def test_nan_on_demand_is_read_all_the_same() -> None:
    toy = ToyEngine.random(0)
    toy.fail("nan")
    assert np.isnan(toy.forward([Chunk(0, 0, [1], 1)])[0]).all()
    assert toy.read(0) == (1,)
    assert np.isfinite(toy.forward([Chunk(0, 1, [1], 1)])[0]).all()


def test_an_unknown_failure_is_refused() -> None:
    with pytest.raises(ValueError, match="cache_full, cancelled, error, nan"):
        ToyEngine.random(0).fail("fire")


def test_an_abort_in_the_middle_of_a_pass_cancels_it() -> None:
    toy = ToyEngine.random(0)
    toy.during = toy.abort
    with pytest.raises(Cancelled):
        toy.forward([Chunk(0, 0, [1, 2])])
    assert toy.read(0) == ()
    toy.during = None
    toy.forward([Chunk(0, 0, [1, 2])])


def test_time_passes_by_the_cost_model_only() -> None:
    clock = ToyClock()
    toy = ToyEngine.random(0, cost=lambda n: 0.01 + 0.002 * n, clock=clock, n_slots=2)
    toy.forward([Chunk(0, 0, [1, 2]), Chunk(1, 0, [3])])
    assert clock() == pytest.approx(0.016)
    assert list(toy.passes) == [[(0, 0, 2), (1, 0, 1)]]


def test_copies_share_their_cells() -> None:
    """As in llama.cpp's unified cache: a copied prefix takes no room."""
    toy = ToyEngine.random(0, n_slots=3, n_ctx=10)
    toy.forward([Chunk(0, 0, [1] * 6)])
    toy.copy(0, 1, 6)
    toy.forward([Chunk(1, 6, [2] * 4)])
    with pytest.raises(CacheFullError, match="10 of 10"):
        toy.forward([Chunk(2, 0, [1])])


def test_rounding_moves_batches_and_not_single_steps() -> None:
    toy = ToyEngine.random(0, rounding=0.1, n_slots=2)
    single = toy.forward([Chunk(0, 0, [1], 1)])[0].copy()
    toy.rewind(0, 0)
    batch = toy.forward([Chunk(0, 0, [1, 2], 2)])[0][:1].copy()
    assert np.array_equal(single[0], toy.logits([1]))
    assert 0 < np.abs(batch - single).max() <= 0.1001


@pytest.mark.parametrize("amount", [0.0, 0.5, 1.0])
def test_a_blurred_copy_is_a_worse_draft(amount: float) -> None:
    main = ToyEngine.random(0)
    draft = main.blurred(amount, seed=3)
    overlap = np.mean([np.minimum(main.law(text), draft.law(text)).sum() for text in product(range(6), repeat=2)])
    assert overlap == pytest.approx({0.0: 1.0, 0.5: 0.62, 1.0: 0.25}[amount], abs=0.05)
    assert draft.tokenizer is main.tokenizer


def test_the_tokenizer_has_halves_of_characters() -> None:
    toy = ToyTokenizer.of_size(320)
    ids = toy.encode("é あ the cat 🙂")
    assert ids[0] == toy.bos
    pieces = [toy.piece(token) for token in ids]
    assert b"".join(pieces).decode() == "é あ the cat 🙂"
    assert {b"\xc3", b"\xa9", b"\xe3\x81", b"\x82", b" the", b" cat"} <= set(pieces)


def test_control_tokens_are_read_from_text_only_when_asked() -> None:
    toy = ToyTokenizer.of_size(320)
    assert toy.encode("a</s>", add_special=False) == [*toy.encode("a", add_special=False), toy.eos]
    assert toy.eos not in toy.encode("a</s>", parse_special=False)
    assert toy.piece(1) == b""
    assert toy.piece(1, special=True) == b"</s>"
    assert toy.eog == {1}


def test_bytes_that_are_not_text_come_back() -> None:
    toy = ToyTokenizer.of_size(320)
    text = b"a\xff\xfeb".decode("utf-8", "surrogateescape")
    assert b"".join(map(toy.piece, toy.encode(text))) == b"a\xff\xfeb"


def test_what_is_not_in_the_vocabulary_is_refused() -> None:
    with pytest.raises(ParameterError, match="pieces of this vocabulary"):
        ToyTokenizer.of_size(8).encode("zebra")
    with pytest.raises(ParameterError, match="from 0 to 7"):
        ToyTokenizer.of_size(8).piece(8)


def test_pieces_of_a_vocabulary_differ() -> None:
    for size in (2, 5, 24, 400):
        toy = ToyTokenizer.of_size(size)
        texts = [toy.text(token) for token in range(size)]
        assert len(set(texts)) == size == toy.n_vocab
