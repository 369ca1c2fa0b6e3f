"""A trained coder calls tools, goes on with an answer, and says the same streamed, whole, with and without a draft."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

import openai
import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from tests.real.conftest import RealFile
from tests.server import toy

pytestmark = pytest.mark.real
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "The city."},
                    "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                },
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "get_time", "description": "The time now."}},
]
ASK: list[Any] = [{"role": "user", "content": "What is the weather in Oslo, in celsius?"}]
NAMED = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.timeout(1800)
def test_a_coder_calls_tools(real_file: RealFile) -> None:
    main, draft = real_file("qwen-1.5b"), real_file("qwen-0.5b")
    settings = LoadSettings(context=1024, numerics="fast", probe=False, slots=1, remember=False, threads=os.cpu_count())
    runtime = Runtime(lambda spec, progress: LLM.load(main, draft, settings=settings))
    asyncio.run(runtime.load(LoadSpec("coder", id="coder", ttl_s=None)))
    services = Services(runtime, default_model="coder")
    with toy.serving(services) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:

        def said(draft: str, *, streamed: bool, **request: Any) -> tuple[str, list[list[str]]]:
            """(content, [name, arguments] of each call)."""
            request = {
                "model": "coder",
                "messages": ASK,
                "temperature": 0,
                "max_tokens": 80,
                "extra_body": {"draft_model": draft},
                **request,
            }
            if not streamed:
                message = client.chat.completions.create(**request).choices[0].message
                calls = [[call.function.name, call.function.arguments] for call in message.tool_calls or ()]
                return message.content or "", calls
            content, parts = "", {}
            for chunk in client.chat.completions.create(stream=True, **request):
                for choice in chunk.choices:
                    content += choice.delta.content or ""
                    for call in choice.delta.tool_calls or ():
                        parts.setdefault(call.index, [call.function.name, ""])[1] += call.function.arguments or ""
            return content, list(parts.values())

        def same(**request: Any) -> tuple[str, list[list[str]]]:
            ways = [said(draft, streamed=way, **request) for draft in ("off", "auto") for way in (False, True)]
            assert ways == [ways[0]] * 4
            return ways[0]

        for choice in ("required", "auto"):
            content, calls = same(tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
            assert [name for name, _ in calls] == ["get_weather"], content
            assert json.loads(calls[0][1])["city"] == "Oslo"
            assert not content.strip()
        assert same(tools=TOOLS, tool_choice=NAMED) == ("", [["get_time", "{}"]])

        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
        }
        turn = [*ASK, {"role": "assistant", "tool_calls": [call]}]
        result = {"role": "tool", "tool_call_id": "call_1", "content": "7 degrees, rain"}
        content, calls = same(messages=[*turn, result])
        assert "7 degrees" in content
        assert calls == []

        capital = {"role": "user", "content": "What is the capital of France?"}
        content, _ = same(messages=[capital, {"role": "assistant", "content": "The capital of"}])
        assert content.startswith(" France is Paris")
