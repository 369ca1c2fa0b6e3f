"""Tool calls of families whose marks are control tokens, and answers that go on with what is there, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from foredraft.engines.toy import ToyEngine, ToyTokenizer
from foredraft.formats.source import CODED
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.preparing import Preparation
from foredraft.runtime.managed_model import LoadSpec, Progress
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import ServerSettings, Services
from tests.formats import own_templates
from tests.server import toy


def without_thinking(template: str) -> str:
    """For models that say anything: one that may think first might never end."""
    return template.replace("<think>", "").replace("</think>", "")


FAMILIES: dict[str, tuple[str, list[str]]] = {
    "tagged": (without_thinking(own_templates.HERMES), ["<|im_start|>", "<|im_end|>"]),
    "glm": (
        without_thinking(own_templates.KEYS),
        ["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"],
    ),
    "mistral": (own_templates.NINE, ["[TOOL_CALLS]", "[ARGS]", "[INST]", "[/INST]"]),
    "harmony": (
        own_templates.MESSAGES,
        ["<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|constrain|>"],
    ),
    "deepseek-r1": (
        own_templates.NONE_CONTENT,
        [
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
        ],
    ),
    "pythonic": (own_templates.NO_CALLS, ["<|tool_list_start|>", "<|tool_call_start|>", "<|tool_call_end|>"]),
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a place.",
            "parameters": {
                "type": "object",
                "properties": {"unit": {"enum": ["c", "f"]}, "days": {"enum": [1, 2, 3]}, "sure": {"type": "boolean"}},
                "required": ["unit", "days", "sure"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]
ASK: list[Any] = [{"role": "user", "content": "Which?"}]


def load(spec: LoadSpec, progress: Progress) -> toy.ToyLLM:
    template, names = FAMILIES[spec.model]
    plain = ToyTokenizer.of_size(toy.N_VOCAB)
    words = [plain.piece(token) for token in range(plain.n_vocab)]
    control = {0: "<s>", 1: "</s>"} | {plain.n_vocab + number: name for number, name in enumerate(names)}
    ends = frozenset(token for token, name in control.items() if name in ("<|call|>", "<|return|>", "<|im_end|>"))
    tokenizer = ToyTokenizer([*words, *[b""] * len(names)], control=control, bos=0, eos=1, eog=ends, add_bos=True)
    engine = ToyEngine.random(
        3,
        n_vocab=tokenizer.n_vocab,
        order=1,
        sharpness=2.0,
        n_slots=4,
        n_ctx=4096,
        n_batch=256,
        name=spec.model,
        chat_template=template,
        tokenizer=tokenizer,
    )
    model = toy.ToyLLM(engine)
    model.set_draft(spec.draft)
    return model


class Shelf(toy.ToyShelf):
    NAMES = tuple(FAMILIES)  # type: ignore[assignment]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with toy.serving(Services(Runtime(load), Shelf(), ServerSettings())) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one:
        yield one


def whole(client: openai.OpenAI, **request: Any) -> list[tuple[str, Any]]:
    choice = client.chat.completions.create(**request).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert not (choice.message.content or "").strip()
    return [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls]


def streamed(client: openai.OpenAI, **request: Any) -> list[tuple[str, Any]]:
    calls: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(stream=True, **request):
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or ():
                if part.function.name:
                    calls[part.index] = [part.function.name, ""]
                calls[part.index][1] += part.function.arguments or ""
    return [(name, json.loads(arguments)) for name, arguments in calls.values()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("choice", ["required", "weather"])
def test_a_forced_call_is_the_same_streamed_whole_and_with_any_draft(
    client: openai.OpenAI, family: str, choice: str
) -> None:
    named = choice if choice == "required" else {"type": "function", "function": {"name": choice}}
    if family == "harmony":
        pytest.skip("it may think first, and this model might never end; the grammar is tried in test_forcing.py")
    for seed in range(3):
        said = []
        for draft in ("off", "good-draft", "bad-draft"):
            request: dict[str, Any] = {
                "model": family,
                "messages": ASK,
                "tools": TOOLS,
                "tool_choice": named,
                "parallel_tool_calls": False,
                "temperature": 1.0,
                "seed": seed,
                "max_tokens": 600,
                "extra_body": {"draft_model": draft},
            }
            said += [whole(client, **request), streamed(client, **request)]
        assert all(one == said[0] for one in said)
        assert len(said[0]) == 1
        name, arguments = said[0][0]
        if name == "weather":
            assert set(arguments) == {"unit", "days", "sure"}
            assert arguments["unit"] in ("c", "f")
            assert arguments["days"] in (1, 2, 3)
            assert isinstance(arguments["sure"], bool)
        else:
            assert (name, arguments, choice) == ("clock", {}, "required")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_goes_on_after_a_call(client: openai.OpenAI, family: str) -> None:
    request: dict[str, Any] = {"model": family, "tools": TOOLS, "seed": 1, "max_tokens": 300}
    forced = {"type": "function", "function": {"name": "clock"}}
    first = client.chat.completions.create(messages=ASK, tool_choice=forced, **request).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "12:00"}
    again = client.chat.completions.create(messages=[*ASK, first, result], tool_choice="none", **request)
    assert again.choices[0].message.tool_calls is None


def prompt_tokens(client: openai.OpenAI, messages: list[Any], **more: Any) -> int:
    answer = client.chat.completions.create(
        model="tagged", messages=messages, max_tokens=1, temperature=0, extra_body=more or None
    )
    return answer.usage.prompt_tokens


def test_the_last_message_of_the_assistant_is_gone_on_with(client: openai.OpenAI) -> None:
    begun = [*ASK, {"role": "assistant", "content": "The"}]
    plain = prompt_tokens(client, ASK)
    assert prompt_tokens(client, begun) == plain + len("The")
    assert prompt_tokens(client, begun, continue_final_message=True, add_generation_prompt=False) == plain + len("The")
    assert prompt_tokens(client, begun, continue_final_message=False) > plain + len("The") + 10
    assert prompt_tokens(client, [*ASK, {"role": "assistant", "content": ""}]) == plain


def test_going_on_with_a_question_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="continue_final_message"):
        prompt_tokens(client, ASK, continue_final_message=True)


def test_another_form_can_be_asked_for(client: openai.OpenAI, address: str) -> None:
    request: dict[str, Any] = {"model": "tagged", "messages": ASK, "tools": TOOLS, "tool_choice": "required"}
    answer = client.chat.completions.create(
        max_tokens=600, seed=1, parallel_tool_calls=False, extra_body={"tool_format": "glm"}, **request
    )
    assert answer.choices[0].message.tool_calls[0].function.name in ("weather", "clock")
    refused = httpx.post(f"{address}/v1/chat/completions", json={**request, "tool_format": "nobody"})
    assert refused.status_code == 400
    assert "qwen-xml" in refused.json()["error"]["message"]


@pytest.mark.parametrize("name", FAMILIES)
def test_prompts_have_control_tokens_by_their_names(name: str) -> None:
    """Where a template leaves the calls of earlier turns out, or thinking that is gone on with, we write them."""
    noon = {"role": "tool", "tool_call_id": "call12345", "content": "noon"}
    call = {"id": "call12345", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    turns: list[list[Any]] = [
        [*ASK, {"role": "assistant", "content": "", "tool_calls": [call]}, noon, *ASK],
        [*ASK, {"role": "assistant", "content": "It is", "reasoning_content": "noon"}],
    ]
    model = load(LoadSpec(name), lambda *_: None)
    for messages in turns:
        prompt = Preparation().text(model.engine, GenerationRequest(messages=messages, tools=TOOLS))
        assert CODED.search(prompt) is None
        assert "clock" in prompt or "It is" in prompt
