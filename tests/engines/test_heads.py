"""Heads that read the main model's hidden rows, on real files: right wiring, same text, what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.random_kinds import write_random_kind
from foredraft.core.errors import EngineError, IncompatibleDraftError
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Chunk, Hidden
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions, extended, hidden
from foredraft.engines.llamacpp.head import LlamaCppHead
from foredraft.models.facts import read_facts
from foredraft.scheduling.request import ScheduledRequest
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import Drafter, HeadDrafter, NoDrafter
from tests import known_heads
from tests.known_heads import CIRCLE

PAIRS = {
    "llama": "eagle3",
    "glm4moe-mtp": None,
    "gemma4": "gemma4-assistant",
    "qwen35-mtp": None,
    "qwen35moe-mtp": None,
    "qwen35": "qwen35-mtp-only",
}
"""Main models and the files of their heads; None is the main file itself."""
SLOTS = 4
CIRCLES = {"attention": "", "hybrid": "qwen35-mtp", "hybrid with experts": "qwen35moe-mtp"}
"""Models whose head is right every time."""


def options(*, heads: bool = True, slots: int = SLOTS, snapshots: int = 8) -> LoadOptions:
    """Attention without rounding to 16 bits: passes of several tokens then differ from single steps by some 1e-6."""
    few = {"n_threads": 1, "n_ctx": 256, "n_slots": slots, "probe": False}
    return LoadOptions(**few, heads=heads, kv_type="f32", flash_attention="off", snapshots=snapshots)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("heads")
    kinds = [kind for pair in PAIRS.items() for kind in pair if kind is not None]
    made = {kind: write_random_kind(folder / f"{kind}.gguf", kind) for kind in kinds}
    circles = {name: known_heads.circle(folder / f"{name}.gguf", kind=kind) for name, kind in CIRCLES.items()}
    return made | circles | {"circle": circles["attention"]}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, files: dict[str, Path]) -> Iterator[tuple[LlamaCppEngine, LlamaCppHead]]:
    name = request.param
    engine = LlamaCppEngine(files[name], options())
    head = PAIRS[name]
    layers = read_facts(files[head]).heads.layers if head else ()
    yield engine, engine.open_head(files[head] if head else None, engine.options, layers)
    engine.close()


def answers(
    engine: LlamaCppEngine, drafter: Drafter, gamma: int, requests: Sequence[Request], cancel: int | None = None
) -> list[ScheduledRequest]:
    """All at once; number `cancel` is cancelled after a few steps."""
    scheduler = Scheduler(engine, drafter, Fixed(gamma))
    found = [scheduler.submit(request) for request in requests]
    steps = 0
    while scheduler.busy:
        scheduler.step()
        steps += 1
        if cancel is not None and steps == 6:
            found[cancel].cancel()
    assert [answer.error for answer in found if answer.error] == []
    return found


def circle_request(length: int = 5, *, temperature: float = 0.0, acceptance: str = "match") -> Request:
    prompt = (1, *(CIRCLE * 3)[:length])
    speculation = SpeculationParams(acceptance=acceptance)
    return Request(prompt, SamplingParams(temperature=temperature, seed=3), speculation, max_tokens=24, ignore_eos=True)


@pytest.mark.parametrize(
    ("name", "snapshots"), [("attention", 0), ("hybrid", 8), ("hybrid", 0), ("hybrid with experts", 8)]
)
@pytest.mark.parametrize("acceptance", ["match", "rejection", "block"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_head_that_is_wired_rightly_is_right_every_time(
    files: dict[str, Path], temperature: float, acceptance: str, name: str, snapshots: int
) -> None:
    """Whatever the main model's way back is, with waiting answers and prefixes that are taken over."""
    engine = LlamaCppEngine(files[name], options(snapshots=snapshots))
    drafter = HeadDrafter(engine.open_head(None, engine.options), engine, engine.info.n_vocab)
    lengths = (1, 5, 9, 14, 31, 40)
    requests = [circle_request(n, temperature=temperature, acceptance=acceptance) for n in lengths]
    for answer in answers(engine, drafter, 4, requests):
        assert answer.tokens == (CIRCLE * 5)[len(answer.request.prompt) - 1 :][:24]
        stats = answer.stats
        assert (stats.accepted, stats.rejected) == (stats.drafted, 0)
        assert stats.rounds <= 2 + 24 // 5, "the first round reads, every other one keeps four guesses"
    engine.close()


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_eagle_is_right_every_time_where_it_reads_the_right_layers(tmp_path: Path, temperature: float) -> None:
    """Its first guess of each round: it hands on what it was given, and the next would be the same again."""
    main, draft = known_heads.eagle(tmp_path / "main.gguf", tmp_path / "eagle.gguf")
    engine = LlamaCppEngine(main, options(heads=False))
    for layers, right in (((1, 2, 3), True), ((4, 2, 1), False)):
        head = engine.open_head(draft, options(heads=False), layers)
        drafter = HeadDrafter(head, head.source, engine.info.n_vocab)
        requests = [circle_request(n, temperature=temperature) for n in (1, 5, 9, 14, 31, 40)]
        found = answers(engine, drafter, 1, requests)
        for answer in found:
            assert answer.tokens == (CIRCLE * 5)[len(answer.request.prompt) - 1 :][:24]
        assert drafter.failure is None
        if right:
            assert sum(answer.stats.rejected for answer in found) == 0
            assert sum(answer.stats.accepted for answer in found) > 60
        drafter.close()
        assert len(engine.readers) == 1
    engine.close()


