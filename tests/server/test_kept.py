"""Conversations that are kept: OpenAI's and LM Studio's, over one store."""

from __future__ import annotations

import ast
import asyncio
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from foredraft.chats import responses as store
from foredraft.chats.responses import Bounds
from foredraft.runtime.managed_model import LoadSpec
from foredraft.server import limits
from foredraft.server.context import ServerSettings, Services
from foredraft.server.kept import Responses
from tests.server import toy

MOST = {"max_output_tokens": 12, "extra_body": {"seed": 1}}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    made = toy.services(ServerSettings(log_prompts=True))
    made.responses = Responses(tmp_path / "data" / "responses.sqlite")
    return made


@pytest.fixture
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def asked(services: Services) -> list[dict[str, Any]]:
    """The messages of the last request."""
    (*_, last) = (entry.message for entry in services.event_log.recent(500) if entry.kind == "prompt")
    return ast.literal_eval(last)


# ---- OpenAI's ----


def test_a_conversation_goes_on(client: openai.OpenAI, services: Services) -> None:
    first = client.responses.create(model="toy", input="My colour is blue.", instructions="Be brief.", **MOST)
    second = client.responses.create(
        model="toy", input="Which colour?", instructions="Be brief.", previous_response_id=first.id, **MOST
    )
    assert [(m["role"], m["content"]) for m in asked(services)] == [
        ("system", "Be brief."),
        ("user", "My colour is blue."),
        ("assistant", first.output_text),
        ("user", "Which colour?"),
    ]
    assert second.previous_response_id == first.id
    whole = [
        {"role": "user", "content": "My colour is blue."},
        {"role": "assistant", "content": first.output_text},
        {"role": "user", "content": "Which colour?"},
    ]
    sent = client.responses.create(model="toy", input=whole, instructions="Be brief.", store=False, **MOST)
    assert sent.output_text == second.output_text
    assert sent.usage.input_tokens == second.usage.input_tokens
    plain = client.responses.create(
        model="toy",
        input="Which colour?",
        instructions="Be brief.",
        previous_response_id=first.id,
        max_output_tokens=12,
        extra_body={"seed": 1, "draft_model": "off"},
    )
    assert plain.output_text == second.output_text, "the same without a draft"
    client.responses.create(model="toy", input="Which colour?", previous_response_id=first.id, **MOST)
    assert asked(services)[0]["role"] == "user", "instructions are not carried over"


def test_the_second_turn_reads_only_what_is_new(client: openai.OpenAI) -> None:
    long = "a cat sat on the mat. " * 20
    first = client.responses.create(model="toy", input=long, **MOST)
    second = client.responses.create(model="toy", input="And then?", previous_response_id=first.id, **MOST)
    assert first.usage.input_tokens_details.cached_tokens == 0
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens
    new = second.usage.input_tokens - second.usage.input_tokens_details.cached_tokens
    assert new <= len("\n[user]And then?\n[assistant]") + 12 + 1, "at most the answer, if it is spelt in other tokens"


def test_a_chain_keeps_to_its_own_slot() -> None:
    """It is a session without being named one: three chains in turns on two slots."""
    services = toy.services()
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        asyncio.run(services.runtime.load(LoadSpec("toy", id="toy", settings={"n_slots": 2})))
        last: list[str | None] = [None, None, None]
        cached = []
        for turn in range(5):
            for i in range(3):
                text = f"{i} " * 60 if turn == 0 else "Go on."
                answer = client.responses.create(model="toy", input=text, previous_response_id=last[i], **MOST)
                last[i] = answer.id
                cached.append(answer.usage.input_tokens_details.cached_tokens)
    assert sum(count > 100 for count in cached[3:]) >= 5, "about every other turn"


def test_what_is_kept_is_given_back_and_forgotten(client: openai.OpenAI) -> None:
    items: list[Any] = [{"role": "user", "content": f"line {i}"} for i in range(5)]
    made = client.responses.create(model="toy", input=items, metadata={"a": "b"}, **MOST)
    assert made.model_extra["store"] is True
    again = client.responses.retrieve(made.id)
    assert again.to_dict() == made.to_dict()
    listed = client.responses.input_items.list(made.id, limit=2, order="asc")
    texts = [item.content[0].text for item in listed]  # the client asks for page after page
    assert texts == [f"line {i}" for i in range(5)]
    newest = client.responses.input_items.list(made.id, limit=1)
    assert newest.data[0].content[0].text == "line 4"
    assert newest.has_more
    with pytest.raises(openai.BadRequestError, match="ended already"):
        client.responses.cancel(made.id)
    following = client.responses.create(model="toy", input="Go on.", previous_response_id=made.id, **MOST)
    client.responses.delete(made.id)
    for gone in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
        with pytest.raises(openai.NotFoundError, match="was deleted"):
            gone(made.id)
    with pytest.raises(openai.BadRequestError, match=f"{made.id}.* was deleted") as broken:
        client.responses.create(model="toy", input="?", previous_response_id=following.id)
    assert (broken.value.param, broken.value.code) == ("previous_response_id", "previous_response_not_found")
    with pytest.raises(openai.BadRequestError) as refused:
        list(client.responses.retrieve(following.id, stream=True))
    assert refused.value.param == "stream"


