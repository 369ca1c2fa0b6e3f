"""Thinking is told from the answer in the app, whatever marks the family has: live, kept, sent back, gone on with."""

import json

import numpy as np
import pytest

from foredraft.chats import ChatStore
from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.llm import LLM
from foredraft.scheduling.hosted import LoadSpec
from foredraft.scheduling.runtime import Runtime
from foredraft.server.services import Services
from foredraft.speculative.drafters import ModelDrafter
from foredraft.ui import generation
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from foredraft.ui.tokens import content_of, thought_of
from tests.server.formats import own_templates

TURNS = "{% for m in messages %}{{ m.content }}{% endfor %}"
THOUGHT, SAID = "It is ab, so b.", "Then **b** it is."
HARMONY = ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"]
FAMILIES = {
    "tags": (TURNS + "{# #}", [], f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"),
    "opened by the prompt": (TURNS + "{# </think> #}<think>\n", [], f"{THOUGHT}\n</think>\n\n{SAID}"),
    "closed alone": (TURNS + "{# </think> #}", [], f"{THOUGHT}\n</think>\n\n{SAID}"),
    "mistral": (TURNS + "{# [THINK][/THINK] #}", ["[THINK]", "[/THINK]"], f"[THINK]{THOUGHT}[/THINK]{SAID}"),
    "seed": (
        TURNS + "{# <seed:think></seed:think> #}",
        ["<seed:think>", "</seed:think>"],
        f"<seed:think>{THOUGHT}</seed:think>{SAID}",
    ),
    "harmony": (
        own_templates.MESSAGES,
        HARMONY,
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{SAID}",
    ),
}


def load(spec, progress):
    """A model that says its family's script after any prompt."""
    template, names, text = FAMILIES[spec.model]
    size = 3 + 256 + len(names)
    words = [b"", b"", b"ab", *(bytes([byte]) for byte in range(256)), *[b""] * len(names)]
    control = {0: "<s>", 1: "</s>"} | {259 + number: name for number, name in enumerate(names)}
    tokenizer = ToyTokenizer(words, control=control, bos=0, eos=1, add_bos=True)
    script = [*tokenizer.encode(text, add_special=False), 1]
    order = 16  # longer than anything the script says twice

    def sure(context):
        law, tail = np.zeros(size), list(context[-order:])
        for at in range(len(script) - 1, 0, -1):
            known = script[max(0, at - order) : at]
            if len(known) <= len(tail) and tail[len(tail) - len(known) :] == known:
                law[script[at]] = 1.0
                return law
        law[script[0]] = 1.0
        return law

    engine = ToyEngine(sure, tokenizer, order=order, n_ctx=2000, chat_template=template)
    return LLM(engine, ModelDrafter(engine.blurred(0.3), size))


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
    rendered = generation.rendered
    monkeypatch.setattr(generation, "rendered", lambda model, m: (sent.extend(m), rendered(model, m))[1])
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
