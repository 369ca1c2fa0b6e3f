"""The examples of LM Studio's pages on REST (lmstudio.ai/docs/developer, as of 2026-04), with another model and shorter
texts: answered with 200, or with the reason that docs/guides/lmstudio-sdk.md gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from foredraft.server.downloads import Downloads
from tests.conftest import ROOT
from tests.server import toy

PAGE = ROOT / "docs" / "guides" / "lmstudio-sdk.md"
MCP = {
    "type": "ephemeral_mcp",
    "server_label": "huggingface",
    "server_url": "https://huggingface.co/mcp",
    "allowed_tools": ["model_search"],
}
PLUGIN = {"type": "plugin", "id": "mcp/playwright", "allowed_tools": ["browser_navigate"]}
RHYMES = [
    {"role": "system", "content": "Always answer in rhymes."},
    {"role": "user", "content": "Introduce yourself."},
]
JOKE = {"type": "object", "properties": {"joke": {"type": "string"}}, "required": ["joke"]}
SEARCH = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "Search terms or product name"},
        "category": {"type": "string", "enum": ["electronics", "clothing", "home", "outdoor"]},
        "max_price": {"type": "number", "description": "Maximum price in dollars"},
    },
    "required": ["query"],
    "additionalProperties": False,
}
DELIVERY = {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]}


def tool(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


def v1(**more: Any) -> tuple[str, dict[str, Any]]:
    return "/api/v1/chat", {"model": "toy", **more}


CALLED = {"id": "1", "type": "function", "function": {"name": "get_delivery_date", "arguments": '{"order_id": "123"}'}}
CALLS: dict[str, tuple[str, Any]] = {
    "chat": v1(input="Write a short haiku about sunrise."),
    "chat, a conversation begins": v1(input="My favorite color is blue."),
    "chat, it goes on": v1(input="What color did I just mention?", previous_response_id="resp_abc123xyz..."),
    "chat, not stored": v1(input="Tell me a joke.", store=False),
    "chat, streamed": v1(input="Hello", stream=True, context_length=4096),
    "chat, an MCP server": v1(input="What is trending?", integrations=[MCP], context_length=4096),
    "chat, an MCP server with headers": v1(input="My model?", integrations=[{**MCP, "headers": {"a": "b"}}]),
    "chat, a plugin": v1(input="Open lmstudio.ai", integrations=[PLUGIN], context_length=4096),
    "chat, a plugin by its name": v1(input="Open lmstudio.ai", integrations=["mcp/playwright"], temperature=0),
    "chat, an image": v1(
        input=[{"type": "message", "content": "What is this?"}, {"type": "image", "data_url": "data:image/png;base64,"}]
    ),
    "list": ("/api/v1/models", None),
    "load": ("/api/v1/models/load", {"model": "toy", "context_length": 4096, "flash_attention": True}),
    "load, the config shown": ("/api/v1/models/load", {"model": "toy", "echo_load_config": True}),
    "unload": ("/api/v1/models/unload", {"instance_id": "toy"}),
    "download": ("/api/v1/models/download", {"model": "ibm/granite-4-micro"}),
    "download, how far": ("/api/v1/models/download/status/{job_id}", None),
    "v0: list": ("/api/v0/models", None),
    "v0: one model": ("/api/v0/models/toy", None),
    "v0: chat": (
        "/api/v0/chat/completions",
        {"model": "toy", "messages": RHYMES, "temperature": 0.7, "max_tokens": -1, "stream": False},
    ),
    "v0: chat with a time to live": ("/api/v0/chat/completions", {"model": "toy", "ttl": 300, "messages": RHYMES}),
    "v0: chat with a draft": (
        "/api/v0/chat/completions",
        {"model": "toy", "draft_model": "good-draft", "messages": RHYMES},
    ),
    "v0: text": (
        "/api/v0/completions",
        {"model": "toy", "prompt": "the meaning of life is", "temperature": 0.7, "max_tokens": 10, "stop": "\n"},
    ),
    "v0: embeddings": ("/api/v0/embeddings", {"model": "toy-embed", "input": "Some text to embed"}),
    "OpenAI: models": ("/v1/models", None),
    "OpenAI: chat": ("/v1/chat/completions", {"model": "toy", "messages": RHYMES, "temperature": 0.7}),
    "OpenAI: JSON by a schema": (
        "/v1/chat/completions",
        {
            "model": "toy",
            "messages": RHYMES,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "joke_response", "strict": "true", "schema": JOKE},
            },
            "max_tokens": 50,
        },
    ),
    "OpenAI: tools": (
        "/v1/chat/completions",
        {
            "model": "toy",
            "messages": [{"role": "user", "content": "What dell products do you have under $50 in electronics?"}],
            "tools": [tool("search_products", SEARCH)],
        },
    ),
    "OpenAI: tools, what came of them": (
        "/v1/chat/completions",
        {
            "model": "toy",
            "messages": [
                {"role": "user", "content": "When will order 123 be delivered?"},
                {"role": "assistant", "tool_calls": [CALLED]},
                {"role": "tool", "content": "2024-03-15", "tool_call_id": "1"},
            ],
            "tools": [tool("get_delivery_date", DELIVERY)],
        },
    ),
    "OpenAI: embeddings": ("/v1/embeddings", {"input": ["Once upon a time, there was a cat."], "model": "toy-embed"}),
    "OpenAI: responses": (
        "/v1/responses",
        {"model": "toy", "input": "Provide a prime number less than 50", "reasoning": {"effort": "low"}},
    ),
    "OpenAI: responses, it goes on": (
        "/v1/responses",
        {"model": "toy", "input": "Multiply it by 2", "previous_response_id": "resp_123"},
    ),
    "OpenAI: responses, streamed": ("/v1/responses", {"model": "toy", "input": "Hello", "stream": True}),
    "OpenAI: responses, an MCP server": (
        "/v1/responses",
        {
            "model": "toy",
            "input": "What is the main header on lmstudio.ai?",
            "tools": [{"type": "mcp", "server_label": "exa", "server_url": "https://mcp.exa.ai/mcp"}],
        },
    ),
    "Anthropic: messages": (
        "/v1/messages",
        {"model": "toy", "max_tokens": 256, "messages": [{"role": "user", "content": "Write a haiku."}]},
    ),
}


def rows() -> dict[str, str]:
    """The page's table: what is called, and what comes of it."""
    text = PAGE.read_text(encoding="utf-8").partition("call by call")[2]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[2] for cells in lines[1:]}


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    def fetch(name: str, quantisation: str, report: Any) -> bool:
        report(10, 10)
        return True

    of = toy.services()
    of.downloads = Downloads(fetch)
    with toy.serving(of) as address, httpx.Client(base_url=address, timeout=60) as one:
        yield one


