"""/v1/responses as OpenAI's library reads it: the order of events, their types, what is understood and what is not."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Reasoning
from foredraft.server.context import ServerSettings, Services
from foredraft.server.openai.responses.output import Output
from foredraft.server.openai.responses.tools import Toolbox
from foredraft.server.openai.responses.types import Tool
from tests.server import toy

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
CLOCK: Any = {
    "type": "function",
    "name": "clock",
    "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
    "strict": True,
}


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services(ServerSettings(log_prompts=True))


@pytest.fixture(scope="module")
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as one:
        yield one


def told(services: Services) -> list[dict[str, Any]]:
    """The messages of the last request."""
    (*_, last) = (entry.message for entry in services.event_log.recent(500) if entry.kind == "prompt")
    return ast.literal_eval(last)


def streamed(http: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    answer = http.post("/v1/responses", json={"model": "toy", "input": "Hi", "seed": 1, "stream": True, **body})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    for event in events:
        EVENT.validate_python(event)
    Response.model_validate(events[-1]["response"])
    return events


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of the events, each once in a row."""
    names = [event["type"].removeprefix("response.") for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


MESSAGE = ["output_item.added", "content_part.added", "output_text.delta"]
MESSAGE += ["output_text.done", "content_part.done", "output_item.done"]
THINKING = [name.replace("output_text", "reasoning_text") for name in MESSAGE]


def test_events_come_in_openais_order(http: httpx.Client) -> None:
    events = streamed(http, max_output_tokens=30)
    assert kinds(events)[:-1] == ["created", "in_progress", *MESSAGE]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    last = events[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == text
    whole = http.post("/v1/responses", json={"model": "toy", "input": "Hi", "seed": 1, "max_output_tokens": 30}).json()
    assert whole["output"][0]["content"] == last["output"][0]["content"]
    Response.model_validate(whole)


def test_thinking_is_an_item_of_its_own(http: httpx.Client) -> None:
    events = streamed(http, reasoning={"effort": "high"}, max_output_tokens=20)
    assert kinds(events)[2 : 2 + len(THINKING)] == THINKING
    thought = events[-1]["response"]["output"][0]
    assert (thought["type"], thought["status"]) == ("reasoning", "incomplete")
    assert events[-1]["response"]["usage"]["output_tokens_details"]["reasoning_tokens"] == 20


def test_an_item_is_whole_before_the_next_begins() -> None:
    tools = Toolbox([])
    tools.add([Tool(name="clock"), Tool(type="custom", name="patch")], "tools")
    output = Output(tools)
    answer = [
        Reasoning("so"),
        Content("an"),
        Content("swer"),
        CallStarted(0, "call_1", "clock"),
        CallArguments(0, "{}"),
    ]
    answer += [CallStarted(1, "call_2", "patch"), CallArguments(1, '{"inp'), CallArguments(1, 'ut": "a\\nb"}')]
    events = [event for delta in answer for event in output.take(delta)] + list(output.end("incomplete"))
    call = ["output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"]
    text = ["output_item.added", "custom_tool_call_input.delta", "custom_tool_call_input.done", "output_item.done"]
    assert kinds([{"type": name} for name, _ in events]) == [*THINKING, *MESSAGE, *call, *text]
    for number, (name, fields) in enumerate(events):
        EVENT.validate_python({"type": name, "sequence_number": number, **fields})
    thought, said, called, patched = output.items
    assert [item.get("status") for item in (thought, said, called)] == ["completed"] * 3
    assert (said["content"][0]["text"], called["arguments"], patched["input"]) == ("answer", "{}", "a\nb")
    assert [fields["item"] for name, fields in events if name == "response.output_item.done"] == output.items


def test_the_librarys_stream_helper_and_parser(client: openai.OpenAI) -> None:
    class Answer(BaseModel):
        ok: bool

    with client.responses.stream(model="toy", input="Hi", text_format=Answer, extra_body={"seed": 1}) as stream:
        names = [event.type for event in stream]
        final = stream.get_final_response()
    assert "response.output_text.delta" in names
    assert isinstance(final.output_parsed, Answer)
    parsed = client.responses.parse(model="toy", input="Hi", text_format=Answer, extra_body={"seed": 1})
    assert parsed.output_parsed == final.output_parsed
    plain = client.responses.parse(
        model="toy", input="Hi", text_format=Answer, extra_body={"seed": 1, "draft_model": "off"}
    )
    assert plain.output_text == parsed.output_text, "the same without a draft"


def test_calls_and_their_outputs_go_round(client: openai.OpenAI, services: Services) -> None:
    called = client.responses.create(model="toy", input="The time?", tools=[CLOCK], tool_choice="required")
    (call,) = called.output
    output: Any = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": [{"type": "input_text", "text": "8"}],
    }
    asked: dict[str, Any] = {"model": "toy", "tools": [CLOCK], "max_output_tokens": 5}
    client.responses.create(input=[output], previous_response_id=called.id, **asked)
    kept = told(services)
    client.responses.create(
        input=[{"role": "user", "content": "The time?"}, call.to_dict(), output], store=False, **asked
    )
    assert told(services) == kept, "by its id, and sent again: the same conversation"
    assert [message["role"] for message in kept] == ["user", "assistant", "tool"]
    assert kept[2]["tool_call_id"] == kept[1]["tool_calls"][0]["id"] == call.call_id
    assert kept[2]["content"] == "8"


def test_thinking_goes_round(client: openai.OpenAI, services: Services) -> None:
    sealed: Any = {"include": ["reasoning.encrypted_content"], "store": False}
    asked: dict[str, Any] = {"model": "toy", "reasoning": {"effort": "high"}, "max_output_tokens": 20}
    first = client.responses.create(input="Hi", **asked, **sealed, extra_body={"seed": 1})
    thought = first.output[0]
    assert thought.type == "reasoning"
    text = thought.content[0].text
    for back in (
        thought.to_dict(),
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": thought.encrypted_content},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]},
    ):
        items: Any = [
            {"role": "user", "content": "Hi"},
            back,
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "?"},
        ]
        client.responses.create(model="toy", input=items, max_output_tokens=2)
        assert told(services)[1] == {"role": "assistant", "content": "Yes.", "reasoning_content": text}
    foreign: Any = [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}]
    said = client.responses.create(model="toy", input=[*foreign, {"role": "user", "content": "?"}], max_output_tokens=2)
    assert "another server" in said.model_extra["warnings"][0]


