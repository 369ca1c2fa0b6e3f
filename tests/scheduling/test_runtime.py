"""The runtime: answers that outlive their readers, models that come and go, drafts that change in between."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from foredraft.core.errors import EngineError, IncompatibleDraftError, ModelFormatError, ParameterError
from foredraft.core.params import Request, SamplingParams
from foredraft.runtime.errors import ModelUnloadedError, QueueFullError, RuntimeClosedError
from foredraft.runtime.events import Finished, NewPieces, PromptProgress
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from tests.server import toy


def request(seed: int = 1, most: int = 30, length: int = 5, **more: Any) -> Request:
    prompt = tuple(2 + i % 40 for i in range(length))
    return Request(prompt, SamplingParams(seed=seed), max_tokens=most, ignore_eos=True, **more)


@pytest_asyncio.fixture
async def runtime() -> AsyncIterator[Runtime]:
    one = Runtime(toy.load, queue_limit=3)
    yield one
    await one.close(0)


class Gate:
    """Holds the model thread inside a pass until it is opened: what a test does meanwhile happens "during" it."""

    def __init__(self, runtime: Runtime, model_id: str) -> None:
        with runtime.use(model_id) as model:
            self._engine: Any = model.scheduler.engine
        self.reached, self._open = threading.Event(), threading.Event()
        self._engine.during = self._wait

    def _wait(self) -> None:
        self.reached.set()
        assert self._open.wait(30)

    async def closed(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, 30)

    def open(self) -> None:
        self._engine.during = None
        self._open.set()


async def seen(runtime: Runtime, condition: Callable[[], bool]) -> None:
    async for _ in runtime.watch():
        if condition():
            return


async def test_an_answer_is_followed_left_and_followed_again(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    running = runtime.submit(model, request(length=600), keep=True, answer_id="mine")
    async for event in running.events():
        if isinstance(event, NewPieces):
            break  # the page was closed
    found = runtime.answer("mine")
    assert found is running
    again = [event async for event in found.events()]
    assert isinstance(again[0], PromptProgress)
    assert isinstance(again[-1], Finished)
    generation = again[-1].generation
    assert "".join(event.text for event in again if isinstance(event, NewPieces)) == generation.text
    assert generation.pieces == found.pieces
    assert [event async for event in found.events(len(again) - 1)] == again[-1:]
    assert (await found.result()).text == generation.text


async def test_the_same_request_gives_the_same_text_beside_others(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    alone = (await runtime.submit(model, request(7)).result()).text
    many = [runtime.submit(model, request(seed)) for seed in (7, 8, 9, 7)]
    texts = [(await running.result()).text for running in many]
    assert texts[0] == texts[3] == alone
    assert len(set(texts)) == 3
    state = runtime.state(model)
    assert state is not None
    assert state.totals.answers == 5
    assert state.totals.acceptance is not None


async def test_watchers_are_told_that_an_answer_has_begun(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    with runtime.use(model) as loaded:
        engine: Any = loaded.scheduler.engine
    reached, go = threading.Semaphore(0), threading.Semaphore(0)

    def during() -> None:
        reached.release()
        assert go.acquire(timeout=30)

    engine.during = during
    running = runtime.submit(model, request(most=20))
    assert await asyncio.to_thread(reached.acquire, True, 30)
    watching = runtime.watch()
    await anext(watching)  # what is known now, inside the first pass
    go.release()
    assert await asyncio.to_thread(reached.acquire, True, 30)  # inside the second
    (state,) = await asyncio.wait_for(anext(watching), 30)
    assert state.running == 1
    engine.during = None
    go.release()
    await running.result()


async def test_cancel_ends_within_the_round(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    running = runtime.submit(model, request(most=2000))
    await gate.closed()
    running.cancel()
    gate.open()
    generation = await running.result()
    assert generation.stop_reason == "cancelled"
    with runtime.use(model) as loaded:
        engine: Any = loaded.scheduler.engine
        assert len(engine.passes) <= 2
        assert loaded.scheduler.slots.free == 4


async def test_what_is_wrong_is_said_before_the_answer_begins(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    with pytest.raises(ParameterError):
        await runtime.submit(model, Request((10**6,))).accepted()
    with pytest.raises(ModelUnloadedError):
        await runtime.submit("nobody", request()).result()


async def test_too_many_requests_are_refused_with_a_time(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    first = runtime.submit(model, request(most=5))
    await gate.closed()  # one of four slots is taken; three are free and three may wait
    running = [first, *(runtime.submit(model, request(seed, most=5)) for seed in range(11))]
    gate.open()
    ends = await asyncio.gather(*(one.result() for one in running), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, QueueFullError)]
    assert len(refused) == 11 - 3 - 3
    assert all(1 <= error.retry_after <= 60 for error in refused)


async def test_those_who_are_refused_are_told_one_place_after_the_other(runtime: Runtime) -> None:
    """An answer that takes 8 seconds in one of four slots makes a place every two."""
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    first = runtime.submit(model, request(most=5))
    await gate.closed()
    managed = runtime._manager.loaded(model)
    managed.answer_s = 8.0
    running = [first, *(runtime.submit(model, request(seed, most=5)) for seed in range(6 + 40))]
    gate.open()
    ends = await asyncio.gather(*(one.result() for one in running), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, QueueFullError)]
    assert [error.retry_after for error in refused] == [min(60, 2 * (i + 1)) for i in range(40)]
    assert managed.refused == 0, "an answer has ended since"
    assert managed.answer_s < 8.0, "measured in the slot, not in the queue"


async def test_the_draft_changes_between_answers_and_the_main_model_stays(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    with runtime.use(model) as loaded:
        engine = loaded.scheduler.engine
    gate = Gate(runtime, model)
    first = runtime.submit(model, request(most=10))
    await gate.closed()
    changing = asyncio.create_task(runtime.set_draft(model, "good-draft"))
    await asyncio.sleep(0)  # let it ask
    behind = runtime.submit(model, request(most=10))
    gate.open()
    state = await changing
    assert state.draft_info is not None
    assert state.draft_info.name == "good-draft"
    assert (await first.result()).draft == "toy-draft"
    assert (await behind.result()).draft == "good-draft"
    assert (await first.result()).text == (await behind.result()).text
    with runtime.use(model) as loaded:
        assert loaded.scheduler.engine is engine
    with pytest.raises(IncompatibleDraftError):
        await runtime.set_draft(model, "other-words", required=True)
    state = await runtime.set_draft(model, None)
    assert state.speculation.status == "off"


async def test_a_request_may_name_its_draft(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    named = runtime.submit(model, request(), draft="bad-draft")
    same = runtime.submit(model, request(), draft="bad-draft")
    assert (await named.result()).draft == (await same.result()).draft == "bad-draft"
    with pytest.raises(IncompatibleDraftError):
        await runtime.submit(model, request(), draft="other-words", draft_required=True).result()
    assert (await runtime.submit(model, request()).result()).draft is None


async def test_models_leave_when_nobody_asks_for_them(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy", ttl_s=0.0))
    kept = await runtime.load(LoadSpec("toy", id="kept", ttl_s=None))
    with contextlib.suppress(ModelUnloadedError):  # it may have left already
        await runtime.submit(model, request()).result()
    await seen(runtime, lambda: runtime.state("toy") is None)
    assert runtime.state(kept) is not None


@pytest.mark.parametrize("jump", [-(10.0**8), 10.0**8])
async def test_the_clock_on_the_wall_unloads_nothing(
    runtime: Runtime, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that may be idle for an hour stays where the clock jumps by years, and one whose time has come goes."""
    kept = await runtime.load(LoadSpec("toy", id="kept", ttl_s=3600.0))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    model = await runtime.load(LoadSpec("toy", id="toy", ttl_s=0.0))
    with contextlib.suppress(ModelUnloadedError):
        await runtime.submit(model, request()).result()
    await seen(runtime, lambda: runtime.state("toy") is None)
    state = runtime.state(kept)
    assert state is not None
    assert state.expires_at is not None
    assert 3000 < state.expires_at - time.time() <= 3600


