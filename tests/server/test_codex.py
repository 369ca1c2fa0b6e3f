"""Codex's own requests (`codex_requests.json`), replayed: all are answered, its tools come back as it knows them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from foredraft.runtime.managed_model import LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import ServerSettings, Services
from tests.server import toy

RECORDED: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("codex_requests.json").read_text(encoding="utf-8")
)
KINDS = ("unknown model", "plain text tool", "scripts")
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def load(spec: LoadSpec, progress: Progress) -> toy.ToyLLM:
    """A toy with room for an agent's tools."""
    model = toy.ToyLLM(toy.engine(n_ctx=1 << 16))
    model.set_draft("auto")
    return model


@pytest.fixture(scope="module")
def services() -> Services:
    return Services(Runtime(load), toy.ToyShelf(), ServerSettings(log_prompts=True), default_model="toy")


@pytest.fixture(scope="module")
def http(services: Services) -> Iterator[httpx.Client]:
    with toy.serving(services) as address, httpx.Client(base_url=address, timeout=120) as one:
        yield one


def ask(http: httpx.Client, body: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """The events of the answer, each of OpenAI's form."""
    quote = http.post("/v1/tokenize", json={"model": "toy", "content": '"', "add_special": False}).json()["tokens"][0]
    soon = {"max_output_tokens": 400, "seed": 1, "logit_bias": {str(quote): 12.0}}  # texts in JSON end soon
    answer = http.post("/v1/responses", json={**body, **soon, **more})
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    for event in events:
        EVENT.validate_python(event)
    return events


def final(events: list[dict[str, Any]]) -> dict[str, Any]:
    assert events[-1]["type"] in ("response.completed", "response.incomplete"), events[-1]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    response: dict[str, Any] = events[-1]["response"]
    assert response["output"] == done, "Codex reads the items as they are done"
    return response


def told(services: Services) -> list[dict[str, Any]]:
    """The messages of the last request."""
    (*_, last) = (entry.message for entry in services.event_log.recent(500) if entry.kind == "prompt")
    return ast.literal_eval(last)


@pytest.mark.parametrize("kind", KINDS)
def test_every_request_is_answered(http: httpx.Client, services: Services, kind: str) -> None:
    for body in RECORDED[kind]:
        response = final(ask(http, body))
        assert response["store"] is False, "as Codex asks"
        assert response["prompt_cache_key"] == body["prompt_cache_key"]
        roles = [message["role"] for message in told(services)]
        assert roles[0] == "system"
        assert roles.count("system") == 1, "several developer messages are one"


def test_what_is_not_served_is_left_out_aloud(http: httpx.Client) -> None:
    said = final(ask(http, RECORDED["unknown model"][0]))["warnings"]
    assert any("web_search" in sentence for sentence in said)
    assert any("reasoning.summary" in sentence for sentence in said)
    assert not any("encrypted" in sentence for sentence in said)
    said = final(ask(http, RECORDED["plain text tool"][0]))["warnings"]
    assert {"web_search", "tool_search"} <= {word.strip("'") for sentence in said for word in sentence.split()}


def test_a_call_and_its_output_are_part_of_the_conversation(http: httpx.Client, services: Services) -> None:
    final(ask(http, RECORDED["unknown model"][1]))
    call, output = told(services)[-2:]
    assert call["tool_calls"][0]["function"] == {"name": "exec_command", "arguments": '{"cmd": "echo hello"}'}
    assert output["role"] == "tool"
    assert output["tool_call_id"] == call["tool_calls"][0]["id"]


def test_a_tool_of_a_namespace_comes_back_under_both_names(http: httpx.Client, services: Services) -> None:
    body = RECORDED["unknown model"][0]
    choice = {"type": "function", "name": "close_agent", "namespace": "multi_agent_v1"}
    events = ask(http, body, tool_choice=choice)
    (item,) = final(events)["output"]
    assert (item["type"], item["name"], item["namespace"]) == ("function_call", "close_agent", "multi_agent_v1")
    assert isinstance(json.loads(item["arguments"])["target"], str)
    written = "".join(e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta")
    assert written == item["arguments"]
    plain = final(ask(http, body, tool_choice=choice, draft_model="off"))
    assert plain["output"][0]["arguments"] == item["arguments"], "the same without a draft"
    history = [*body["input"], item, {"type": "function_call_output", "call_id": item["call_id"], "output": "closed"}]
    final(ask(http, {**body, "input": history}))
    assert told(services)[-2]["tool_calls"][0]["function"]["name"] == "multi_agent_v1__close_agent"


def test_a_tool_that_takes_plain_text_gets_plain_text(http: httpx.Client, services: Services) -> None:
    body = RECORDED["plain text tool"][0]
    events = ask(http, body, tool_choice={"type": "custom", "name": "apply_patch"}, reasoning=None)
    response = final(events)
    assert response["status"] == "completed"
    (item,) = response["output"]
    assert (item["type"], item["name"]) == ("custom_tool_call", "apply_patch")
    assert not item["input"].startswith("{"), "the text itself, not the JSON around it"
    assert [e["input"] for e in events if e["type"] == "response.custom_tool_call_input.done"] == [item["input"]]
    output = {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "Done"}
    final(ask(http, {**body, "input": [*body["input"], item, output]}))
    (call,) = told(services)[-2]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"input": item["input"]}


def test_tools_that_come_as_an_item_count(http: httpx.Client) -> None:
    choice = {"type": "function", "name": "list_agents", "namespace": "collaboration"}
    (item,) = final(ask(http, RECORDED["scripts"][0], tool_choice=choice, reasoning=None))["output"]
    assert (item["name"], item["namespace"]) == ("list_agents", "collaboration")


def test_an_image_that_a_tool_gave_does_not_end_the_conversation(http: httpx.Client, services: Services) -> None:
    body = RECORDED["unknown model"][1]
    image = [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]
    history = [*body["input"][:-1], {**body["input"][-1], "output": image}]
    said = final(ask(http, {**body, "input": history}))["warnings"]
    assert any("input_image" in sentence for sentence in said)
    assert "cannot be read" in told(services)[-1]["content"]
