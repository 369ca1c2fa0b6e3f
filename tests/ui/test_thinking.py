"""Thinking is told from the answer in the app, whatever marks the family has: live, kept, sent back, gone on with."""

import json

import pytest

from foredraft.chats import ChatStore
from foredraft.models.template import ChatTemplate
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.tokens import content_of, thought_of
from tests.server.thinkers import FAMILIES, SAID, THOUGHT, load


@pytest.fixture(params=FAMILIES)
async def made(request):
    runtime, chats = Runtime(load), ChatStore(None)
    generations = Generations(Services(runtime), chats, Hub())
    await runtime.load(LoadSpec(request.param, id=request.param))
    yield generations, chats
    await generations.close()
    await runtime.close(0.0)
    chats.close()


async def page(generations, message_id):
    """The tokens that a page has in the end."""
    tokens = []
    async for event, data, _ in generations.stream(message_id):
        if event == "reset":
            tokens.clear()
        elif event == "tokens":
            tokens.extend(json.loads(data))
    return tokens


def asked(chats, **settings):
    chat = chats.create(settings={"seed": 1, "max_tokens": 300, "temperature": 0.0, **settings})
    return chat, chats.add(chat.id, "user", "?", parent=None)


async def test_thinking_is_told_apart_live_and_kept(made):
    generations, chats = made
    chat, question = asked(chats)
    message_id = generations.answer(chat.id, question)
    tokens = await page(generations, message_id)
    await generations.of(message_id).task
    kept = chats.message(message_id)
    assert kept.status == "done", kept.meta
    assert kept.tokens == tokens
    assert kept.text == content_of(tokens) == SAID
    assert thought_of(tokens).strip() == THOUGHT
    assert kept.meta["stats"]["tokens"] - len(tokens) in (0, 1)  # the end token has no text
    assert kept.meta["stats"]["accepted"] - sum(token[1] == "a" for token in tokens) in (0, 1)


async def test_the_next_turn_has_it_as_thinking(made, monkeypatch):
    generations, chats = made
    chat, question = asked(chats)
    first = generations.answer(chat.id, question)
    await generations.of(first).task
    sent = []
    render = ChatTemplate.render
    monkeypatch.setattr(ChatTemplate, "render", lambda of, m, **more: (sent.extend(m), render(of, m, **more))[1])
    second = generations.answer(chat.id, chats.add(chat.id, "user", "?", parent=first))
    await generations.of(second).task
    said = sent[1]
    assert said["content"] == SAID
    assert (said.get("thinking") or said["reasoning_content"]).strip() == THOUGHT


@pytest.mark.parametrize("tokens", [1, 9, 20, 40])
async def test_an_answer_goes_on_in_the_middle_of_anything(made, tokens):
    generations, chats = made
    chat, question = asked(chats, max_tokens=tokens)
    message_id = generations.answer(chat.id, question)
    await generations.of(message_id).task
    chats.change(chat.id, settings={"seed": 1, "max_tokens": 300, "temperature": 0.0})
    assert generations.go_on(chats.message(message_id))
    await generations.of(message_id).task
    kept = chats.message(message_id)
    assert kept.text == SAID
    assert thought_of(kept.tokens).strip() == THOUGHT