def test_streams_are_kept_before_they_end(client: openai.OpenAI) -> None:
    *_, last = client.responses.create(model="toy", input="Hi", stream=True, **MOST)
    assert client.responses.retrieve(last.response.id).to_dict() == last.response.to_dict()


def test_what_shall_not_be_kept_is_not(client: openai.OpenAI, services: Services, tmp_path: Path) -> None:
    made = client.responses.create(model="toy", input="my secret", store=False, **MOST)
    assert made.model_extra["store"] is False
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)
    with pytest.raises(openai.BadRequestError, match="is not kept here"):
        client.responses.create(model="toy", input="?", previous_response_id=made.id)
    services.responses.close()
    assert not any(b"my secret" in part.read_bytes() for part in (tmp_path / "data").iterdir())


def test_items_can_be_named_by_their_id(client: openai.OpenAI, services: Services) -> None:
    """As programs do that count on the server's memory without using `previous_response_id`."""
    made = client.responses.create(model="toy", input="Hi", **MOST)
    again: list[Any] = [
        {"role": "user", "content": "Hi"},
        {"type": "item_reference", "id": made.output[0].id},
        {"role": "user", "content": "And?"},
    ]
    client.responses.create(model="toy", input=again, **MOST)
    assert asked(services)[1] == {"role": "assistant", "content": made.output_text}
    with pytest.raises(openai.BadRequestError) as unknown:
        client.responses.create(model="toy", input=[{"type": "item_reference", "id": "msg_none"}])
    assert unknown.value.param == "input.0.id"


def test_tokens_are_counted_with_the_conversation(client: openai.OpenAI) -> None:
    first = client.responses.create(model="toy", input="Hi", **MOST)
    counted = client.responses.input_tokens.count(model="toy", input="And?", previous_response_id=first.id)
    second = client.responses.create(model="toy", input="And?", previous_response_id=first.id, **MOST)
    assert counted.input_tokens == second.usage.input_tokens


# ---- LM Studio's ----


