"""JSON by schema, tools, thinking, predictions: the same with and without a draft."""

from __future__ import annotations

import json
from typing import Any

import llguidance
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foredraft.formats.answer_grammar import tools_grammar
from foredraft.formats.table import BARE
from foredraft.grammars.constraints import GrammarError
from tests.harden.chains import CHAINS

ASK = [{"role": "user", "content": "Who?"}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "job": {"enum": ["cook", "judge"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
    },
    "required": ["name", "age", "job", "tags"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather of a place.",
            "parameters": {
                "type": "object",
                "properties": {"place": {"type": "string", "maxLength": 5}, "days": {"enum": [1, 2, 3]}},
                "required": ["place", "days"],
                "additionalProperties": False,
            },
        },
    },
    {"type": "function", "function": {"name": "clock"}},
]
DRAFTS = ("off", "good-draft", "bad-draft")


def ask(client: openai.OpenAI, **more):
    more.setdefault("max_tokens", 300)
    return client.chat.completions.create(model="toy", messages=more.pop("messages", ASK), temperature=1.0, **more)


def by_schema(schema: Any) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def check_person(text: str) -> None:
    person = json.loads(text)
    assert set(person) == {"name", "age", "job", "tags"}
    assert len(person["name"]) <= 6
    assert 0 <= person["age"] <= 150
    assert person["job"] in ("cook", "judge")
    assert all(isinstance(tag, bool) for tag in person["tags"])


def test_json_by_schema_is_valid_at_temperature_1_with_any_draft(client: openai.OpenAI) -> None:
    for seed in range(8):
        texts = set()
        for draft in DRAFTS:
            answer = ask(client, seed=seed, response_format=by_schema(PERSON), extra_body={"draft_model": draft})
            assert answer.choices[0].finish_reason == "stop"
            texts.add(answer.choices[0].message.content)
        assert len(texts) == 1, "the same seed gives the same JSON whoever guesses"
        check_person(texts.pop())


leaves = st.sampled_from([{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": 99}, {"enum": ["a", "b"]}])
schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("pqrs"), inner, min_size=1, max_size=3).map(
            lambda parts: {
                "type": "object",
                "properties": parts,
                "required": list(parts),
                "additionalProperties": False,
            }
        ),
        inner.map(lambda part: {"type": "array", "items": part, "maxItems": 2}),
    ),
    max_leaves=4,
)


def conforms(value: Any, schema: dict[str, Any]) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "object":
        inner = schema["properties"]
        return set(value) == set(inner) and all(conforms(value[key], inner[key]) for key in inner)
    if schema["type"] == "array":
        return isinstance(value, list) and len(value) <= 2 and all(conforms(part, schema["items"]) for part in value)
    if schema["type"] == "boolean":
        return isinstance(value, bool)
    return isinstance(value, int) and 0 <= value <= 99


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schemas, st.integers(0, 1000), st.sampled_from(DRAFTS))
def test_any_schema_is_kept(client: openai.OpenAI, schema: dict[str, Any], seed: int, draft: str) -> None:
    answer = ask(client, seed=seed, response_format=by_schema(schema), extra_body={"draft_model": draft})
    assert conforms(json.loads(answer.choices[0].message.content), schema)


def test_all_choices_share_one_compiled_schema(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """And each is the answer that it is alone."""
    compiled = []
    real = llguidance.LLMatcher

    class Counted:
        def __new__(cls, tokenizer: Any, grammar: str, **more: Any) -> Any:
            compiled.append(grammar)
            return real(tokenizer, grammar, **more)

    monkeypatch.setattr("llguidance.LLMatcher", Counted)
    form = by_schema({**PERSON, "title": "somebody that no other test asks for"})
    together = [choice.message.content for choice in ask(client, response_format=form, n=4, seed=5).choices]
    alone = [ask(client, response_format=form, seed=5 + i).choices[0].message.content for i in range(4)]
    assert together == alone
    assert len(set(together)) > 1
    assert len(compiled) == 1


def test_json_object_is_an_object(client: openai.OpenAI) -> None:
    answer = ask(client, seed=1, response_format={"type": "json_object"}, max_tokens=2000, logit_bias={"70": -50})
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)
    assert answer.choices[0].message.content.startswith("{")


@pytest.mark.parametrize(
    ("schema", "param"),
    [
        ({"type": "objec"}, "response_format.json_schema.schema"),
        (
            {"type": "object", "properties": {"a": {"type": "string", "pattern": "(("}}},
            "response_format.json_schema.schema.properties.a",
        ),
        (
            {"anyOf": [{"type": "string"}, {"items": 3, "type": "array"}]},
            "response_format.json_schema.schema.anyOf.1.items",
        ),
    ],
)
def test_a_bad_schema_is_refused_with_its_path(client: openai.OpenAI, schema: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, response_format=by_schema(schema))
    assert refused.value.param == param


def chain(length: int) -> dict[str, Any]:
    return CHAINS["object $ref"](length)[1]


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": by_schema(chain(600))},
        {"response_format": {"type": "grammar", "grammar": CHAINS["rules"](600)[1]}},
        {"response_format": by_schema(CHAINS["nested items"](200)[1])},
    ],
    ids=["schema", "grammar", "nesting"],
)
def test_a_schema_beyond_the_limits_is_refused_and_the_server_goes_on(client: openai.OpenAI, body: Any) -> None:
    """Of a length that is bearable without limits; `tests/grammars/test_limits.py` has the deadly ones."""
    with pytest.raises(openai.BadRequestError, match=r"at most \d+"):
        ask(client, extra_body=body)
    assert ask(client, max_tokens=1).choices


