"""The contract of engines whose models keep a recurrent state: what `Engine` promises of going back, on each kind of
file, each way back, here and in another process. `test_recurrent_mutants.py` shows that these tests can fail."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.random_kinds import write_random_kind
from foredraft.core.errors import CacheFullError, Cancelled, EngineError, RewindError
from foredraft.engines import ENGINES
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.llamacpp import LoadOptions
from foredraft.engines.rewind import FORK, NONE, rollback
from foredraft.engines.states import REPLAY
from foredraft.engines.toy import RecurrentToy, ToyEngine
from tests.conftest import ROOT

N_CTX, N_BATCH, N_SLOTS, N_VOCAB = 256, 64, 4, 320
SIZE: dict[str, Any] = {"n_ctx": N_CTX, "n_batch": N_BATCH, "n_slots": N_SLOTS}
RIGHT = 0.05
"""Largest difference of a logit that rounding makes here; they have a deviation of about 2."""
TOY = {"n_vocab": N_VOCAB, "order": N_CTX, **SIZE}


Check = Callable[[Sequence[int], np.ndarray], None]


def file(kind: str, snapshots: int = 0, *, isolated: bool = False) -> Callable[[Path], Engine]:
    def make(folder: Path) -> Engine:
        path = folder / f"{kind}.gguf"
        if not path.exists():
            write_random_kind(path, kind)
        given = {**SIZE, "max_rows": N_BATCH, "n_threads": 1, "kv_type": "f32", "snapshots": snapshots, "probe": False}
        if isolated:
            return ENGINES["isolated"]("tests.engines.openers:llamacpp", {"path": str(path), **given})
        return ENGINES["llamacpp"](path, LoadOptions(**given))

    return make


MAKERS: dict[str, Callable[[Path], Engine]] = {
    "toy fork": lambda _: RecurrentToy.random(3, rewind_limit=FORK, **TOY),
    "toy rollback": lambda _: RecurrentToy.random(3, rewind_limit=rollback(5), **TOY),
    "isolated toy rollback": lambda _: ENGINES["isolated"](
        "tests.engines.openers:toy", {"seed": 3, "way": ["rollback", 5], **TOY}
    ),
    "isolated lfm2 fork": file("lfm2", isolated=True),
    "qwen35 rollback": file("qwen35", 8),
    "qwen35 fork": file("qwen35"),
    "qwen35moe rollback": file("qwen35moe", 8),
    "lfm2 rollback": file("lfm2", 5),
    "nemotron_h rollback": file("nemotron_h", 5),
    "granitehybrid fork": file("granitehybrid"),
    "falcon-h1 fork": file("falcon-h1"),
    "mamba2 fork": file("mamba2"),
}


@pytest.fixture(scope="module", autouse=True)
def children_find_the_tests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


@pytest.fixture(scope="module", params=sorted(MAKERS))
def pair(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Engine, Engine]]:
    """The engine, and one to compare with, which reads every text from its beginning."""
    engine = MAKERS[request.param](folder)
    other = ToyEngine.random(3, **TOY) if "toy" in request.param else file(request.param.split()[-2])(folder)
    yield engine, other
    engine.close()
    other.close()


@pytest.fixture
def engine(pair: tuple[Engine, Engine]) -> Engine:
    for slot in range(N_SLOTS):
        pair[0].rewind(slot, 0)
    return pair[0]


@pytest.fixture
def right(pair: tuple[Engine, Engine]) -> Check:
    return compare_with(pair[1])


def compare_with(other: Engine) -> Check:
    """Assert that a row is the one behind a text, by an engine that reads it from its beginning."""

    def check(text: Sequence[int], row: np.ndarray) -> None:
        other.rewind(0, 0)
        for at in range(0, len(text), N_BATCH):
            rows = other.forward([Chunk(0, at, text[at : at + N_BATCH], want=1)])[0]
        assert float(np.abs(rows[-1] - row).max()) < RIGHT

    return check


def tokens(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(3, N_VOCAB, size=count).tolist()


def most(engine: Engine) -> int:
    limit = engine.rewind_limit.limit
    return 6 if limit is None else limit


def test_the_ways_are_those_asked_for(engine: Engine, request: pytest.FixtureRequest) -> None:
    assert engine.rewind_limit.way == request.node.callspec.params["pair"].split()[-1]


def test_guesses_taken_back_were_never_read(engine: Engine, right: Check) -> None:
    """For every number of guesses and of those that stand; round after round, so that what is owed adds up."""
    text = tokens(9)
    engine.forward([Chunk(0, 0, text)])
    for guesses in range(most(engine) + 1):
        for stand in range(guesses + 1):
            new = tokens(guesses + 2, seed=100 * guesses + stand)
            chunk = [new[0], *new[1 : stand + 1], *((t + 9) % N_VOCAB for t in new[stand + 1 : guesses + 1])]
            rows = engine.forward([Chunk(0, len(text), chunk, len(chunk), guesses)])[0]
            text += chunk[: stand + 1]
            right(text, rows[stand])
            engine.rewind(0, len(text))
            assert engine.length(0) == len(text)
            assert engine.owed(0) <= REPLAY
            if len(text) > 150:
                engine.rewind(0, 0)
                text = tokens(9)
                engine.forward([Chunk(0, 0, text)])


def test_only_the_last_pass_rolls_back_and_once(engine: Engine, right: Check) -> None:
    """The library says yes to both, and goes on from a stale state."""
    text = tokens(12)
    engine.forward([Chunk(0, 0, text[:8])])
    engine.forward([Chunk(0, 8, text[8:9])])
    engine.forward([Chunk(0, 9, text[9:10])])
    with pytest.raises(RewindError, match="cannot take back the last 2"):
        engine.rewind(0, 8)
    with pytest.raises(RewindError):
        engine.copy(0, 1, 8)
    assert engine.length(0) == 10
    engine.forward([Chunk(0, 10, [5, 6], guesses=1)])
    engine.rewind(0, 11)
    if engine.rewind_limit.way == "rollback":
        with pytest.raises(RewindError):
            engine.rewind(0, 10)
    right([*text[:10], 5, 7], engine.forward([Chunk(0, 11, [7], 1)])[0][0])


def test_texts_of_several_lengths_in_one_pass(engine: Engine, right: Check) -> None:
    """The library computes them one after the other, and moves the states of the first without their snapshots."""
    texts = [tokens(4 + slot, seed=slot) for slot in range(N_SLOTS)]
    for slot in reversed(range(N_SLOTS)):
        engine.forward([Chunk(slot, 0, texts[slot])])
    for guesses in ((1, 4, 3, 0), (4, 1, 0, 3), (2, 3, 4, 1), (0, 0, 5, 1)):
        chunks = [
            Chunk(slot, len(texts[slot]), tokens(n + 1, seed=7 * slot), n + 1, n) for slot, n in enumerate(guesses)
        ]
        chunks = [chunks[slot] for slot in (2, 0, 3, 1)]
        rows = [given.copy() for given in engine.forward(chunks)]
        for chunk, given in zip(chunks, rows, strict=True):
            texts[chunk.slot] += chunk.tokens[:1]
            right(texts[chunk.slot], given[0])
            engine.rewind(chunk.slot, len(texts[chunk.slot]))


def test_a_prompt_and_rounds_in_one_pass(engine: Engine, right: Check) -> None:
    """More tokens in one of them than the others may be padded to."""
    texts = [tokens(4 + slot, seed=slot) for slot in range(3)]
    for slot in (0, 1):
        engine.forward([Chunk(slot, 0, texts[slot])])
    chunks = [Chunk(0, 4, [5, 6, 7], 3, 2), Chunk(2, 0, tokens(40), 2), Chunk(1, 5, [*tokens(10, 5), 8], 11, 1)]
    rows = [given.copy() for given in engine.forward(chunks)]
    right([*texts[0], 5], rows[0][0])
    right(tokens(40)[:-1], rows[1][0])
    right(tokens(40), rows[1][1])
    for number in range(11):
        right([*texts[1], *[*tokens(10, 5), 8][: number + 1]], rows[2][number])
    engine.rewind(1, 15)
    engine.rewind(0, 5)
    rows = [given[0].copy() for given in engine.forward([Chunk(0, 5, [9], 1), Chunk(1, 15, [10], 1)])]
    right([*texts[0], 5, 9], rows[0])
    right([*texts[1], *tokens(10, 5), 10], rows[1])


def test_another_texts_pass_makes_a_rollback_impossible(engine: Engine, right: Check) -> None:
    text = tokens(6)
    engine.forward([Chunk(0, 0, text[:4])])
    engine.forward([Chunk(0, 4, [5, 6], guesses=1)])
    engine.forward([Chunk(1, 0, [7, 8])])
    if engine.rewind_limit.way == "rollback":
        with pytest.raises(RewindError):
            engine.rewind(0, 5)
        engine.rewind(0, 0)
        engine.forward([Chunk(0, 0, [*text[:4], 5])])
    else:
        engine.rewind(0, 5)
    right([*text[:4], 5, 9], engine.forward([Chunk(0, 5, [9], 1)])[0][0])


@pytest.mark.parametrize("pair", [name for name in MAKERS if "fork" in name], indirect=True)
def test_a_drafts_steps_are_taken_back_together(engine: Engine, right: Check) -> None:
    """One guess a pass, several passes: with a fork they go as one."""
    text = tokens(10)
    engine.forward([Chunk(0, 0, text)])
    for round_ in range(4):
        for step in range(5):
            engine.forward([Chunk(0, len(text) + step, [20 + step], 1, guesses=1)])
        engine.rewind(0, len(text) + round_)
        text += [20 + step for step in range(round_)]
        new = tokens(2, seed=round_)
        right([*text, *new], engine.forward([Chunk(0, len(text), new, 1)])[0][0])
        text += new


def test_a_copy_behind_a_rollback_is_right(engine: Engine, right: Check) -> None:
    """The library copies a state with what was taken back of it."""
    text = tokens(9)
    engine.forward([Chunk(0, 0, text)])
    engine.forward([Chunk(0, 9, [5, 6], guesses=1)])
    engine.rewind(0, 10)
    engine.copy(0, 1, 10)
    engine.copy(1, 2, 10)
    for slot in (1, 0, 2):
        right([*text, 5, 9 + slot], engine.forward([Chunk(slot, 10, [9 + slot], 1)])[0][0])


def test_slots_that_share_a_state_go_back_apart(engine: Engine, right: Check) -> None:
    text = tokens(9)
    engine.forward([Chunk(0, 0, text)])
    engine.copy(0, 1, 9)
    engine.forward([Chunk(0, 9, [5, 6], guesses=1), Chunk(1, 9, [7, 8], guesses=1)])
    engine.rewind(0, 10)
    engine.rewind(1, 10)
    rows = engine.forward([Chunk(1, 10, [9], 1), Chunk(0, 10, [10], 1)])
    one, other = rows[0][0].copy(), rows[1][0].copy()
    right([*text, 7, 9], one)
    right([*text, 5, 10], other)


def test_a_copy_and_then_nothing_makes_a_rollback_impossible(engine: Engine) -> None:
    """Both lie in one state: what one takes back the other would lose."""
    engine.forward([Chunk(0, 0, tokens(9))])
    engine.forward([Chunk(0, 9, [5, 6], guesses=1)])
    engine.copy(0, 1, 11)
    if engine.rewind_limit.way == "rollback":
        with pytest.raises(RewindError):
            engine.rewind(0, 10)
    else:
        engine.rewind(0, 10)


def test_a_checkpoint_is_what_it_says(engine: Engine, right: Check) -> None:
    text = tokens(120)
    engine.forward([Chunk(0, 0, text[:20])])
    engine.keep(0)
    engine.forward([Chunk(0, 20, text[20:80])])
    engine.keep(0)
    engine.forward([Chunk(0, 80, text[80:120])])
    assert engine.reachable(0, 110) in (80, 110)
    assert engine.reachable(0, 70) == 20
    assert engine.reachable(0, 19) == 0
    assert engine.reachable(0, 70, copy=True) == 20
    engine.copy(0, 1, 80)
    engine.copy(0, 2, 20)
    right([*text[:80], 5], engine.forward([Chunk(1, 80, [5], 1)])[0][0])
    right([*text[:20], 6], engine.forward([Chunk(2, 20, [6], 1)])[0][0])
    engine.rewind(0, 80)
    right([*text[:80], 7], engine.forward([Chunk(0, 80, [7], 1)])[0][0])
    engine.rewind(0, 20)
    right([*text[:20], 8], engine.forward([Chunk(0, 20, [8], 1)])[0][0])
    engine.rewind(1, 20)  # a copy has the checkpoints of its text
    right([*text[:20], 9], engine.forward([Chunk(1, 20, [9], 1)])[0][0])


def test_a_full_cache_loses_nothing(engine: Engine, right: Check) -> None:
    text = tokens(40)
    for first in range(0, 192, N_BATCH):
        engine.forward([Chunk(0, first, tokens(N_BATCH, seed=first))])
    engine.forward([Chunk(1, 0, text)])
    engine.forward([Chunk(1, 40, [5, 6], guesses=1)])
    engine.rewind(1, 41)
    try:
        engine.forward([Chunk(1, 41, tokens(10), 1), Chunk(2, 0, tokens(30), 1)])
        assert "mamba" in engine.info.architecture  # which has no cells
    except CacheFullError:
        assert [engine.length(slot) for slot in range(3)] == [192, 41, 0]
        right([*text, 5, 9], engine.forward([Chunk(1, 41, [9], 1)])[0][0])


@pytest.mark.parametrize("pair", [name for name in MAKERS if "rollback" in name], indirect=True)
def test_more_guesses_than_can_be_taken_back_are_refused(engine: Engine) -> None:
    limit = most(engine)
    with pytest.raises(RewindError, match=f"{limit + 1}"):
        engine.forward([Chunk(0, 0, tokens(limit + 2), guesses=limit + 1)])
    assert engine.length(0) == 0


@pytest.mark.parametrize("seed", range(6))
def test_a_walk_of_every_move(engine: Engine, right: Check, seed: int) -> None:
    walk(engine, right, seed)


@pytest.mark.parametrize("kind", ["cancelled", "error"])
@pytest.mark.parametrize("way", [FORK, rollback(3), NONE], ids=lambda way: way.way)
def test_a_failed_pass_loses_nothing(kind: str, way: Any) -> None:
    """Nobody knows what such a pass has left of anyone's state: all is read again."""
    toy, plain = RecurrentToy.random(3, rewind_limit=way, **TOY), ToyEngine.random(3, **TOY)
    texts = [tokens(9, seed=slot) for slot in range(2)]
    for slot, text in enumerate(texts):
        toy.forward([Chunk(slot, 0, text)])
    toy.fail(kind)
    with pytest.raises(Exception, match=r"fails|Cancelled"):
        toy.forward([Chunk(0, 9, [5])])
    assert [toy.length(slot) for slot in range(2)] == [9, 9]
    rows = toy.forward([Chunk(slot, 9, [6], 1) for slot in range(2)])
    for text, row in zip(texts, rows, strict=True):
        assert np.array_equal(row[0], plain.logits([*text, 6]))


