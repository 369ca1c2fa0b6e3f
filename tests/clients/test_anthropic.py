"""Anthropic's own client, unmodified: messages whole and streamed, tools, thinking, counts, models, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal, cast

import pydantic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool

from foredraft.pair.llm import LLM
from foredraft.server.anthropic import routes
from foredraft.server.context import Services
from tests.clients.conftest import Node
from tests.clients.saying import leave, saying
from tests.server import toy

ASK: list[Any] = [{"role": "user", "content": "Who?"}]
WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "The weather.",
    "input_schema": {
        "type": "object",
        "properties": {"place": {"type": "string", "maxLength": 5}},
        "required": ["place"],
        "additionalProperties": False,
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>'


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services()


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=address, api_key="none", max_retries=0) as one:
        yield one


def ask(client: Anthropic, **more: Any) -> Any:
    return client.messages.create(**{"model": "toy", "messages": ASK, "max_tokens": 40, **more})


def text(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def test_a_message_whole_and_streamed_with_and_without_a_draft(client: Anthropic) -> None:
    said = set()
    for draft in ("off", "good-draft", "bad-draft"):
        extra = {"seed": 5, "draft_model": draft}
        message = ask(client, system="Be short.", extra_body=extra)
        assert message.type == "message"
        assert message.role == "assistant"
        assert message.model == "toy"
        assert message.stop_reason in ("end_turn", "max_tokens")
        with client.messages.stream(
            model="toy", messages=ASK, max_tokens=40, system="Be short.", extra_body=extra
        ) as stream:
            streamed = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert streamed == text(final) == text(message)
        assert final.usage.output_tokens == message.usage.output_tokens
        assert final.stop_reason == message.stop_reason
        said.add(text(message))
        stats = message.stats
        assert ("draft_model" in stats) == (draft != "off")
        assert message.timings["predicted_n"] == message.usage.output_tokens
    assert len(said) == 1
    assert said != {""}


def test_counts_leave_out_what_was_in_the_cache(client: Anthropic) -> None:
    long = [{"role": "user", "content": "a cat sat on the mat " * 8}]
    counted = client.messages.count_tokens(model="toy", messages=long).input_tokens
    first = ask(client, messages=long, max_tokens=1).usage
    again = ask(client, messages=long, max_tokens=1).usage
    for usage in (first, again):
        assert usage.input_tokens + usage.cache_read_input_tokens == counted
        assert usage.cache_creation_input_tokens == 0
    assert again.cache_read_input_tokens > first.cache_read_input_tokens
    with client.messages.stream(model="toy", messages=long, max_tokens=1) as stream:
        begun = next(event for event in stream if event.type == "message_start").message.usage
        assert begun.cache_read_input_tokens == again.cache_read_input_tokens
        assert begun.input_tokens == again.input_tokens
    tools = client.messages.count_tokens(model="toy", messages=long, tools=[WEATHER]).input_tokens
    assert tools > counted


def test_a_line_of_billing_does_not_spoil_the_cache(client: Anthropic) -> None:
    def usage(version: str, tail: str) -> Any:
        system = [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version={version}; cc_entrypoint=cli;"},
            {"type": "text", "text": "You write programs. " * 10, "cache_control": {"type": "ephemeral"}},
        ]
        return ask(client, system=system, messages=[{"role": "user", "content": tail}], max_tokens=1).usage

    first = usage("2.1.197.0df", "one")
    whole = first.input_tokens + first.cache_read_input_tokens
    second = usage("2.1.198.fff", "one")
    assert second.cache_read_input_tokens >= whole - 1
    plain = client.messages.count_tokens(model="toy", system="You write programs. " * 10, messages=ASK)
    billed = client.messages.count_tokens(
        model="toy", system="x-anthropic-billing-header: cc_version=1;\n" + "You write programs. " * 10, messages=ASK
    )
    assert plain == billed


def test_how_an_answer_ended(client: Anthropic) -> None:
    whole = text(ask(client, extra_body={"seed": 5}))
    assert ask(client, max_tokens=3).stop_reason == "max_tokens"
    mark = whole[6:9]
    stopped = ask(client, stop_sequences=["never said", mark], extra_body={"seed": 5})
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", mark)
    assert text(stopped) == whole[: whole.index(mark)]
    with client.messages.stream(
        model="toy", messages=ASK, max_tokens=40, stop_sequences=[mark], extra_body={"seed": 5}
    ) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", mark)
    with saying(routes, "word"):
        assert ask(client).stop_reason == "end_turn"
    with saying(routes, "word " * 60):
        full = ask(client, model="toy-small", max_tokens=4000)
        assert full.stop_reason == "model_context_window_exceeded"


# ---- tools and thinking ----


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "weather"}])
def test_a_forced_call_is_an_object(client: Anthropic, choice: Any) -> None:
    said = []
    for draft in ("off", "good-draft"):
        more = {"tools": [WEATHER], "tool_choice": {**choice, "disable_parallel_tool_use": True}}
        message = ask(client, **more, extra_body={"seed": 3, "draft_model": draft}, max_tokens=200)
        (block,) = message.content
        assert (block.type, block.name, message.stop_reason) == ("tool_use", "weather", "tool_use")
        assert block.id.startswith("toolu_")
        assert set(block.input) == {"place"}
        with client.messages.stream(
            model="toy", messages=ASK, max_tokens=200, **more, extra_body={"seed": 3, "draft_model": draft}
        ) as stream:
            (streamed,) = stream.get_final_message().content
        assert streamed.input == block.input
        said.append(block.input)
    assert said[0] == said[1]


def test_thinking_text_and_calls_are_blocks_of_their_own(client: Anthropic) -> None:
    more: dict[str, Any] = {"tools": [WEATHER], "thinking": {"type": "adaptive"}}
    with saying(routes, "Let me see.", "</think>", "\n\n", "I ask.\n", CALL, "\n", CALL):
        message = ask(client, max_tokens=400, **more)
        with client.messages.stream(model="toy", messages=ASK, max_tokens=400, **more) as stream:
            events = [event.type for event in stream]
            final = stream.get_final_message()
        one = ask(client, max_tokens=400, tool_choice={"type": "auto", "disable_parallel_tool_use": True}, **more)
        quiet = ask(client, max_tokens=400, tools=[WEATHER], thinking={"type": "adaptive", "display": "omitted"})
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    for got in (message, final):
        thinking, words, call, _ = got.content
        assert (thinking.thinking, words.text, call.input) == ("Let me see.", "I ask.", {"place": "Oslo"})
        assert thinking.signature
        assert got.stop_reason == "tool_use"
        assert got.usage.output_tokens_details.thinking_tokens > 0
    assert final.content[0].signature == message.content[0].signature
    assert events.count("content_block_start") == events.count("content_block_stop") == 4
    assert [block.type for block in one.content] == ["thinking", "text", "tool_use"]
    assert quiet.content[0].thinking == ""
    with saying(routes, "Just this."):
        assert [block.type for block in ask(client).content] == ["text"], "who does not ask for thinking gets none"


def test_a_call_that_was_cut_is_still_an_object(client: Anthropic) -> None:
    with saying(routes, CALL[:-30]):
        message = ask(client, tools=[WEATHER], max_tokens=200)
        with client.messages.stream(model="toy", messages=ASK, max_tokens=200, tools=[WEATHER]) as stream:
            streamed = stream.get_final_message()
    assert message.content[0].type == "tool_use"
    assert isinstance(message.content[0].input, dict)
    assert streamed.content[0].type == "tool_use"


def test_the_clients_own_runner_of_tools_comes_to_an_end(client: Anthropic, services: Services) -> None:
    asked: list[str] = []

    @beta_tool
    def weather(place: str) -> str:
        """The weather.

        Args:
            place: Where.
        """
        asked.append(place)
        return "rain"

    told = iter([(CALL,), ("It rains.",)])

    real = routes.submit

    async def turns(services: Services, question: Any) -> Any:
        from dataclasses import replace

        grammar = "start: " + " ".join(json.dumps(part) for part in next(told))
        return await real(services, replace(question, grammar=grammar))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "submit", turns)
        runner = client.beta.messages.tool_runner(model="toy", max_tokens=200, messages=ASK, tools=[weather])
        final = runner.until_done()
    assert asked == ["Oslo"]
    assert text(final) == "It rains."


def test_structured_output_is_parsed(client: Anthropic) -> None:
    class Person(pydantic.BaseModel):
        size: Literal["small", "large"]

    parsed = client.messages.parse(model="toy", messages=ASK, max_tokens=100, output_format=Person)
    assert isinstance(parsed.parsed_output, Person)


# ---- conversations ----


def prompt_of(services: Services, client: Anthropic, **more: Any) -> str:
    """What the model read."""
    seen: list[str] = []
    with services.runtime.use("toy") as model, pytest.MonkeyPatch.context() as patch:
        template = type(cast(LLM, model).template)
        render = template.render

        def rendered(self: Any, *arguments: Any, **fields: Any) -> str:
            seen.append(render(self, *arguments, **fields))
            return seen[-1]

        patch.setattr(template, "render", rendered)
        client.messages.count_tokens(**{"model": "toy", "messages": ASK, **more})
    return seen[-1]


def test_blocks_become_messages(services: Services, client: Anthropic) -> None:
    ask(client, max_tokens=1)
    messages: list[Any] = [
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "user", "content": "three"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "text", "text": "and now?"},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a page"}},
            ],
        },
    ]
    system = [{"type": "text", "text": "S1"}, {"type": "text", "text": "S2"}]
    assert prompt_of(services, client, system=system, messages=messages) == (
        "[system]S1\n\nS2\n[user]one\ntwo\nthree\n[assistant]I look.\n"
        '<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>\n'
        "[tool]rain\n[user]and now?\na page\n[assistant]"
    )


def test_a_last_message_of_the_assistant_is_gone_on_with(client: Anthropic) -> None:
    begun = [*ASK, {"role": "assistant", "content": "It was"}]
    counted = [client.messages.count_tokens(model="toy", messages=messages).input_tokens for messages in (ASK, begun)]
    assert counted[0] < counted[1] <= counted[0] + len("It was"), "nothing ends it, and no other begins"
    with saying(routes, " me."):
        assert text(ask(client, messages=begun)) == " me."


def test_what_is_left_out_is_said(client: Anthropic) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    message = ask(client, tools=[search, WEATHER], thinking={"type": "enabled", "budget_tokens": 1024})
    assert any("web_search_20250305" in warning for warning in message.warnings)
    assert any("budget_tokens" in warning for warning in message.warnings)
    with client.messages.stream(model="toy", messages=ASK, max_tokens=3, tools=[search]) as stream:
        assert any("web_search" in warning for warning in stream.get_final_message().warnings)
    assert not hasattr(ask(client), "warnings")


# ---- asynchronous, leaving, JavaScript ----


def test_many_at_once(address: str) -> None:
    async def all_of_them() -> list[str]:
        async with AsyncAnthropic(base_url=address, api_key="none", max_retries=0) as client:

            async def one(seed: int) -> str:
                async with client.messages.stream(
                    model="toy", messages=ASK, max_tokens=20, extra_body={"seed": seed}
                ) as stream:
                    return await stream.get_final_text()

            return list(await asyncio.gather(*(one(seed % 4 + 1) for seed in range(8))))

    said = asyncio.run(all_of_them())
    assert said[:4] == said[4:]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_frees_its_slot(services: Services, address: str, streamed: bool) -> None:
    body = {"model": "toy", "messages": ASK, "max_tokens": 3000, "stream": streamed}
    leave(services, address, "/v1/messages", body, routes)


def test_the_javascript_client(node: Node, address: str) -> None:
    with saying(routes, "Let me see.", "</think>", "\n\n", "I ask.\n", CALL):
        said = json.loads(node("anthropic-1.14", "anthropic.cjs", address))
    assert said["streamed"] == said["whole"] == ["thinking", "text", "tool_use"]
    assert said["input"] == said["streamedInput"] == {"place": "Oslo"}
    assert said["text"] == "I ask."
    assert said["counted"] > 0
    assert "toy" in said["models"]
    assert said["missing"] == [404, "not_found_error"]
    assert said["stopReason"] == "tool_use"
    assert said["requestId"].startswith("req_")
