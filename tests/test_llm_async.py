"""`AsyncLLM`: the texts of `LLM`, on an event loop that nothing holds up."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from foredraft import LLM, AsyncLLM, BatchError, LoadSettings
from foredraft.core.errors import ClosedError, EmptyPromptError, ModelFormatError, NonFiniteLogitsError, ParameterError
from foredraft.engines.toy import ToyEngine
from tests.test_llm import toy
from tests.test_llm_batch import PROMPTS

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}b"
ASK = {"temperature": 0.9, "seed": 7, "max_tokens": 30, "ignore_eos": True}
LONG = {**ASK, "max_tokens": 900}
QUICK = LoadSettings(controller="fixed", max_draft=4, probe=False, remember=False)


def pair(**settings: object) -> LLM:
    return toy(**{"n_slots": 3, "n_ctx": 1024, "chat_template": TEMPLATE, **settings})  # type: ignore[arg-type]


@pytest.fixture
async def llm() -> AsyncIterator[AsyncLLM]:
    async with AsyncLLM.of(pair()) as made:
        yield made


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Passes of the model wait for this; what holds the loop up, too, is then never set free."""
    gate = threading.Event()
    forward = ToyEngine.forward

    def waits(self: ToyEngine, *arguments: object) -> object:
        assert gate.wait(60)
        return forward(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ToyEngine, "forward", waits)
    return gate


async def until(ready: Callable[[], bool]) -> None:
    while not ready():
        await asyncio.sleep(0.001)


def running(llm: AsyncLLM) -> int:
    state = llm._runtime.state("llm")
    assert state is not None
    return state.running + state.waiting


async def test_answers_are_those_of_the_synchronous_llm(llm: AsyncLLM) -> None:
    with pair() as plain:
        expected = [plain.generate(prompt, **ASK) for prompt in PROMPTS]
        said = [plain.chat(prompt, **ASK).text for prompt in PROMPTS]
        scores, count = plain.score("abab"), plain.count([{"role": "user", "content": "ab"}])
        several = [one.text for one in plain.generate("ab", n=3, **ASK)]
    assert [(await llm.generate(prompt, **ASK)).tokens for prompt in PROMPTS] == [one.tokens for one in expected]
    assert [one.tokens for one in await llm.generate(PROMPTS, **ASK)] == [one.tokens for one in expected]
    assert [(await llm.chat(prompt, **ASK)).text for prompt in PROMPTS] == said
    assert [one.text for one in await llm.chat(PROMPTS, **ASK)] == said
    assert [one.text for one in await llm.generate("ab", n=3, **ASK)] == several
    assert [[one.text for one in some] for some in await llm.generate(["ab"], n=3, **ASK)] == [several]
    assert len(await llm.chat("ab", n=2, **ASK)) == len((await llm.chat(["ab"], n=2, **ASK))[0]) == 2
    assert await llm.score("abab") == scores
    assert await llm.count([{"role": "user", "content": "ab"}]) == count
    assert await llm.detokenize(await llm.tokenize("abcd", add_special=False)) == "abcd"


async def test_pieces_come_as_they_are_written_and_the_result_after_them(llm: AsyncLLM) -> None:
    stream = llm.stream("abc", **ASK)
    assert repr(stream) == "AsyncAnswerStream('', not begun)"
    assert not stream.done
    pieces = [piece async for piece in stream]
    result = await stream
    assert result.pieces == pieces
    assert "".join(piece.text for piece in pieces) == result.text == stream.text
    assert stream.done
    assert "ended" in repr(stream)
    assert result.stats.accepted > 0
    again = await stream
    assert again.tokens == result.tokens, "it is answered once"


@pytest.mark.parametrize("way", ["gather", "create_task", "group", "wait_for"])
async def test_it_goes_wherever_asyncio_takes_a_coroutine(llm: AsyncLLM, way: str) -> None:
    with pair() as plain:
        expected = [plain.generate(prompt, **ASK).text for prompt in PROMPTS[:3]]
    ask = [llm.generate(prompt, **ASK) for prompt in PROMPTS[:3]]
    if way == "gather":
        found = await asyncio.gather(*ask)
    elif way == "create_task":
        found = [await task for task in [asyncio.create_task(one) for one in ask]]
    elif way == "group":
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in ask]
        found = [task.result() for task in tasks]
    else:
        found = [await asyncio.wait_for(one, 60) for one in ask]
    assert [one.text for one in found] == expected


