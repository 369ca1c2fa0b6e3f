"""Files on their way into a message: counted by the loaded model, refused with numbers, read by it."""

import asyncio

import pytest

from foredraft.chats import ChatStore
from foredraft.chats.attachments import KEY, LARGEST
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.ui.app import app_state
from foredraft.ui.attaching import Refused, accept, admit, used_tokens
from foredraft.ui.pages.chat import send
from foredraft.words import Words

TEMPLATE = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
CONTEXT = 300
ENGLISH, JAPANESE = Words("en"), Words("ja")


def load(spec, progress):
    return LLM(ToyEngine.random(3, n_vocab=330, n_ctx=CONTEXT, chat_template=TEMPLATE))


@pytest.fixture
async def state():
    runtime = Runtime(load)
    chats = ChatStore(None)
    made = app_state(Services(runtime, chats=chats))
    await runtime.load(LoadSpec("toy", id="toy"))
    yield made
    await made.generations.close()
    await runtime.close(0.0)
    chats.close()


async def test_a_file_is_counted_in_tokens_of_the_loaded_model(state):
    one = admit(state, ENGLISH, "", "a.txt", b"q" * 50, 0)
    assert (one.name, one.size, one.tokens) == ("a.txt", 50, 50)


async def test_what_does_not_fit_is_refused_with_numbers(state):
    assert admit(state, ENGLISH, "", "a.txt", b"q" * (CONTEXT - 1), 0).tokens == CONTEXT - 1
    with pytest.raises(Refused, match=r"a.txt has 300 tokens, but only 299 of the context's 300 are free"):
        admit(state, ENGLISH, "", "a.txt", b"q" * CONTEXT, 0)
    with pytest.raises(Refused, match=r"a.txt は 100 トークンですが、コンテキスト 300 のうち空きは 49 です"):
        admit(state, JAPANESE, "", "a.txt", b"q" * 100, 250)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("cat.png", b"\x89PNG", "cat.png is an image. The engine reads text only"),
        ("paper.pdf", b"%PDF-1.4", "PDF and Office files cannot be attached"),
        ("blob.bin", b"\0\1\2", "blob.bin is not a text file"),
        ("huge.txt", b"a" * (LARGEST + 1), "huge.txt has 4.2 MB; a file may have 4.2 MB"),
        ("empty.txt", b"", "empty.txt is empty"),
    ],
)
async def test_other_files_are_refused_in_a_clear_sentence(state, name, content, words):
    with pytest.raises(Refused, match=words.replace(".", r"\.")):
        admit(state, ENGLISH, "", name, content, 0)


async def test_without_a_model_nothing_can_be_counted(state):
    await state.services.runtime.unload("toy")
    with pytest.raises(Refused) as raised:
        admit(state, ENGLISH, "", "a.txt", b"a", 0)
    assert (str(raised.value), raised.value.status) == ("Load a model first.", 409)


async def test_files_and_message_are_counted_together_when_they_are_sent(state):
    sent = [{"name": "a.txt", "text": "q" * 200, "tokens": 1}]
    assert [one.tokens for one in accept(state, ENGLISH, "", "q" * 99, sent)] == [200]
    with pytest.raises(Refused, match="Message and files have 300 tokens"):
        accept(state, ENGLISH, "", "q" * 100, sent)
    assert accept(state, ENGLISH, "", "q" * 5000, []) == []  # without files, the answer itself says it


async def test_the_model_reads_the_file_and_the_chat_keeps_it(state, monkeypatch):
    read = []
    submit = state.services.runtime.submit
    monkeypatch.setattr(
        state.services.runtime,
        "submit",
        lambda model, request, **more: (read.append(request.prompt), submit(model, request, **more))[1],
    )
    state.chats.set_preference("choices", {"seed": 1, "max_tokens": 20})
    files = accept(state, ENGLISH, "", "what", [{"name": "a.txt", "text": "the cat"}])
    chat = send(state, None, "what", files)
    writing = state.generations.in_chat(chat)
    await writing.task
    with state.services.runtime.use("toy") as model:
        tokenizer = model.scheduler.engine.tokenizer
        text = b"".join(tokenizer.piece(token) for token in read[0]).decode()
    assert text == "[user]File: a.txt\n```\nthe cat\n```\n\nwhat"
    question, answer = state.chats.messages(chat)
    assert question.text == "what"
    assert question.meta[KEY][0]["text"] == "the cat"
    assert used_tokens(state, chat) == answer.meta["stats"]["prompt_tokens"] + answer.meta["stats"]["tokens"] > 0
    with pytest.raises(Refused, match=f"only {CONTEXT - 1 - used_tokens(state, chat)} of the context's"):
        admit(state, ENGLISH, chat, "b.txt", b"q" * CONTEXT, 0)


async def test_a_file_alone_names_the_chat(state):
    files = accept(state, ENGLISH, "", "", [{"name": "a.txt", "text": "the cat"}])
    chat = send(state, None, "", files)
    await asyncio.wait_for(state.generations.in_chat(chat).task, 30)
    assert state.chats.get(chat).title == "a.txt"