def chat(http: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    answer = http.post("/api/v1/chat", json={"model": "toy", "input": text, "max_output_tokens": 8, "seed": 1, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_lm_studios_chats_go_on(http: httpx.Client, services: Services) -> None:
    first = chat(http, "My colour is blue.", system_prompt="Be brief.")
    second = chat(http, "Which colour?", previous_response_id=first["response_id"])
    said = first["output"][-1]["content"]
    assert [(m["role"], m["content"]) for m in asked(services)] == [
        ("system", "Be brief."),
        ("user", "My colour is blue."),
        ("assistant", said),
        ("user", "Which colour?"),
    ]
    chat(http, "And now?", previous_response_id=second["response_id"], system_prompt="Be long.")
    assert [m["content"] for m in asked(services) if m["role"] == "system"] == ["Be long."]
    assert len(asked(services)) == 6
    silent = chat(http, "A joke.", store=False)
    assert "response_id" not in silent
    with http.stream(
        "POST",
        "/api/v1/chat",
        json={"model": "toy", "input": "More.", "previous_response_id": second["response_id"], "stream": True},
    ) as answer:
        last = json.loads(answer.read().decode().strip().rsplit("data: ", 1)[1])
    streamed = last["result"]["response_id"]
    assert streamed not in (first["response_id"], second["response_id"])
    chat(http, "?", previous_response_id=streamed)
    refused = http.post("/api/v1/chat", json={"model": "toy", "input": "?", "previous_response_id": "resp_none"})
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request")
    assert refused.json()["error"]["code"] == "previous_response_not_found"


def test_each_goes_on_from_the_others(http: httpx.Client, client: openai.OpenAI, services: Services) -> None:
    first = chat(http, "My colour is blue.")
    second = client.responses.create(model="toy", input="?", previous_response_id=first["response_id"], **MOST)
    chat(http, "And?", previous_response_id=second.id)
    assert [m["content"] for m in asked(services) if m["role"] == "user"] == ["My colour is blue.", "?", "And?"]
    with pytest.raises(openai.NotFoundError, match="LM Studio's"):
        client.responses.retrieve(first["response_id"])
    client.responses.delete(first["response_id"])


# ---- forgetting, bounds, trouble ----


def test_all_is_forgotten_at_a_word(http: httpx.Client, client: openai.OpenAI, tmp_path: Path) -> None:
    made = client.responses.create(model="toy", input="my secret", **MOST)
    chat(http, "my secret")
    assert http.delete("/api/foredraft/responses").json() == {"forgotten": 2}
    with pytest.raises(openai.NotFoundError, match="is not kept here"):
        client.responses.retrieve(made.id)
    assert not any(b"my secret" in part.read_bytes() for part in (tmp_path / "data").iterdir())


def test_no_id_is_in_the_log(http: httpx.Client, client: openai.OpenAI, services: Services) -> None:
    """Who reads the log could read the conversation with it."""
    made = client.responses.create(model="toy", input="Hi", **MOST)
    client.responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_0123456789abcdef")
    entries = http.get("/api/foredraft/log").text
    assert "/v1/responses/resp_…" in json.dumps(json.loads(entries), ensure_ascii=False)
    assert made.id not in entries
    assert "0123456789abcdef" not in entries


def test_what_had_to_make_room_is_said(
    http: httpx.Client, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT", Bounds(2, 1 << 20, 30 * 86400.0))
    first = client.responses.create(model="toy", input="a", **MOST)
    for _ in range(2):
        client.responses.create(model="toy", input="b", **MOST)
    with pytest.raises(openai.BadRequestError, match=r"has made room for later ones \(at most 2 responses"):
        client.responses.create(model="toy", input="?", previous_response_id=first.id)
    monkeypatch.setattr(limits, "BODY", limits.Limit("bytes of a body", 100, 413))
    long = client.responses.create(model="toy", input="c" * 200, **MOST)
    with pytest.raises(openai.BadRequestError, match="at most 100 are taken up again"):
        client.responses.create(model="toy", input="?", previous_response_id=long.id)


def test_what_is_too_large_to_keep_is_answered_all_the_same(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT", Bounds(100, 3000, 30 * 86400.0))
    made = client.responses.create(model="toy", input="c" * 3500, **MOST)
    assert made.output_text
    assert made.model_extra["store"] is False
    assert "not kept" in made.model_extra["warnings"][0]


def test_a_locked_file_is_no_reason_not_to_answer(
    client: openai.OpenAI, http: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUSY_S", 0.05)
    first = client.responses.create(model="toy", input="Hi", **MOST)
    other: Any = sqlite3.connect(tmp_path / "data" / "responses.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    made = client.responses.create(model="toy", input="Hi", **MOST)
    assert made.output_text == first.output_text
    assert made.model_extra["store"] is False
    assert "another program uses the file" in made.model_extra["warnings"][0]
    answer = chat(http, "Hi")
    assert "response_id" not in answer
    assert "another program uses the file" in answer["warnings"][0]
    with pytest.raises(openai.InternalServerError) as refused:
        client.responses.create(model="toy", input="?", previous_response_id=first.id)
    assert (refused.value.status_code, refused.value.code) == (503, "responses_unusable")
    other.execute("ROLLBACK")
    other.close()
    assert client.responses.create(model="toy", input="?", previous_response_id=first.id, **MOST).output_text


@pytest.mark.parametrize("where", ["damaged", "folder"])
def test_a_file_that_cannot_be_used(where: str, tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    if where == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"no database" * 1000)
    services = toy.services()
    services.responses = Responses(path)
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        first = client.responses.create(model="toy", input="Hi", **MOST)
        second = client.responses.create(model="toy", input="?", previous_response_id=first.id, **MOST)
        warned = "until the server ends" in str(second.model_extra.get("warnings"))
        assert warned == (where == "folder"), "kept in memory, aloud; or in a file that was begun anew"


def test_a_server_that_keeps_nothing_says_so() -> None:
    services = toy.services()
    services.responses = Responses(enabled=False)
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        made = client.responses.create(model="toy", input="Hi", **MOST)
        assert made.model_extra["store"] is False
        assert "warnings" not in made.model_extra, "it did not ask to be kept"
        wanted = client.responses.create(model="toy", input="Hi", store=True, **MOST)
        assert wanted.model_extra["warnings"] == ["store: this server keeps no responses."]
        with pytest.raises(openai.BadRequestError, match="no-keep-responses"):
            client.responses.create(model="toy", input="?", previous_response_id=made.id)
        with httpx.Client(base_url=address) as http:
            assert http.get("/health").json()["keeps_responses"] is False
            assert "response_id" not in chat(http, "Hi")
            assert http.delete("/api/foredraft/responses").json() == {"forgotten": 0}