def test_what_has_no_effect_is_named(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="toy",
        input="Hi",
        max_output_tokens=3,
        background=True,
        service_tier="flex",
        include=["message.output_text.logprobs", "reasoning.encrypted_content"],
        top_logprobs=2,
        text={"verbosity": "low"},
        reasoning={"summary": "auto"},
        max_tool_calls=3,
        user="me",
        safety_identifier="me",
        prompt_cache_key="mine",
        tools=[CLOCK, {"type": "web_search"}, {"type": "mcp", "server_label": "x"}],
    )
    said = " ".join(answer.model_extra["warnings"])
    for name in ("background", "service_tier", "include", "top_logprobs", "verbosity", "summary", "tools.1", "tools.2"):
        assert name in said
    assert len(answer.model_extra["warnings"]) == 8
    assert (answer.status, answer.background, answer.service_tier) == ("incomplete", False, "default")
    assert (answer.prompt_cache_key, answer.user, answer.max_tool_calls) == ("mine", "me", 3)
    assert "warnings" not in client.responses.create(model="toy", input="Hi", max_output_tokens=3).model_extra


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "other"}, "tools": [CLOCK]}, "tool_choice.name"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0.type",
        ),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.0.type"),
    ],
)
def test_what_cannot_be_honoured_is_refused(http: httpx.Client, more: dict[str, Any], param: str) -> None:
    refused = http.post("/v1/responses", json={"model": "toy", "input": "Hi", **more})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_only_allowed_tools_can_be_called(client: openai.OpenAI) -> None:
    other = {**CLOCK, "name": "other"}
    allowed: Any = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "other"}]}
    for seed in range(4):
        called = client.responses.create(
            model="toy", input="Hi", tools=[CLOCK, other], tool_choice=allowed, extra_body={"seed": seed}
        )
        assert {item.name for item in called.output} == {"other"}


def test_items_of_tools_that_are_not_served_are_left_out_of_a_history(
    client: openai.OpenAI, services: Services
) -> None:
    items: Any = [
        {"role": "user", "content": "Search."},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Found."}]},
        {"role": "user", "content": "Go on."},
    ]
    answer = client.responses.create(model="toy", input=items, max_output_tokens=2)
    assert "web_search_call" in answer.model_extra["warnings"][0]
    assert [message["content"] for message in told(services)] == ["Search.", "Found.", "Go on."]


def test_a_silent_stream_says_that_it_goes_on(services: Services, http: httpx.Client) -> None:
    """With events: a client that counts those alone would give up while a long prompt is read."""
    http.post("/v1/responses", json={"model": "toy", "input": "Hi", "max_output_tokens": 1})
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    enough = threading.Event()
    engine.during = lambda: enough.wait(30)
    services.settings, before = replace(services.settings, ping_s=0.01), services.settings
    try:
        body = {"model": "toy", "input": "abc", "stream": True, "max_output_tokens": 3}
        with http.stream("POST", "/v1/responses", json=body) as answer:
            events = []
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    events.append(json.loads(line[6:]))
                if kinds(events[-1:]) == ["in_progress"] and len(events) > 4:
                    enough.set()
    finally:
        engine.during, services.settings = None, before
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    others = [event for event in events if event["type"] != "response.in_progress"]
    assert kinds(others)[:-1] == ["created", *MESSAGE]
    assert len(events) - len(others) > 3


def test_an_error_on_the_way_is_said_in_both_words(http: httpx.Client, services: Services) -> None:
    """`response.failed` for those who read responses, `error` for those who read OpenAI's library."""
    http.post("/v1/responses", json={"model": "toy", "input": "Hi", "max_output_tokens": 1})
    with services.runtime.use("toy") as model:
        engine: Any = model.scheduler.engine
    passes = 0

    def during() -> None:
        nonlocal passes
        passes += 1
        if passes > 3:
            raise toy.EngineError("broken pass")

    engine.during = during
    try:
        answer = http.post("/v1/responses", json={"model": "toy", "input": "abc", "stream": True, "ignore_eos": True})
    finally:
        engine.during = None
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events[-2:]] == ["response.failed", "error"]
    assert events[-2]["response"]["status"] == "failed"
    assert events[-2]["response"]["error"]["code"] == "server_error"
    assert events[-1]["code"] == "engine"
    for event in events:
        EVENT.validate_python(event)


def test_what_a_forced_call_cannot_keep_is_refused_and_what_is_not_known_is_named(http: httpx.Client) -> None:
    schema = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}}
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    asked = {"model": "toy", "input": "Hi", "max_output_tokens": 3, "tools": [tool]}
    both = http.post("/v1/responses", json={**asked, "tool_choice": "required", "text": schema})
    assert both.status_code == 400
    assert "form of the tool" in both.json()["error"]["message"]
    some = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "nobody"}]}
    answer = http.post("/v1/responses", json={**asked, "tool_choice": some})
    assert answer.status_code == 200, answer.text
    assert any("'nobody'" in warning for warning in answer.json()["warnings"])