def test_the_limits_are_those_of_tools_too() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": chain(600)}}
    with pytest.raises(GrammarError, match=r"chain of 501 definitions or more, .* at most 500"):
        tools_grammar([tool], BARE, several=False, thinking=False)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_forced_tool_call_has_valid_arguments(client: openai.OpenAI, choice: Any) -> None:
    calls = []
    for draft in DRAFTS:
        asked = {"tools": TOOLS, "tool_choice": choice, "seed": 3, "parallel_tool_calls": False}
        answer = ask(client, extra_body={"draft_model": draft}, **asked)
        message = answer.choices[0].message
        assert answer.choices[0].finish_reason == "tool_calls"
        assert message.content is None
        (call,) = message.tool_calls
        calls.append((call.function.name, call.function.arguments))
    assert len(set(calls)) == 1
    name, arguments = calls[0]
    if name == "weather":
        said = json.loads(arguments)
        assert len(said["place"]) <= 5
        assert said["days"] in (1, 2, 3)
    else:
        assert name == "clock"
        assert json.loads(arguments) == {}
    if choice != "required":
        assert name == "weather"


def test_tools_have_definitions_of_their_own_and_need_not_say_that_arguments_are_an_object(
    client: openai.OpenAI,
) -> None:
    def tool(name: str, of: Any) -> Any:
        parameters = {"$defs": {"of": of}, "properties": {"a": {"$ref": "#/$defs/of"}}, "required": ["a"]}
        return {"type": "function", "function": {"name": name, "parameters": parameters}}

    tools = [tool("yes", {"const": True}), tool("seven", {"const": 7})]
    for name, value in (("yes", True), ("seven", 7)):
        choice: Any = {"type": "function", "function": {"name": name}}
        answer = ask(client, tools=tools, tool_choice=choice, seed=1)
        assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"a": value}
    either = ask(client, tools=tools, tool_choice="required", parallel_tool_calls=False, seed=1)
    (call,) = either.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) in (("yes", {"a": True}), ("seven", {"a": 7}))


def test_arguments_are_streamed(client: openai.OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "weather"}}
    asked: Any = {"tools": TOOLS, "tool_choice": choice, "seed": 3}
    whole = ask(client, **asked).choices[0].message.tool_calls[0]
    names, arguments, chunks = [], "", 0
    for chunk in ask(client, stream=True, **asked):
        for call in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if call.function.name:
                names.append(call.function.name)
            arguments += call.function.arguments or ""
            chunks += 1
    assert names == ["weather"]
    assert arguments == whole.function.arguments
    assert chunks > 2


def test_a_tools_answer_goes_back_into_the_conversation(client: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    messages = [*ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]
    messages.append({"role": "tool", "tool_call_id": "c1", "content": "12:00"})
    assert ask(client, messages=messages, tools=TOOLS, max_tokens=5).usage.prompt_tokens > 10


def test_forced_tokens_are_guessed_for_free(client: openai.OpenAI) -> None:
    """Also without a draft model: what the schema prescribes is put before the model at once."""
    schema = {
        "type": "object",
        "properties": {"the_one_and_only_key": {"const": "the only value"}},
        "required": ["the_one_and_only_key"],
        "additionalProperties": False,
    }
    body = {"speculative": {"explain": True}, "draft_model": "good-draft"}
    answer = ask(client, seed=1, response_format=by_schema(schema), extra_body=body)
    assert json.loads(answer.choices[0].message.content) == {"the_one_and_only_key": "the only value"}
    explain = answer.choices[0].explain
    assert explain["by_source"]["grammar"]["accepted"] > 10
    assert explain["rounds"] < explain["tokens"] / 2


def test_thinking_is_apart_from_the_answer(client: openai.OpenAI) -> None:
    grammar = 'start: "so I think" "</think>" "\\n\\n" "the answer"'
    body = {
        "chat_template_kwargs": {"enable_thinking": True},
        "response_format": {"type": "grammar", "grammar": grammar},
    }
    answer = ask(client, extra_body=body)
    assert answer.choices[0].message.reasoning_content == "so I think"
    assert answer.choices[0].message.content == "the answer"
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens < answer.usage.completion_tokens
    streamed = {"reasoning_content": "", "content": ""}
    for chunk in ask(client, stream=True, extra_body=body):
        for field in streamed:
            streamed[field] += getattr(chunk.choices[0].delta, field, None) or ""
    assert streamed == {"reasoning_content": "so I think", "content": "the answer"}


def test_a_prediction_is_a_free_draft(client: openai.OpenAI) -> None:
    text = ask(client, seed=2, max_tokens=60, extra_body={"draft_model": "off"}).choices[0].message.content
    body = {"speculative": {"method": "prediction"}, "draft_model": "good-draft"}
    answer = ask(client, seed=2, max_tokens=60, prediction={"type": "content", "content": text}, extra_body=body)
    assert answer.choices[0].message.content == text
    details = answer.usage.completion_tokens_details
    assert details.accepted_prediction_tokens > 20
    wrong = {"type": "content", "content": text[:20] + " cat" * 20}
    answer = ask(client, seed=2, max_tokens=60, prediction=wrong, extra_body=body)
    assert answer.choices[0].message.content == text
    assert answer.usage.completion_tokens_details.rejected_prediction_tokens > 0