def test_the_table_names_every_call() -> None:
    assert list(rows()) == list(CALLS)
    assert len(CALLS) == 34


@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_of_the_documentation(http: httpx.Client, name: str) -> None:
    path, body = CALLS[name]
    before: dict[str, Any] = {}
    if path == "/api/v1/models/unload":
        http.post("/api/v1/models/load", json={"model": "toy"})
    elif path == "/api/v1/models/load":
        http.post("/api/v1/models/unload", json={"instance_id": "toy"})
    if "{job_id}" in path:
        path = path.format(**http.post("/api/v1/models/download", json={"model": "a/b"}).json())
    if (body or {}).get("previous_response_id"):
        question = {"model": "toy", "input": "Blue."}
        before = http.post(path, json=question).json()
        body = {**body, "previous_response_id": before.get("response_id") or before["id"]}
    if body is not None:  # a toy knows no end of its own
        limit = "max_output_tokens" if path in ("/api/v1/chat", "/v1/responses") else "max_tokens"
        answers = path.rpartition("/")[2] in ("chat", "completions", "responses")
        body = {limit: 50, **body} if answers and body.get(limit) != -1 else body
    answer = http.get(path) if body is None else http.post(path, json=body)
    said = rows()[name]
    if said.startswith("200"):
        assert answer.status_code == 200, answer.text
        assert answer.text if (body or {}).get("stream") else isinstance(json.loads(answer.text), dict)
    else:
        assert answer.status_code == int(said[:3]) >= 400, answer.text
        assert said.partition(": ")[2], "the reason"