async def test_only_one_model_that_was_loaded_on_demand_stays(runtime: Runtime) -> None:
    await runtime.load(LoadSpec("toy", id="own"))
    first = await runtime.load(LoadSpec("toy", id="first", on_demand=True))
    gate = Gate(runtime, first)
    running = runtime.submit(first, request(most=20))
    await gate.closed()
    loading = asyncio.create_task(runtime.load(LoadSpec("toy", id="second", on_demand=True)))
    await seen(runtime, lambda: runtime.state("second") is not None)
    gate.open()
    await loading
    assert len((await running.result()).tokens) == 20, "a busy model leaves when its answers have ended"
    await seen(runtime, lambda: [state.id for state in runtime.models()] == ["own", "second"])


async def test_what_is_asked_for_again_while_it_leaves_waits_for_its_end(runtime: Runtime) -> None:
    """Its running answers are not lost, nor is the request that asks for it again."""
    spec = LoadSpec("toy", id="first", on_demand=True)
    first = await runtime.load(spec)
    gate = Gate(runtime, first)
    running = runtime.submit(first, request(most=2000))
    await gate.closed()
    await runtime.load(LoadSpec("toy", id="second", on_demand=True))
    gate.open()
    await seen(runtime, lambda: runtime.state("first").status == "leaving")
    again = [asyncio.create_task(runtime.load(spec)) for _ in range(2)]
    assert len((await running.result()).tokens) == 2000
    assert await asyncio.gather(*again) == ["first", "first"]
    assert len((await runtime.submit("first", request(most=5)).result()).tokens) == 5
    await seen(runtime, lambda: [state.id for state in runtime.models()] == ["first"])


