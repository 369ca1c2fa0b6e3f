"""Texts to vectors through the runtime: in order, in short passes, beside answers, and away when nobody waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from foredraft.core.errors import EngineError, ParameterError
from foredraft.core.params import Request, SamplingParams
from foredraft.runtime.embedder import PASS_TOKENS, Embedder, Embeddings
from foredraft.runtime.errors import ModelUnloadedError, QueueFullError, TextTooLongError, WrongKindError
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from tests.server import toy

BROKEN = toy.N_VOCAB - 1
EMBED = LoadSpec("toy-embed", id="toy-embed", kind="embedding", draft=None)


class Loader:
    """Keeps what it has loaded, so that a test can look at the engines."""

    def __init__(self) -> None:
        self.engine: Any = None

    def __call__(self, spec: LoadSpec, progress: Any) -> Any:
        model = toy.load(spec, progress)
        if isinstance(model, Embedder):
            self.engine = model.engine
        return model


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest_asyncio.fixture
async def runtime(loader: Loader) -> AsyncIterator[Runtime]:
    one = Runtime(loader, queue_limit=2)
    await one.load(EMBED)
    yield one
    await one.close(0)


def held(engine: Any) -> tuple[threading.Event, threading.Event]:
    """Hold the next pass: (reached, go on)."""
    reached, go = threading.Event(), threading.Event()

    def during() -> None:
        engine.during = None
        reached.set()
        assert go.wait(30)

    engine.during = during
    return reached, go


async def test_each_text_has_its_vector(runtime: Runtime, loader: Loader) -> None:
    texts = [[2 + i] * (1 + i % 40) for i in range(100)]
    made = await runtime.embed("toy-embed", texts)
    assert made.tokens == sum(map(len, texts))
    for text, vector in zip(texts, made.vectors, strict=True):
        expected = np.zeros(8)
        expected[text[0] % 8] = 1
        assert vector == pytest.approx(expected)
    assert all(sum(lengths) <= PASS_TOKENS and len(lengths) <= 16 for lengths in loader.engine.passes)
    state = runtime.state("toy-embed")
    assert state is not None
    assert (state.kind, state.totals.answers, state.totals.prompt_tokens) == ("embedding", 1, made.tokens)
    assert (await runtime.embed("toy-embed", ["a cat"])).vectors.shape == (1, 8)
    assert len((await runtime.embed("toy-embed", [[5] * 700])).vectors) == 1, (
        "longer than a pass, but not than the model"
    )


def test_requests_share_passes() -> None:
    engine = toy.ToyEmbedding()
    embedder = Embedder(engine)
    wanted: list[Future[Embeddings]] = [Future() for _ in range(3)]
    for i, future in enumerate(wanted):
        embedder.submit([[5 + i]] * (i + 1), future)
    ended: list[object] = []
    embedder.step(ended.append)
    assert len(ended) == 3
    assert [int(future.result().vectors[0].argmax()) for future in wanted] == [5, 6, 7]
    assert engine.passes == [[1] * 6]
    assert not embedder.busy


async def test_what_is_wrong_with_a_text_is_said_with_its_number(runtime: Runtime) -> None:
    with pytest.raises(TextTooLongError, match=r"number 1 has 701 tokens.* 700") as long:
        await runtime.embed("toy-embed", [[5], [5] * 701])
    assert (long.value.index, long.value.tokens, long.value.longest) == (1, 701, 700)
    for wrong in ([], "", [10**6], [-1]):
        with pytest.raises(ParameterError, match=r"input\.1"):
            await runtime.embed("toy-embed", [[5], wrong])


async def test_a_text_that_breaks_a_pass_takes_only_its_own_request(runtime: Runtime, loader: Loader) -> None:
    reached, go = held(loader.engine)
    first = asyncio.create_task(runtime.embed("toy-embed", [[5]]))
    assert await asyncio.to_thread(reached.wait, 30)
    sound = asyncio.create_task(runtime.embed("toy-embed", [[6], [7]]))
    broken = asyncio.create_task(runtime.embed("toy-embed", [[6], [BROKEN], [BROKEN]]))
    go.set()
    assert len((await first).vectors) == 1
    assert [int(vector.argmax()) for vector in (await sound).vectors] == [6, 7]
    with pytest.raises(EngineError, match="broken text"):
        await broken
    assert len((await runtime.embed("toy-embed", [[6]])).vectors) == 1


async def test_who_stops_waiting_gives_up_the_rest(runtime: Runtime, loader: Loader) -> None:
    reached, go = held(loader.engine)
    gone = asyncio.create_task(runtime.embed("toy-embed", [[5] * 500] * 50))
    assert await asyncio.to_thread(reached.wait, 30)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    go.set()
    await runtime.embed("toy-embed", [[6]])
    assert len(loader.engine.passes) == 2, "one pass of the request that was given up, one of the next"


async def test_too_many_requests_are_refused(loader: Loader) -> None:
    runtime = Runtime(loader, queue_limit=0)
    await runtime.load(EMBED)
    began, refused = threading.Event(), threading.Event()

    def during() -> None:
        began.set()
        refused.wait(0.01)  # pass after pass, until the other one has been refused

    loader.engine.during = during
    first = asyncio.create_task(runtime.embed("toy-embed", [[5] * 500] * 1000))
    assert await asyncio.to_thread(began.wait, 30)
    with pytest.raises(QueueFullError) as error:
        await runtime.embed("toy-embed", [[5]])
    refused.set()
    assert 1 <= error.value.retry_after <= 60
    assert len((await first).vectors) == 1000
    await runtime.close(0)


async def test_unloading_ends_what_waits(runtime: Runtime, loader: Loader) -> None:
    reached, go = held(loader.engine)
    waiting = asyncio.create_task(runtime.embed("toy-embed", [[5] * 500] * 50))
    assert await asyncio.to_thread(reached.wait, 30)
    leaving = asyncio.create_task(runtime.unload("toy-embed"))
    await asyncio.sleep(0)
    go.set()
    await leaving
    with pytest.raises(ModelUnloadedError):
        await waiting
    assert loader.engine.closed
    with pytest.raises(ModelUnloadedError):
        await runtime.embed("toy-embed", [[5]])


async def test_one_kind_does_not_do_the_work_of_the_other(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    request = Request((2, 3, 4), SamplingParams(seed=1), max_tokens=5)
    with pytest.raises(WrongKindError, match="makes no embeddings"):
        await runtime.embed(model, [[5]])
    with pytest.raises(WrongKindError, match="writes none"):
        await runtime.submit("toy-embed", request).result()
    with pytest.raises(WrongKindError), runtime.use("toy-embed"):
        pass
    with pytest.raises(WrongKindError):
        await runtime.set_draft("toy-embed", "auto")
    both = await asyncio.gather(runtime.submit(model, request).result(), runtime.embed("toy-embed", [[5]] * 40))
    assert len(both[0].tokens) == 5
    assert len(both[1].vectors) == 40


async def test_on_demand_a_model_of_each_kind_stays(runtime: Runtime) -> None:
    await runtime.unload("toy-embed")
    for spec in (EMBED, LoadSpec("toy", id="toy"), LoadSpec("toy-small", id="toy-small")):
        await runtime.load(LoadSpec(spec.model, id=spec.id, kind=spec.kind, on_demand=True))
    assert [state.id for state in runtime.models()] == ["toy-embed", "toy-small"]
