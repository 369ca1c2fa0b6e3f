"""A pass that nobody waits for any more is ended: cancelling and unloading do not wait for a piece of prompt."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from foredraft.core.params import Request, SamplingParams
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.runtime.events import Finished
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime

PROMPT = Request(tuple(range(1, 60)), SamplingParams(seed=1), max_tokens=5)
SHORT = Request((1, 2, 3), SamplingParams(seed=1), max_tokens=30)


class Gate(ToyEngine):
    """Stops in the middle of each pass until it is let go on; notes which passes were ended."""

    def __init__(self, *how: object, **more: object) -> None:
        super().__init__(*how, **more)  # type: ignore[arg-type]
        self.inside, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.open = False
        self.aborts = 0
        self.during = self._stop

    def _stop(self) -> None:
        if not self.open:
            self.inside.release()
            assert self.go_on.acquire(timeout=60)

    def abort(self) -> None:
        super().abort()
        self.aborts += self._aborted

    def let_all(self) -> None:
        self.open = True
        self.go_on.release()


def gated() -> Gate:
    return Gate.random(3, n_vocab=64, n_slots=2, n_ctx=128, n_batch=64)  # type: ignore[return-value]


async def served(work: Callable[[Runtime, Gate], object]) -> None:
    engine = gated()
    runtime = Runtime(lambda spec, progress: LLM(engine))
    await runtime.load(LoadSpec("toy", id="toy"))
    try:
        await work(runtime, engine)  # type: ignore[misc]
    finally:
        engine.let_all()
        await runtime.close(0.0)


async def entered(engine: Gate) -> None:
    assert await asyncio.to_thread(engine.inside.acquire, timeout=60)


@pytest.mark.parametrize("how", ["cancel", "unload"])
async def test_a_piece_of_prompt_is_not_read_to_its_end_for_nobody(how: str) -> None:
    async def work(runtime: Runtime, engine: Gate) -> None:
        running = runtime.submit("toy", PROMPT)
        await entered(engine)
        ended = None
        if how == "cancel":
            running.cancel()
        else:
            ended = asyncio.ensure_future(runtime.unload("toy"))
            while not running.cancelled:
                await asyncio.sleep(0)
        assert engine.aborts == 1
        engine.let_all()
        last = [event async for event in running.events()][-1]
        assert isinstance(last, Finished)
        assert last.generation.stop_reason == "cancelled"
        assert last.generation.stats.rounds == 0
        assert len(engine.passes) == 1, "the pass was ended, and none was made after it"
        if ended is not None:
            await ended

    await served(work)


async def test_a_pass_that_others_wait_for_goes_on() -> None:
    alone = LLM(ToyEngine.random(3, n_vocab=64, n_slots=2, n_ctx=128, n_batch=64)).generate(SHORT)

    async def work(runtime: Runtime, engine: Gate) -> None:
        staying, leaving = runtime.submit("toy", SHORT), runtime.submit("toy", PROMPT)
        for _ in range(3):  # the first passes; both are in the second one at the latest
            await entered(engine)
            if leaving.answer is not None and leaving.answer.prompt_progress[0]:
                break
            engine.go_on.release()
        leaving.cancel()
        assert engine.aborts == 0
        engine.let_all()
        assert (await staying.result()).tokens == alone.tokens
        assert (await leaving.result()).stop_reason == "cancelled"

    await served(work)
