"""Answers that the server owns: followed from anywhere, written down, stopped, continued, failing with words."""

import asyncio
import json

import pytest

from foredraft.chats import ChatStore, ChatStoreError
from foredraft.chats.records import RUNNING, title_of
from foredraft.core.errors import ModelError
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.speculative.drafters import ModelDrafter
from foredraft.ui import generation
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.writing import Writing

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def load(spec, progress):
    if spec.model == "broken":
        raise ModelError("No model.")
    main = ToyEngine.random(3, n_ctx=400, chat_template=TEMPLATE)
    return LLM(main, ModelDrafter(main.blurred(0.3), main.info.n_vocab))


@pytest.fixture
async def made():
    runtime = Runtime(load)
    chats = ChatStore(None)
    hub = Hub()
    generations = Generations(Services(runtime), chats, hub)
    await runtime.load(LoadSpec("toy", id="toy"))
    yield generations, chats, hub
    await generations.close()
    await runtime.close(0.0)
    chats.close()


def ask(chats, text="aaa", **settings):
    chat = chats.create(settings={"seed": 1, "max_tokens": 60, **settings})
    return chat, chats.add(chat.id, "user", text, parent=None)


async def everything(generations, message_id, start=0):
    """All tokens that a page would get."""
    tokens = []
    async for event, data, _ in generations.stream(message_id, start):
        if event == "tokens":
            tokens.extend(json.loads(data))
    return tokens


async def test_an_answer_is_followed_and_kept(made):
    generations, chats, _ = made
    chat, question = ask(chats)
    message_id = generations.answer(chat.id, question)
    tokens = await everything(generations, message_id)
    await generations.of(message_id).task
    kept = chats.message(message_id)
    assert kept.status == "done"
    assert kept.text == "".join(token[0] for token in tokens) == "".join(token[0] for token in kept.tokens)
    assert kept.meta["stats"]["tokens"] - len(tokens) in (0, 1)  # the end token has no text
    assert kept.meta["stats"]["accepted"] - sum(token[1] == "a" for token in tokens) in (0, 1)
    assert {token[1] for token in tokens} <= set("acbm")


async def test_the_inspector_gets_each_tokens_probability(made):
    generations, chats, _ = made
    chat, question = ask(chats)
    plain = await everything(generations, generations.answer(chat.id, question))
    chat, question = ask(chats)
    inspected = await everything(generations, generations.answer(chat.id, question, inspect=True))
    assert [token[0] for token in inspected] == [token[0] for token in plain]
    assert all(0 < token[4] <= 1 for token in inspected)
    assert not any(token[4] for token in plain if len(token) > 4)


async def test_a_second_reader_and_one_that_comes_back_get_the_same(made):
    generations, chats, _ = made
    chat, question = ask(chats)
    message_id = generations.answer(chat.id, question)
    whole = await everything(generations, message_id)
    assert await everything(generations, message_id) == whole
    assert await everything(generations, message_id, 7) == whole[7:]
    assert await everything(generations, message_id, 10_000) == whole
    assert await everything(generations, 4711) == []


async def test_a_reader_that_comes_back_long_after_the_end_gets_the_rest(made):
    generations, chats, _ = made
    chat, question = ask(chats)
    message_id = generations.answer(chat.id, question)
    whole = await everything(generations, message_id)
    writing = generations.of(message_id)
    await writing.task
    generations._forget(writing)
    assert generations.of(message_id) is None
    assert await everything(generations, message_id, 7) == whole[7:]


async def test_a_reader_that_comes_late_sleeps_until_there_is_news(made):
    """The prompt was read before it came: that is no news any more, and must not keep it awake."""
    generations, chats, _ = made
    chat, _ = ask(chats)
    writing = Writing(99, chat.id, tokens=[["a", "m", 0]], prompt=(5, 5))
    generations._writing[99] = writing
    reader = generations.stream(99)
    assert (await anext(reader))[0] == "tokens"
    waiting = asyncio.ensure_future(anext(reader))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done()
    writing.done = True
    writing.condition.notify()
    assert (await waiting)[0] == "end"


async def test_stopping_keeps_what_there_is(made):
    generations, chats, _ = made
    chat, question = ask(chats, max_tokens=350)
    message_id = generations.answer(chat.id, question)
    generations.stop(chat.id)
    await generations.of(message_id).task
    kept = chats.message(message_id)
    assert kept.status == "done"
    assert kept.meta["stop_reason"] == "cancelled"


async def test_going_on_adds_to_the_same_message(made):
    generations, chats, _ = made
    chat, question = ask(chats, max_tokens=3)
    message_id = generations.answer(chat.id, question)
    await generations.of(message_id).task
    first, ended = chats.message(message_id), generations.of(message_id)
    assert generations.go_on(first)  # at once: a page may still be following the ended one
    assert not generations.go_on(first)  # it is being written already
    generations._forget(ended)
    await generations.of(message_id).task
    longer = chats.message(message_id)
    assert longer.text.startswith(first.text)
    assert len(longer.tokens) > len(first.tokens)


async def test_what_is_wrong_is_kept_with_the_answer(made):
    generations, chats, _ = made
    chat, question = ask(chats, "a" * 3000)
    message_id = generations.answer(chat.id, question)
    assert await everything(generations, message_id) == []
    await generations.of(message_id).task
    kept = chats.message(message_id)
    assert kept.status == "failed"
    assert kept.meta["error"]["code"] == "context_overflow"


async def test_without_a_model_there_is_no_answer(made):
    generations, chats, _ = made
    await generations._runtime.unload("toy")
    chat, question = ask(chats)
    assert generations.answer(chat.id, question) is None


async def test_a_full_disk_does_not_stop_the_answer(made, monkeypatch):
    generations, chats, hub = made
    heard = []
    hub.subscribe(lambda topic, about: heard.append((topic, about)))
    chat, question = ask(chats)

    def full(*args, **kwargs):
        raise ChatStoreError("full", "database or disk is full")

    monkeypatch.setattr(chats, "save_answer", full)
    message_id = generations.answer(chat.id, question)
    assert len(await everything(generations, message_id)) > 0
    await generations.of(message_id).task
    assert generations.problem == "full"
    assert ("problem", "full") in heard


async def test_it_is_written_down_while_it_grows(made, monkeypatch):
    generations, chats, _ = made
    monkeypatch.setattr(generation, "SAVE_EVERY_S", 0.0)
    states = []
    save = chats.save_answer
    monkeypatch.setattr(chats, "save_answer", lambda *a, **k: (states.append(k["status"]), save(*a, **k)))
    chat, question = ask(chats)
    message_id = generations.answer(chat.id, question)
    await everything(generations, message_id)
    await generations.of(message_id).task
    assert states[0] == RUNNING
    assert states[-1] == "done"


def test_titles_are_the_beginning_of_the_first_message():
    assert title_of("  Two\n lines ") == "Two lines"
    assert len(title_of("x" * 500)) == 60
