"""LM Studio's SDK for Python, unmodified, sync and async, against a server with toy models."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import lmstudio
import pytest

from foredraft.server.context import ServerSettings, Services
from tests.server import toy

SETTINGS = {"maxTokens": 30, "temperature": 0}
CALL = '<tool_call>\\n{\\"name\\": \\"add\\", \\"arguments\\": {\\"a\\": 1, \\"b\\": 2}}\\n</tool_call>'
FORCED = {"structured": {"type": "gbnf", "gbnfGrammar": f'root ::= "{CALL}"'}}
"""A toy says what it must: a call, as the template writes one."""


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services()


@pytest.fixture(scope="module")
def host(services: Services) -> Iterator[str]:
    with toy.serving(services) as address:
        yield address.removeprefix("http://")


@pytest.fixture
def client(host: str) -> Iterator[lmstudio.Client]:
    with lmstudio.Client(host) as one:
        yield one


def drafted(fragments: list[Any]) -> int:
    return sum(one.tokens_count for one in fragments if one.contains_drafted)


def test_models_are_listed_loaded_and_unloaded(client: lmstudio.Client) -> None:
    assert [one.model_key for one in client.llm.list_downloaded()] == ["toy", "toy-small", "broken"]
    assert [one.model_key for one in client.embedding.list_downloaded()] == ["toy-embed"]
    progress: list[float] = []
    model = client.llm.model("toy", on_load_progress=progress.append)
    assert progress == sorted(progress)
    assert progress[-1] == 1.0
    assert model.get_info().model_key == "toy"
    assert model.get_context_length() == 4096
    assert client.llm.model("TOY").identifier == "toy", "as it is written"
    assert client.llm.model().identifier == "toy", "any that is loaded"
    second = client.llm.load_new_instance("toy", "mine", config={"contextLength": 512})
    third = client.llm.load_new_instance("toy")
    assert (second.get_context_length(), third.identifier) == (512, "toy:2")
    assert {one.identifier for one in client.list_loaded_models()} == {"toy", "mine", "toy:2"}
    with pytest.raises(lmstudio.LMStudioServerError, match="already exists"):
        client.llm.load_new_instance("toy", "mine")
    second.unload()
    third.unload()
    with pytest.raises(lmstudio.LMStudioModelNotFoundError):
        second.get_info()
    with pytest.raises(lmstudio.LMStudioServerError, match="nobody"):
        client.llm.model("nobody")
    with pytest.raises(lmstudio.LMStudioServerError, match="not a GGUF file"):
        client.llm.model("broken")
    with pytest.raises(lmstudio.LMStudioServerError, match="embedding"):
        client.llm.model("toy-embed")


def test_an_answer_is_the_same_with_and_without_a_draft(client: lmstudio.Client) -> None:
    model = client.llm.model("toy")
    plain = model.respond("Hi", config={**SETTINGS, "draftModel": ""})
    stream = model.respond_stream("Hi", config={**SETTINGS, "draftModel": "good-draft"})
    fragments = list(stream)
    answer = stream.result()
    assert answer.content == plain.content == "".join(one.content for one in fragments)
    assert plain.stats.used_draft_model_key is None
    assert answer.stats.used_draft_model_key == "good-draft"
    assert drafted(fragments) == answer.stats.accepted_draft_tokens_count > 0
    assert sum(one.tokens_count for one in fragments) == answer.stats.predicted_tokens_count == 30
    with pytest.raises(lmstudio.LMStudioServerError, match='Cannot find model "nobody"'):
        model.respond("Hi", config={"draftModel": "nobody"})
    unlike = model.respond("Hi", config={**SETTINGS, "draftModel": "other-words"})
    assert unlike.content == plain.content
    assert unlike.stats.used_draft_model_key is None


def test_every_setting_counts(client: lmstudio.Client) -> None:
    model = client.llm.model("toy")
    assert model.respond("Hi", config={"maxTokens": 3}).stats.predicted_tokens_count <= 3
    text = model.complete("a cat", config=SETTINGS).content
    stopped = model.complete("a cat", config={**SETTINGS, "stopStrings": [text[5]]})
    assert (stopped.content, stopped.stats.stop_reason) == (text[: text.index(text[5])], "stopStringFound")
    everything = {
        **SETTINGS,
        "topKSampling": 1, "topPSampling": 0.9, "minPSampling": 0.1, "repeatPenalty": False, "cpuThreads": 2,
        "contextOverflowPolicy": "stopAtLimit", "speculativeDecodingNumDraftTokensExact": 2,
        "speculativeDecodingMinDraftLengthToConsider": 1, "speculativeDecodingMinContinueDraftingProbability": 0.2,
    }  # fmt: skip
    assert model.respond("Hi", config=everything).content == model.respond("Hi", config=SETTINGS).content
    for wrong, word in (({"topPSampling": 7}, "top_p"), ({"repeatPenalty": 0}, "repeat_penalty")):
        with pytest.raises(lmstudio.LMStudioServerError, match=word):
            model.respond("Hi", config=wrong)


def test_an_answer_has_the_form_that_was_asked_for(client: lmstudio.Client) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    answer = client.llm.model("toy").respond("Hi", response_format=schema, config={"temperature": 0})
    assert set(answer.parsed) == {"ok"}
    assert json.loads(answer.content) == answer.parsed


def test_tools_are_called(client: lmstudio.Client) -> None:
    asked: list[tuple[int, int]] = []

    def add(a: int, b: int) -> int:
        """Adds."""
        asked.append((a, b))
        return a + b

    messages: list[Any] = []
    done = client.llm.model("toy").act(
        "1 + 2?", [add], config={**FORCED, "maxTokens": 200}, max_prediction_rounds=2, on_message=messages.append
    )
    assert asked == [(1, 2)]
    assert done.rounds == 2
    assert [message.role for message in messages] == ["assistant", "tool", "assistant"]


def test_a_call_that_is_cut_is_said(client: lmstudio.Client) -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    with pytest.raises(lmstudio.LMStudioPredictionError, match="Failed to parse tool call"):
        client.llm.model("toy").act("1 + 2?", [add], config={**FORCED, "maxTokens": 45}, max_prediction_rounds=2)


def test_a_conversation_goes_on(client: lmstudio.Client) -> None:
    model = client.llm.model("toy")
    chat = lmstudio.Chat("Be kind.")
    chat.add_user_message("Hi")
    model.respond(chat, config=SETTINGS, on_message=chat.append)
    chat.add_user_message("And now?")
    prompt = model.apply_prompt_template(chat)
    assert prompt.startswith("[system]Be kind.\n[user]Hi\n[assistant]")
    assert prompt.endswith("[user]And now?\n[assistant]")
    assert model.count_tokens(prompt) == len(model.tokenize(prompt))
    assert [len(one) for one in model.tokenize(["a", "a cat"])] == [1, 2]


def test_an_answer_can_be_cancelled(client: lmstudio.Client) -> None:
    long = {"structured": {"type": "gbnf", "gbnfGrammar": f'root ::= "{"ab " * 1200}"'}}  # it must not end by itself
    stream = client.llm.model("toy").respond_stream("Go on", config={"temperature": 0, **long})
    for seen, _ in enumerate(stream):
        if seen == 5:
            stream.cancel()
    assert stream.result().stats.stop_reason == "userStopped"


def test_files_go_with_messages(client: lmstudio.Client) -> None:
    handle = client._prepare_file(b"The word is w7.", "note.txt")
    chat = lmstudio.Chat()
    chat.add_user_message("Which word?", _files=[handle])
    assert "File: note.txt" in client.llm.model("toy").apply_prompt_template(chat)
    with pytest.raises(lmstudio.LMStudioServerError, match="Images cannot be read"):
        client.prepare_image(b"\x89PNG\r\n\x1a\n", "picture.png")


def test_texts_are_embedded(client: lmstudio.Client) -> None:
    model = client.embedding.model("toy-embed")
    one, two = model.embed(["abc", "a cat"])
    assert one != two
    assert model.embed("abc") == one
    assert sum(number * number for number in one) == pytest.approx(1)
    assert model.get_context_length() == 700
    model.unload()


async def test_the_async_client_does_the_same(host: str) -> None:
    async with lmstudio.AsyncClient(host) as client:
        assert len(await client.list_downloaded_models()) == 4
        model = await client.llm.model("toy")
        plain = await model.respond("Hi", config={**SETTINGS, "draftModel": ""})
        stream = await model.respond_stream("Hi", config={**SETTINGS, "draftModel": "good-draft"})
        fragments = [fragment async for fragment in stream]
        assert stream.result().content == plain.content
        assert drafted(fragments) == stream.result().stats.accepted_draft_tokens_count > 0
        many = await asyncio.gather(*(model.respond("Hi", config=SETTINGS) for _ in range(8)))
        assert {one.content for one in many} == {plain.content}
        assert await model.count_tokens("a cat") == 2
        assert (await model.complete("a cat", config=SETTINGS)).content
        stream = await model.respond_stream("Go on", config={"temperature": 0})
        async for _ in stream:
            await stream.cancel()
        assert stream.result().stats.stop_reason == "userStopped"
        embedder = await client.embedding.model("toy-embed")
        assert len(await embedder.embed("abc")) == 8
        await embedder.unload()
        with pytest.raises(lmstudio.LMStudioServerError, match="nobody"):
            await client.llm.model("nobody")


def test_the_key_goes_with_the_host() -> None:
    """The library has no place for a key; the host has."""
    with toy.serving(toy.services(ServerSettings(api_key="secret"))) as address:
        host = address.removeprefix("http://")
        with lmstudio.Client(f"any:secret@{host}") as client:
            assert len(client.list_downloaded_models()) == 4
        with lmstudio.Client(host) as client, pytest.raises(lmstudio.LMStudioServerError, match="asks for a key"):
            client.list_downloaded_models()