async def test_answers_asked_for_at_once_are_written_together(llm: AsyncLLM, held: threading.Event) -> None:
    """And the loop goes on meanwhile: it is the loop that lets the model go on."""
    tasks = [asyncio.create_task(llm.generate(prompt, **ASK)) for prompt in PROMPTS]
    await until(lambda: running(llm) > 3)
    held.set()
    most = 0
    while not all(task.done() for task in tasks):
        state = llm._runtime.state("llm")
        most = max(most, state.running if state is not None else 0)
        await asyncio.sleep(0)
    assert 1 < most <= 3
    assert all(task.result().tokens for task in tasks)


async def test_reading_a_prompt_does_not_hold_the_loop_up(llm: AsyncLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    real = LLM.tokenize

    def slow(self: LLM, *arguments: object, **more: object) -> object:
        assert gate.wait(60)
        return real(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(LLM, "tokenize", slow)
    task = asyncio.create_task(llm.count("abc"))
    await asyncio.sleep(0.01)
    assert not task.done()
    gate.set()
    assert await task > 0


@pytest.mark.parametrize("way", ["task", "loop", "body", "method"])
async def test_who_stops_waiting_cancels_the_answer(llm: AsyncLLM, way: str) -> None:
    stream = llm.stream("ab", **LONG)
    if way == "method":
        async for _ in stream:
            stream.cancel()
    elif way == "loop":
        async for _ in stream:
            break
    else:
        begun = asyncio.Event()

        async def follow() -> None:
            async for _ in stream:
                begun.set()
                if way == "body":
                    await asyncio.Event().wait()

        task = asyncio.create_task(follow())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await until(lambda: stream.done)
    result = await stream
    assert result.stop_reason == "cancelled"
    assert 0 < len(result.tokens) < 900
    assert running(llm) == 0
    assert (await llm.generate("ab", **ASK)).tokens


async def test_a_timeout_cancels_the_answer(llm: AsyncLLM, held: threading.Event) -> None:
    stream = llm.generate("ab", **LONG)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream, 0.01)
    held.set()
    assert (await stream).stop_reason == "cancelled"
    assert running(llm) == 0


async def test_a_cancelled_batch_leaves_nothing_behind(llm: AsyncLLM) -> None:
    shares: list[float] = []
    task = asyncio.create_task(llm.generate(PROMPTS * 20, progress=lambda _, share: shares.append(share), **ASK))
    await until(lambda: bool(shares))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: running(llm) == 0)
    assert shares[0] == pytest.approx(1 / 160)
    assert len(shares) < 160


async def test_a_batch_whose_watcher_fails_leaves_nothing_behind(llm: AsyncLLM) -> None:
    shares: list[float] = []

    def broken(_: str, share: float) -> None:
        shares.append(share)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await llm.generate(PROMPTS * 20, progress=broken, **ASK)
    await until(lambda: running(llm) == 0)
    assert len(shares) < 160


async def test_what_fails_ends_no_other() -> None:
    with pair(draft=None) as plain:
        expected = plain.generate("ab", **ASK).text
    pair_of_parts = pair(draft=None)
    async with AsyncLLM.of(pair_of_parts) as llm:
        with pytest.raises(BatchError) as raised:
            await llm.generate(["ab", "", "ab"], **ASK)
        assert [str(raised.value.results[i]) for i in (0, 2)] == [expected, expected]
        assert isinstance(raised.value.errors[1], EmptyPromptError)
        for wrong in ({"temperature": -1}, {"temprature": 1}):
            for ask in (lambda given: llm.generate("ab", **given), lambda given: llm.generate(PROMPTS, **given)):
                with pytest.raises(ParameterError):
                    await ask(wrong)
        with pytest.raises(ParameterError, match="n is 0"):
            await llm.generate("ab", n=0)
        pair_of_parts.engine.fail("nan", after=3)  # type: ignore[attr-defined]
        with pytest.raises(NonFiniteLogitsError):
            async for _ in llm.stream("ab", **ASK):
                pass
        pair_of_parts.engine.fail("nan", after=3)  # type: ignore[attr-defined]
        with pytest.raises(NonFiniteLogitsError):
            await llm.generate("ab", **ASK)
        assert (await llm.generate("ab", **ASK)).text == expected