async def test_unloading_ends_what_runs(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    running = runtime.submit(model, request(most=2000))
    await gate.closed()
    leaving = asyncio.create_task(runtime.unload(model))
    await asyncio.sleep(0)
    gate.open()
    await leaving
    assert (await running.result()).stop_reason == "cancelled"
    with pytest.raises(ModelUnloadedError):
        await runtime.unload(model)
    with pytest.raises(ModelUnloadedError), runtime.use(model):
        pass


async def test_two_callers_wait_for_one_load(runtime: Runtime) -> None:
    spec = LoadSpec("toy", id="toy")
    assert await asyncio.gather(runtime.load(spec), runtime.load(spec)) == ["toy", "toy"]
    before = runtime.state("toy")
    await runtime.load(replace(spec, ttl_s=5.0))
    after = runtime.state("toy")
    assert before is not None
    assert after is not None
    assert before.loaded_at == after.loaded_at
    assert after.expires_at is not None
    with pytest.raises(ModelFormatError):
        await runtime.load(LoadSpec("broken"))
    assert [state.id for state in runtime.models()] == ["toy"]


async def test_a_fault_of_the_program_ends_the_answers_and_nothing_else(runtime: Runtime) -> None:
    model = await runtime.load(LoadSpec("toy", id="toy"))
    with runtime.use(model) as loaded:
        engine: Any = loaded.scheduler.engine

    def broken() -> None:
        engine.during = None
        raise ZeroDivisionError

    engine.during = broken
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        await runtime.submit(model, request()).result()
    assert (await runtime.submit(model, request()).result()).stop_reason == "length"


async def test_closing_lets_answers_end_and_takes_nothing_new() -> None:
    runtime = Runtime(toy.load)
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    running = runtime.submit(model, request(most=15))
    await gate.closed()
    closing = asyncio.create_task(runtime.close(30))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeClosedError):
        await runtime.submit(model, request()).result()
    gate.open()
    await closing
    assert len((await running.result()).tokens) == 15
    await runtime.close()


async def test_closing_cancels_what_takes_too_long() -> None:
    runtime = Runtime(toy.load)
    model = await runtime.load(LoadSpec("toy", id="toy"))
    gate = Gate(runtime, model)
    running = runtime.submit(model, request(most=3000))
    await gate.closed()
    closing = asyncio.create_task(runtime.close(0))
    await asyncio.sleep(0)
    gate.open()
    await closing
    assert (await running.result()).stop_reason == "cancelled"