def test_llamacpp_reads_again_what_a_failed_pass_has_spoiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, other = file("lfm2", 4)(folder), file("lfm2")(folder)
    engine.forward([Chunk(0, 0, tokens(9))])
    engine.forward([Chunk(1, 0, tokens(70, seed=1)[:64])])
    with monkeypatch.context() as patch:
        patch.setattr(engine, "_rows", lambda count: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            engine.forward([Chunk(0, 9, [5], 1)])
    assert [engine.length(0), engine.length(1), engine.owed(0), engine.owed(1)] == [9, 64, 9, 64]
    rows = engine.forward([Chunk(0, 9, [6], 1), Chunk(1, 64, [7], 1)])
    for row, text in zip([given[0].copy() for given in rows], [[*tokens(9), 6], [*tokens(70, 1)[:64], 7]], strict=True):
        other.rewind(0, 0)
        other.forward([Chunk(0, 0, text[:-1])])
        assert float(np.abs(other.forward([Chunk(0, len(text) - 1, text[-1:], 1)])[0][0] - row).max()) < RIGHT
    engine.close()
    other.close()


def test_a_pass_beside_the_states_of_others_is_not_broken_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That would spoil them (`States.failed`): it runs to its end. Alone, it ends at once and loses nothing."""
    engine = file("qwen35", 4)(folder)
    decode = engine._api.llama_decode  # type: ignore[attr-defined]

    def aborted(context: Any, batch: Any) -> int:
        engine.abort()
        return int(decode(context, batch))

    monkeypatch.setattr(engine._api, "llama_decode", aborted)  # type: ignore[attr-defined]
    with pytest.raises(Cancelled):
        engine.forward([Chunk(0, 0, tokens(30))])
    assert engine.length(0) == 0
    monkeypatch.undo()
    engine.forward([Chunk(1, 0, tokens(9))])
    engine.forward([Chunk(2, 0, tokens(9))])
    monkeypatch.setattr(engine._api, "llama_decode", aborted)  # type: ignore[attr-defined]
    engine.forward([Chunk(1, 9, tokens(30))])
    assert [engine.length(slot) for slot in range(3)] == [0, 39, 9]
    engine.close()


def test_a_rollback_that_fails_its_check_becomes_a_fork_and_a_fork_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An architecture for which the library says that it keeps states, and does not."""
    from foredraft.engines.llamacpp import engine as module

    monkeypatch.setattr(module, "goes_back", lambda engine: engine.rewind_limit.way != "rollback")
    engine = file("qwen35", 8)(folder)
    assert engine.rewind_limit == FORK
    assert any("rollback" in str(note) and "qwen35" in str(note) for note in engine.notes)
    engine.close()
    monkeypatch.setattr(module, "goes_back", lambda engine: False)
    engine = file("qwen35", 8)(folder)
    assert engine.rewind_limit == NONE
    assert len(engine.notes) == 2
    assert engine.forward([Chunk(0, 0, [1, 2, 3], 1)])[0].shape == (1, N_VOCAB)
    with pytest.raises(EngineError, match="cannot take back"):
        engine.rewind(0, 2)
    engine.close()


def test_the_check_sees_a_wrong_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`goes_back` itself: right for a sound library, not for one whose ways back do nothing."""
    from foredraft.engines.llamacpp.recurrent import Sequences, goes_back

    for kind, snapshots, call in (("qwen35", 8, "cut"), ("lfm2", 4, "cut"), ("mamba2", 0, "back"), ("lfm2", 0, "back")):
        engine = file(kind, snapshots)(folder)
        assert goes_back(engine)
        with monkeypatch.context() as patch:
            patch.setattr(Sequences, call, lambda self, *_: True)
            assert not goes_back(engine)
        engine.close()


def walk(engine: Engine, right: Check, seed: int) -> None:
    """Rounds, prompts, copies, checkpoints and ways back at four slots, in any order: every row is right, and what is
    not possible is refused and changes nothing."""
    draw = random.Random(seed)
    texts: list[list[int]] = [[] for _ in range(N_SLOTS)]
    for _ in range(60):
        slot = draw.randrange(N_SLOTS)
        text = texts[slot]
        match draw.choice(("round", "round", "round", "prompt", "keep", "copy", "back", "clear")):
            case "round":
                chunks, stand = [], {}
                for one in draw.sample(range(N_SLOTS), draw.randint(1, N_SLOTS)):
                    if len(texts[one]) > 50:
                        continue
                    guesses = draw.randint(0, most(engine))
                    new = [draw.randrange(3, N_VOCAB) for _ in range(guesses + 1)]
                    chunks.append(Chunk(one, len(texts[one]), new, guesses + 1, guesses))
                    stand[one] = draw.randint(0, guesses)
                rows = [given.copy() for given in engine.forward(chunks)]
                for chunk, given in zip(chunks, rows, strict=True):
                    texts[chunk.slot] += chunk.tokens[: stand[chunk.slot] + 1]
                    engine.rewind(chunk.slot, len(texts[chunk.slot]))
                    right(texts[chunk.slot], given[stand[chunk.slot]])
            case "prompt" if len(text) <= 50:
                new = [draw.randrange(3, N_VOCAB) for _ in range(draw.randint(1, 12))]
                given = engine.forward([Chunk(slot, len(text), new, 1)])[0][0].copy()
                text += new
                right(text, given)
            case "keep":
                engine.keep(slot)
            case "clear":
                engine.rewind(slot, 0)
                text.clear()
            case "copy" if text:
                other, length = draw.choice([one for one in range(N_SLOTS) if one != slot]), draw.randint(1, len(text))
                length = draw.choice((length, engine.reachable(slot, length, copy=True)))
                if engine.reachable(slot, length, copy=True) == length:
                    engine.copy(slot, other, length)
                    texts[other] = text[:length]
                else:
                    with pytest.raises(RewindError):
                        engine.copy(slot, other, length)
            case "back" if text:
                length = draw.randint(1, len(text))
                length = draw.choice((length, engine.reachable(slot, length)))
                if engine.reachable(slot, length) == length:
                    engine.rewind(slot, length)
                    del text[length:]
                else:
                    with pytest.raises(RewindError):
                        engine.rewind(slot, length)
            case _:
                pass
        assert [engine.length(one) for one in range(N_SLOTS)] == [len(one) for one in texts]
    for slot, text in enumerate(texts):
        right([*text, 7], engine.forward([Chunk(slot, len(text), [7], 1)])[0][0])