async def test_every_door_of_a_closed_one_is_a_typed_error(llm: AsyncLLM) -> None:
    begun = asyncio.create_task(llm.generate("ab", **LONG))
    waiting = [asyncio.create_task(llm.generate("ab", **LONG)) for _ in range(5)]
    await until(lambda: running(llm) == 6)
    await llm.close()
    await llm.close()
    assert (await begun).stop_reason == "cancelled"
    for task in waiting:
        with contextlib.suppress(ClosedError):
            assert (await task).stop_reason == "cancelled"
    doors: list[Callable[[], Awaitable[object]]] = [
        lambda: llm.generate("ab"),
        lambda: llm.generate(["ab"]),
        lambda: llm.stream("ab"),
        lambda: llm.chat("ab"),
        lambda: llm.chat(["ab"]),
        lambda: llm.score("ab"),
        lambda: llm.tokenize("ab"),
        lambda: llm.detokenize([1]),
        lambda: llm.count("ab"),
        lambda: llm.set_draft(None),
    ]
    for door in doors:
        with pytest.raises(ClosedError, match="has been closed"):
            await door()
    assert "closed" in repr(llm)
    assert llm.info.name
    assert llm.speculation.status == "off"


async def test_files_are_loaded_off_the_loop_and_told_about(tmp_path: Path) -> None:
    told: list[str] = []
    llm = await AsyncLLM.load(settings=QUICK, progress=lambda what, _: told.append(what))
    async with llm:
        assert (await llm.chat("What is 2 + 3?", temperature=0)).text == "2 + 3 = 5"
        assert llm.draft_info is not None
        assert repr(llm).startswith(f"AsyncLLM({llm.info.name}")
        assert llm.speculation.status == "active"
        await llm.set_draft(None)
        assert llm.draft_info is None
        assert (await llm.chat("What is 2 + 3?", temperature=0)).stats.drafted == 0
    assert {"main", "draft"} <= set(told)
    text = tmp_path / "text.gguf"
    text.write_text("no model", encoding="utf-8")
    before = threading.active_count()
    with pytest.raises(ModelFormatError):
        async with AsyncLLM.load(text):
            pass
    await until(lambda: threading.active_count() <= before)


async def test_a_load_that_is_given_up_leaves_no_model_and_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    made, gate, begun = pair(), threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> LLM:
        begun.set()
        assert gate.wait(60)
        return made

    monkeypatch.setattr(LLM, "load", slow)
    threads = set(threading.enumerate())
    task = asyncio.create_task(_open())
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await until(lambda: not [one for one in threading.enumerate() if "foredraft" in one.name and one not in threads])
    with pytest.raises(ClosedError):
        made.generate("ab")


async def _open() -> AsyncLLM:
    return await AsyncLLM.load()


async def test_more_may_wait_than_a_server_lets(llm: AsyncLLM) -> None:
    """Whoever asks is this program itself: a thousand at once are no flood."""
    answers = await asyncio.gather(*(llm.generate([2, 3], max_tokens=1, ignore_eos=True) for _ in range(600)))
    assert all(len(answer.tokens) == 1 for answer in answers)


def test_several_loops_may_use_one() -> None:
    with pair() as plain:
        expected = plain.generate("ab", **ASK).text
    llm = asyncio.run(_of(pair()))
    texts: list[str] = []

    async def ask() -> str:
        return (await llm.generate("ab", **ASK)).text

    threads = [threading.Thread(target=lambda: texts.append(asyncio.run(ask()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == [expected] * 3
    asyncio.run(llm.close())


async def _of(llm: LLM) -> AsyncLLM:
    return await AsyncLLM.of(llm)