class Shifted(HeadDrafter):
    """A known mistake: every token is read with the row of the position before the right one."""

    def _pairs(self, slot: int, start: int, end: int) -> Hidden:
        right = super()._pairs(slot, start, end)
        return np.concatenate((np.zeros((1, right.shape[1]), dtype=np.float32), right[:-1]))


class Late(HeadDrafter):
    """Another: the head goes on from the row that it was given, and not from the one that it made."""

    def _passed(self, chunks: Sequence[Chunk]) -> None:
        super()._passed(chunks)
        for chunk in chunks:
            if chunk.hidden is not None:
                self._own[chunk.slot] = np.array(chunk.hidden[-1:])


@pytest.mark.parametrize(("mistake", "right"), [(Shifted, 0), (Late, 1)])
def test_a_head_that_is_fed_the_row_of_a_neighbour_is_right_never(
    files: dict[str, Path], mistake: type[HeadDrafter], right: int
) -> None:
    """And the text is the same all the same."""
    engine = LlamaCppEngine(files["circle"], options(slots=1))
    drafter = mistake(engine.open_head(None, options(slots=1)), engine, engine.info.n_vocab)
    (answer,) = answers(engine, drafter, 4, [circle_request()])
    assert answer.tokens == (CIRCLE * 4)[5:29]
    assert sum(answer.stats.accepted_at[right:]) == 0
    assert sum(answer.stats.tested_at[right:]) > 3
    engine.close()


def requests_of_all_kinds(temperature: float) -> list[Request]:
    return [
        Request(
            (1, *(300 + (i * 5 + j) % 20 for j in range(3 + 9 * i))),
            SamplingParams(temperature=temperature, seed=7 + i),
            SpeculationParams(acceptance="match"),
            max_tokens=20,
            ignore_eos=True,
        )
        for i in range(2 * SLOTS)
    ]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
@pytest.mark.parametrize("gamma", [0, 1, 5])
def test_the_text_is_that_without_a_head(
    pair: tuple[LlamaCppEngine, LlamaCppHead], gamma: int, temperature: float
) -> None:
    """Four at once, some waiting, one cancelled, slots used again. Gemma rounds its activations to 16 bits, and its
    longest answer comes by a near-tie: it is compared where near-ties are told (`tests/test_heads_on_files.py`)."""
    engine, head = pair
    requests = requests_of_all_kinds(temperature)[: 7 if head.shared else None]
    plain = answers(engine, NoDrafter(), 0, requests)
    drafter = HeadDrafter(head, head.source, engine.info.n_vocab)
    found = answers(engine, drafter, gamma, requests, cancel=2)
    assert drafter.failure is None
    assert sum(answer.stats.drafted for answer in found) >= 50 * (gamma > 0)
    for answer, expected in zip(found, plain, strict=True):
        assert answer.tokens == expected.tokens[: len(answer.tokens)]
        assert len(answer.tokens) == 20 or answer is found[2]


def guessed_rows(engine: LlamaCppEngine, drafter: HeadDrafter, request: Request, gamma: int) -> list[np.ndarray]:
    """The rows of logits of the head's first guess in each round."""
    head, rows = drafter.engine, []
    forward = head.forward

    def watched(chunks: Sequence[Chunk]) -> list[np.ndarray]:
        given = forward(chunks)
        if chunks[0].want and chunks[0].slot in drafter._coming:
            rows.append(np.array(given[0][-1]))
        return given

    head.forward = watched  # type: ignore[method-assign]
    answers(engine, drafter, gamma, [request])
    return rows


