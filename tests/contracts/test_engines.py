"""The contract of every engine, on the toy and on llama.cpp, here and in a process of their own: what `Engine`
promises, seen from outside.

Mutants that were made by hand and the test that kills each:
- `forward` forgets to move a slot's length on: test_any_split_gives_the_same_logits
- the wanted rows are the first ones of a chunk: test_wanted_rows_are_the_last_ones
- rows of a second chunk start again at row 0: test_several_slots_at_once_are_each_alone
- `rewind` shortens the books but not the cache: test_rewound_and_read_again_equals_never_read
- `copy` copies everything, not `length` tokens: test_a_copy_equals_reading_the_same
- `copy` leaves what the slot held before: test_a_copy_replaces_what_was_there
- a full cache leaves part of a pass behind: test_a_full_cache_loses_nothing
- `abort` sets its mark outside a pass too: test_abort_between_passes_does_nothing
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.core.errors import CacheFullError, ClosedError, EngineError
from foredraft.engines import ENGINES
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.llamacpp import LoadOptions
from foredraft.engines.probe import probe
from foredraft.engines.toy import ToyTokenizer
from tests.conftest import ROOT

N_CTX, N_BATCH, N_SLOTS = 256, 64, 4
FAST = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def make_toy(beside: Path) -> Engine:
    file = beside.with_name("model.toy")
    file.write_text("seed = 3\norder = 3\nn_vocab = 24\n", encoding="utf-8")
    return ENGINES["toy"](file, context=N_CTX, slots=N_SLOTS, batch=N_BATCH)


def make_llamacpp(path: Path) -> Engine:
    options = LoadOptions(n_ctx=N_CTX, n_batch=N_BATCH, n_slots=N_SLOTS, max_rows=N_BATCH, n_threads=1, kv_type="f32")
    return ENGINES["llamacpp"](path, options)


def make_isolated_toy(_: Path) -> Engine:
    toy = {"seed": 3, "order": 3, "n_slots": N_SLOTS, "n_ctx": N_CTX, "n_batch": N_BATCH}
    return ENGINES["isolated"]("tests.engines.openers:toy", toy)


def make_isolated_llamacpp(path: Path) -> Engine:
    size = {"n_ctx": N_CTX, "n_batch": N_BATCH, "n_slots": N_SLOTS, "max_rows": N_BATCH}
    given = {"path": str(path), **size, "n_threads": 1, "kv_type": "f32"}
    return ENGINES["isolated"]("tests.engines.openers:llamacpp", given)


MAKERS: dict[str, Callable[[Path], Engine]] = {
    "toy": make_toy,
    "llamacpp": make_llamacpp,
    "isolated toy": make_isolated_toy,
    "isolated llamacpp": make_isolated_llamacpp,
}


@pytest.fixture(scope="module", autouse=True)
def children_find_the_tests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


def test_every_engine_of_the_table_is_under_contract() -> None:
    assert {name.split()[0] for name in MAKERS} == set(ENGINES)


@pytest.fixture(scope="module", params=sorted(MAKERS))
def loaded(request: pytest.FixtureRequest, tiny_llama: Path) -> Iterator[Engine]:
    engine = MAKERS[request.param](tiny_llama)
    engine.numerics = probe(engine, sizes=(2, 3, 4, 8, 16, 32, N_BATCH))
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: Engine) -> Engine:
    empty(loaded)
    return loaded


def empty(engine: Engine) -> None:
    for slot in range(engine.info.n_slots):
        engine.rewind(slot, 0)


def tokens(engine: Engine, count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(engine.info.n_vocab, size=count).tolist()


def read(engine: Engine, slot: int, ids: Sequence[int], want: int = 0) -> np.ndarray:
    """Read tokens in one pass; the wanted rows, copied."""
    return engine.forward([Chunk(slot, engine.length(slot), ids, want)])[0].copy()


def singly(engine: Engine, slot: int, ids: Sequence[int]) -> np.ndarray:
    """Every row of a text, read one token at a time: the reference."""
    return np.concatenate([read(engine, slot, [token], 1) for token in ids])


def assert_same(engine: Engine, left: np.ndarray, right: np.ndarray) -> None:
    """Equal, within what the probe measured for all sizes used here: four times, as its texts are not these."""
    assert engine.numerics is not None
    bound = 4 * engine.numerics.max_abs_diff
    assert left.shape == right.shape
    if not np.array_equal(left, right):
        assert float(np.abs(left - right).max()) <= bound


@FAST
@given(data=st.data())
def test_any_split_gives_the_same_logits(engine: Engine, data: st.DataObject) -> None:
    empty(engine)
    ids = data.draw(st.lists(st.integers(0, engine.info.n_vocab - 1), min_size=1, max_size=24))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(ids) - 1), max_size=6)) if len(ids) > 1 else [])
    expected = singly(engine, 0, ids)
    rows = [read(engine, 1, ids[a:b], b - a) for a, b in zip([0, *cuts], [*cuts, len(ids)], strict=True)]
    assert_same(engine, np.concatenate(rows), expected)
    assert engine.length(0) == engine.length(1) == len(ids)


def test_wanted_rows_are_the_last_ones(engine: Engine) -> None:
    ids = tokens(engine, 9)
    every = read(engine, 0, ids, 9)
    assert_same(engine, read(engine, 1, ids, 3), every[-3:])
    assert read(engine, 2, ids, 0).shape == (0, engine.info.n_vocab)
    assert every.dtype == np.float32


def test_rows_cannot_be_written(engine: Engine) -> None:
    rows = engine.forward([Chunk(0, 0, tokens(engine, 3), 1)])[0]
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1.0


@FAST
@given(data=st.data())
def test_several_slots_at_once_are_each_alone(engine: Engine, data: st.DataObject) -> None:
    """Different texts, starts, lengths and wants in one pass."""
    empty(engine)
    n_slots = engine.info.n_slots
    sizes = data.draw(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 6)), min_size=1, max_size=n_slots - 1))
    order = data.draw(st.permutations(range(len(sizes))))
    texts = [tokens(engine, before + size, seed=slot) for slot, (before, size) in enumerate(sizes)]
    wants = [data.draw(st.integers(0, size)) for _, size in sizes]
    for slot, (before, _) in enumerate(sizes):
        if before:
            read(engine, slot, texts[slot][:before])
    chunks = [Chunk(slot, sizes[slot][0], texts[slot][sizes[slot][0] :], wants[slot]) for slot in order]
    together = [rows.copy() for rows in engine.forward(chunks)]
    for slot, rows in zip(order, together, strict=True):
        engine.rewind(n_slots - 1, 0)
        alone = singly(engine, n_slots - 1, texts[slot])
        assert_same(engine, rows, alone[len(alone) - wants[slot] :])


@FAST
@given(kept=st.integers(0, 12), dropped=st.integers(0, 12), seed=st.integers(0, 99))
def test_rewound_and_read_again_equals_never_read(engine: Engine, kept: int, dropped: int, seed: int) -> None:
    empty(engine)
    ids = tokens(engine, kept + 5, seed)
    if kept + dropped:
        read(engine, 0, ids[:kept] + tokens(engine, dropped, seed + 100))
    engine.rewind(0, kept)
    assert engine.length(0) == kept
    after = singly(engine, 0, ids[kept:])
    if kept:
        read(engine, 1, ids[:kept])
    assert_same(engine, after, singly(engine, 1, ids[kept:]))


@FAST
@given(have=st.integers(1, 12), data=st.data())
def test_a_copy_equals_reading_the_same(engine: Engine, have: int, data: st.DataObject) -> None:
    empty(engine)
    length = data.draw(st.integers(0, have))
    ids = tokens(engine, have)
    read(engine, 0, ids)
    engine.copy(0, 1, length)
    assert engine.length(1) == length
    assert engine.length(0) == have
    more = tokens(engine, 4, seed=1)
    copied = singly(engine, 1, more)
    if length:
        read(engine, 2, ids[:length])
    assert_same(engine, copied, singly(engine, 2, more))


def test_a_copy_replaces_what_was_there(engine: Engine) -> None:
    read(engine, 1, tokens(engine, 20, seed=5))
    ids = tokens(engine, 6)
    read(engine, 0, ids)
    engine.copy(0, 1, 6)
    assert engine.length(1) == 6
    assert_same(engine, read(engine, 1, [3], 1), read(engine, 0, [3], 1))


def test_slots_are_apart_after_a_copy(engine: Engine) -> None:
    """What one of them reads or forgets, the other does not notice."""
    ids = tokens(engine, 8)
    read(engine, 0, ids)
    engine.copy(0, 1, 8)
    engine.rewind(0, 2)
    read(engine, 0, tokens(engine, 9, seed=1))
    after = singly(engine, 1, [5, 6])
    read(engine, 2, ids)
    assert_same(engine, after, singly(engine, 2, [5, 6]))


def test_a_copy_to_itself_is_a_rewind(engine: Engine) -> None:
    read(engine, 0, tokens(engine, 8))
    engine.copy(0, 0, 3)
    assert engine.length(0) == 3


def test_a_full_slot_loses_nothing(engine: Engine) -> None:
    ids = tokens(engine, N_CTX)
    for first in range(0, N_CTX, N_BATCH):
        read(engine, 0, ids[first : first + N_BATCH])
    with pytest.raises(CacheFullError):
        read(engine, 0, [1], 1)
    assert engine.length(0) == N_CTX
    engine.rewind(0, 5)
    after = read(engine, 0, [7], 1)
    read(engine, 1, ids[:5])
    assert_same(engine, after, read(engine, 1, [7], 1))


def test_a_full_cache_loses_nothing(engine: Engine) -> None:
    """Slots share the context: two that fit by themselves may not fit together."""
    for first in range(0, 192, N_BATCH):
        read(engine, 0, tokens(engine, N_BATCH, seed=first))
    read(engine, 1, tokens(engine, 40))
    with pytest.raises(CacheFullError):
        engine.forward([Chunk(1, 40, tokens(engine, 20), 1), Chunk(2, 0, tokens(engine, 20), 1)])
    assert [engine.length(slot) for slot in range(4)] == [192, 40, 0, 0]
    after = read(engine, 1, tokens(engine, 8, seed=2), 1)
    engine.rewind(0, 0)
    read(engine, 2, tokens(engine, 40))
    assert_same(engine, after, read(engine, 2, tokens(engine, 8, seed=2), 1))


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([Chunk(0, 1, [1])], "starts at 1, but 0"),
        ([Chunk(9, 0, [1])], "no slot 9"),
        ([Chunk(-1, 0, [1])], "no slot -1"),
        ([Chunk(0, 0, [])], "0 tokens"),
        ([Chunk(0, 0, [1, 2], 3)], "3 rows"),
        ([Chunk(0, 0, [1], -1)], "-1 rows"),
        ([Chunk(0, 0, [1]), Chunk(0, 0, [1])], "one slot"),
        ([Chunk(0, 0, [1] * 40), Chunk(1, 0, [1] * 25)], "65 tokens is more than the 64"),
        ([Chunk(0, 0, [-1])], "outside the vocabulary"),
        ([Chunk(0, 0, [1, 2**31 - 1])], "outside the vocabulary"),
        ([Chunk(0, 0, [1, 2**40, 3])], "outside the vocabulary"),
        ([Chunk(0, 0, [2**40])], "outside the vocabulary"),
    ],
)
def test_what_breaks_the_rules_is_refused_before_anything_is_read(
    engine: Engine, chunks: list[Chunk], words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        engine.forward(chunks)
    assert [engine.length(slot) for slot in range(N_SLOTS)] == [0] * N_SLOTS
    assert read(engine, 0, [1], 1).shape == (1, engine.info.n_vocab)


def test_the_first_id_behind_the_vocabulary_is_refused(engine: Engine) -> None:
    with pytest.raises(EngineError, match="outside the vocabulary"):
        read(engine, 0, [engine.info.n_vocab])
    read(engine, 0, [engine.info.n_vocab - 1])


def test_rewind_and_copy_name_their_mistakes(engine: Engine) -> None:
    read(engine, 0, [1, 2, 3])
    for mistake in (
        lambda: engine.rewind(0, 4),
        lambda: engine.rewind(0, -1),
        lambda: engine.rewind(7, 0),
        lambda: engine.copy(0, 1, 4),
        lambda: engine.copy(0, 1, -1),
        lambda: engine.copy(0, 7, 1),
        lambda: engine.copy(-1, 0, 0),
        lambda: engine.length(4),
    ):
        with pytest.raises(EngineError):
            mistake()
    assert engine.length(0) == 3


def test_abort_between_passes_does_nothing(engine: Engine) -> None:
    engine.abort()
    read(engine, 0, [1, 2, 3])
    assert engine.length(0) == 3


def test_nothing_asked_is_nothing_done(engine: Engine) -> None:
    assert engine.forward([]) == []


def test_the_tokenizer_and_the_engine_agree(engine: Engine) -> None:
    tokenizer = engine.tokenizer
    assert tokenizer.n_vocab == engine.info.n_vocab
    assert tokenizer.eos in tokenizer.eog
    assert all(0 <= token < tokenizer.n_vocab for token in tokenizer.eog)
    ids = tokenizer.encode("the cat", add_special=False)
    assert b"".join(map(tokenizer.piece, ids)).lstrip() == b"the cat"
    assert tokenizer.encode("the cat", add_special=True)[0] == tokenizer.bos
    assert tokenizer.piece(tokenizer.bos) == b""
    assert tokenizer.piece(tokenizer.bos, special=True) == tokenizer.text(tokenizer.bos).encode()


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_a_closed_engine_refuses_and_closes_again(maker: Callable[[Path], Engine], tiny_llama: Path) -> None:
    engine = maker(tiny_llama)
    engine.close()
    engine.close()
    with pytest.raises(ClosedError):
        read(engine, 0, [1])
    tokenizer = engine.tokenizer
    if isinstance(tokenizer, ToyTokenizer):  # it needs nothing that was given back
        return
    for ask in (lambda: tokenizer.encode("the cat"), lambda: tokenizer.text(5), lambda: tokenizer.piece(5)):
        with pytest.raises(ClosedError):
            ask()