class Forgetful(HeadDrafter):
    """A known mistake: the tokens of a round that stood are not read again with the main model's rows, nor at all."""

    def _next_position(self, slot: int) -> int:
        return max(super()._next_position(slot), self._rows[slot].end)


def test_what_a_head_has_read_is_the_text_with_the_main_models_rows(files: dict[str, Path]) -> None:
    """The row of a guess is that of one fresh pass over all pairs, however rounds came and went before."""
    engine = LlamaCppEngine(files["glm4moe-mtp"], options(slots=1))
    request = requests_of_all_kinds(0.0)[2]
    text = [*request.prompt, *answers(engine, NoDrafter(), 0, [request])[0].tokens]

    engine.offer_hidden(True)
    engine.rewind(0, 0)
    engine.forward([Chunk(0, 0, text[:-1])])
    before = np.concatenate((np.zeros((1, engine.hidden_width), dtype=np.float32), engine.hidden[0]))
    head = engine.open_head(None, options(slots=1))
    expected = {}
    for end in range(len(request.prompt) + 1, len(text)):
        head.rewind(0, 0)
        expected[end] = np.array(head.forward([Chunk(0, 0, text[:end], 1, hidden=before[:end])])[0][0])
    head.close()

    def differences(kind: type[HeadDrafter]) -> list[float]:
        made = kind(engine.open_head(None, options(slots=1)), engine, engine.info.n_vocab)
        rows = guessed_rows(engine, made, request, 3)
        made.close()
        return [min(float(abs(row - other).max()) for other in expected.values()) for row in rows]

    right, wrong = differences(HeadDrafter), differences(Forgetful)
    assert len(right) > 10
    assert max(right) < 1e-3
    assert max(wrong) > 0.1
    engine.close()


def test_a_prefix_taken_over_is_gone_on_from(files: dict[str, Path]) -> None:
    """A second answer in the slot of the first reads only what is new, and the head is right there, too."""
    engine = LlamaCppEngine(files["circle"], options())
    drafter = HeadDrafter(engine.open_head(None, options()), engine, engine.info.n_vocab)
    first = answers(engine, drafter, 4, [circle_request()])[0]
    longer = Request(
        (*first.request.prompt, *first.tokens, *(CIRCLE * 4)[29:32]),
        first.request.sampling,
        first.request.speculation,
        max_tokens=12,
        ignore_eos=True,
    )
    second = answers(engine, drafter, 4, [longer])[0]
    assert second.stats.rejected == 0
    assert second.stats.accepted >= 8
    engine.close()


# ---- what is refused ----


def test_a_head_of_another_width_is_refused(files: dict[str, Path], tmp_path: Path, tiny_llama: Path) -> None:
    """Before the library is asked for a pass: there it would end the process."""
    from tests import tiny_gguf

    narrow = tiny_gguf.llama(tmp_path / "narrow.gguf", shape=tiny_gguf.Shape(32, 2, 4, 2, 96, 320, 256))
    engine = LlamaCppEngine(narrow, options(heads=False))
    with pytest.raises(IncompatibleDraftError, match="width of a hidden row 64, here 32"):
        engine.open_head(files["gemma4-assistant"], options())
    assert engine.forward([Chunk(0, 0, [1, 300], 1)])[0].shape == (1, 320), "the main model goes on"
    engine.close()


def test_a_library_without_the_functions_says_so(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    missing = extended.Extended(lacks="llama_set_embeddings_nextn")
    for module in (extended, hidden):
        monkeypatch.setattr(module, "extended", lambda: missing)
    engine = LlamaCppEngine(files["circle"], options())
    assert engine.hidden_width == 0
    with pytest.raises(IncompatibleDraftError, match="lacks llama_set_embeddings_nextn"):
        engine.offer_hidden(True)
    assert answers(engine, NoDrafter(), 0, [circle_request()])[0].tokens == (CIRCLE * 4)[5:29]
    engine.close()


def test_wrong_chunks_are_refused(pair: tuple[LlamaCppEngine, LlamaCppHead]) -> None:
    _, head = pair
    with pytest.raises(EngineError, match="no slot"):
        head.forward([Chunk(SLOTS, 0, [1])])
    with pytest.raises(EngineError, match="Hidden rows of shape"):
        head.forward([Chunk(0, 0, [1, 2], hidden=np.zeros((1, head.width), dtype=np.float32))])
    with pytest.raises(EngineError, match="outside the vocabulary"):
        head.forward([Chunk(0, 0, [5000])])
    if not head.shared:
        with pytest.raises(EngineError, match="starts at 3"):
            head.forward([Chunk(0, 3, [1])])
