"""What models write is read: calls, thinking, and what is neither stays text."""

from __future__ import annotations

import json

import pytest

from foredraft.formats.response_parser import CallArguments, CallStarted, ResponseParser
from foredraft.formats.table import BARE, LISTED, TAGGED, form_of
from tests.formats.samples import SAMPLES, TOOLS, Sample, bound, pieces, read


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.family)
@pytest.mark.parametrize("shown", [True, False], ids=["spelled", "tokens"])
@pytest.mark.parametrize("before", ["", "I look.\n"])
def test_a_call_of_each_family_is_read(sample: Sample, shown: bool, before: str) -> None:
    if before and (sample.template in ('"parameters"', ">>>all") or sample.family.startswith(("gpt-oss", "Muse"))):
        pytest.skip("a call of this family stands alone, or behind a mark")
    form, tokens = (form_of(sample.template), {}) if shown else bound(form_of(sample.template))
    reader = ResponseParser(False, form, tools=TOOLS)
    reader.read(pieces(before + sample.text, tokens))
    reader.end()
    assert [(call.name, json.loads(call.arguments)) for call in reader.calls] == [("get_weather", {"city": "Oslo"})]
    assert reader.content == before.strip()
    assert reader.reasoning == ""


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.family)
def test_without_tools_nothing_is_taken_for_a_call(sample: Sample) -> None:
    reader = read(sample.text, form_of(sample.template).without_calls(), size=2)
    assert not reader.calls


@pytest.mark.parametrize("form", [BARE, LISTED], ids=lambda form: form.name)
@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": 2}]', '{"a": 1}', "[1, 2]", "[", "{", '{"name": "Bob", "age": 3}'])
def test_json_that_is_no_call_is_content(form, text: str) -> None:
    for size in (1, 2, 100):
        reader = read(text, form, size, tools=TOOLS)
        assert (reader.content, reader.calls) == (text, [])


def test_a_bare_call_of_an_unknown_tool_is_content() -> None:
    text = '{"name": "Bob", "parameters": {"a": 1}}'
    assert read(text, BARE, 3, tools=TOOLS).content == text
    assert read(text, BARE, 3).calls[0].name == "Bob"


@pytest.mark.parametrize("before", ["```json\n", ""])
def test_a_call_without_its_tags_is_read_where_the_tool_is_known(before: str) -> None:
    after = "\n```" if before else ""
    text = before + '{"name": "get_weather", "arguments": {"city": "Oslo"}}' + after
    for size in (1, 7, 100):
        reader = read(text, TAGGED, size, tools=TOOLS)
        assert [(call.name, call.arguments) for call in reader.calls] == [("get_weather", '{"city": "Oslo"}')]
        assert reader.content == ""
        assert read(text, TAGGED, size).content == text
        other = text.replace("get_weather", "nobody")
        assert read(other, TAGGED, size, tools=TOOLS).content == other


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\nnot JSON\n</tool_call>",
        "<tool_call> and </tool_call> are tags.",
        'Say <tool_call>\n{"name" 1}\n</tool_call>',
        "<tool_call",
        "<tool_call>",
    ],
)
def test_what_only_looks_like_a_call_stays_text(text: str) -> None:
    for size in (1, 5, 100):
        reader = read(text, TAGGED, size, tools=TOOLS)
        assert (reader.content, reader.calls) == (text, [])


def test_text_behind_a_call_is_not_lost() -> None:
    call = '<tool_call>\n{"name": "now", "arguments": {}}'
    reader = read(f"{call}\n</tool_call>\nDone.", TAGGED, 4)
    assert (reader.content, len(reader.calls)) == ("Done.", 1)
    assert read(f"{call} Done.", TAGGED, 4).content == "Done."


def test_a_call_that_is_cut_keeps_what_there_is() -> None:
    reader = read('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Os', TAGGED, 3)
    assert reader.calls[0].arguments == '{"city": "Os'
    form = form_of("<tool_call>\n<function=")
    reader = read("<tool_call>\n<function=get_weather>\n<parameter=city>\nOs", form, 3, tools=TOOLS)
    assert reader.calls[0].arguments == '{"city": "Os'
    assert read('<tool_call>\n{"na', TAGGED, 3).content == '<tool_call>\n{"na'


def test_arguments_stream_as_json_text_whatever_the_form() -> None:
    form = form_of("<tool_call>\n<function=")
    text = (
        "<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n3\n</parameter>\n"
        '<parameter=options>\n{"exact": true}\n</parameter>\n</function>\n</tool_call>'
    )
    reader = ResponseParser(False, form, tools=TOOLS)
    deltas = [delta for character in text for delta in reader.feed(character)] + reader.end()
    assert isinstance(deltas[0], CallStarted)
    texts = [delta.text for delta in deltas if isinstance(delta, CallArguments)]
    assert texts == ['{"city": "12"', ', "days": 3', ', "options": {"exact": true}', "}"]


def test_a_control_token_is_not_taken_from_its_spelling() -> None:
    form, tokens = bound(form_of("[TOOL_CALLS] [ARGS]"))
    reader = ResponseParser(False, form, tools=TOOLS)
    said = "Mistral writes [TOOL_CALLS]now[ARGS]{} for a call."
    reader.read(pieces(said, {}))
    reader.end()
    assert (reader.content, reader.calls) == (said, [])
    assert tokens


THOUGHTS = [
    ("Qwen3, R1", "</think>", "<think>\nTHOUGHT\n</think>\n\nANSWER"),
    ("Magistral", "[/THINK]", "[THINK]THOUGHT[/THINK]ANSWER"),
    ("Seed-OSS", "</seed:think>", "<seed:think>THOUGHT</seed:think>ANSWER"),
    ("Gemma 4", "<|tool_call> <tool_call|>", "<|channel>thought\nTHOUGHT<channel|>ANSWER"),
    ("MiniMax M3", "</mm:think>", "<mm:think>THOUGHT</mm:think>ANSWER"),
    ("Command A", "<|END_THINKING|>", "<|START_THINKING|>THOUGHT<|END_THINKING|>ANSWER"),
    ("Apriel", "[BEGIN FINAL RESPONSE]", "Here are my reasoning steps:\nTHOUGHT\n[BEGIN FINAL RESPONSE]\nANSWER"),
    ("Granite 3.3", "</think><response>", "<think>THOUGHT</think><response>ANSWER</response>"),
    ("Hunyuan", "tool_sep arg_key", "<think:opensource>THOUGHT</think:opensource>ANSWER"),
    (
        "gpt-oss",
        "<|channel|> <|message|> to=",
        "<|channel|>analysis<|message|>THOUGHT<|end|><|start|>assistant<|channel|>final<|message|>ANSWER<|return|>",
    ),
    ("Muse", "<atem:", " to=self<|message|>THOUGHT<|eom|><|start|>assistant to=user<|message|>ANSWER<|eot|>"),
    (
        "Solar",
        "<|tool_call:begin|>",
        "<|think|>THOUGHT<|end|><|begin|>assistant<|content|>ANSWER<|end|>",
    ),
    (
        "Kimi K3",
        "<|open|> <|sep|>",
        "<|open|>think<|sep|>THOUGHT<|close|>think<|sep|><|open|>response<|sep|>ANSWER<|close|>response<|sep|>",
    ),
    ("thinking opened where it cannot be seen", "</think>", "THOUGHT\n</think>\n\nANSWER"),
]


@pytest.mark.parametrize(("family", "template", "text"), THOUGHTS, ids=[family for family, _, _ in THOUGHTS])
@pytest.mark.parametrize("shown", [True, False], ids=["spelled", "tokens"])
def test_thinking_of_each_family_is_read_with_and_without_tools(
    family: str, template: str, text: str, shown: bool
) -> None:
    whole = form_of(template)
    for form in (whole, whole.without_calls()):
        form, tokens = (form, {}) if shown else bound(form)
        for size in (1, 4, 1000):
            reader = ResponseParser(False, form)
            reader.read(pieces(text, tokens, size))
            reader.end()
            assert (reader.reasoning.strip(), reader.content) == ("THOUGHT", "ANSWER")


def test_the_word_think_in_an_answer_is_text() -> None:
    said = "The tag <think> opens thinking, </think> closes it."
    assert read(said, form_of("")).content == said


def test_tokens_of_thinking_are_counted() -> None:
    reader = ResponseParser(True, form_of("</think>"))
    reader.read(pieces("abc</think>def", {}, 1))
    reader.end()
    assert (reader.reasoning, reader.content, reader.reasoning_tokens) == ("abc", "def", len("abc</think>"))


def test_a_call_between_thoughts() -> None:
    text = '<think>a</think><tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n<think>b</think>c'
    reader = read(text, form_of("</think> <tool_call>"), 2)
    assert (reader.reasoning, reader.content, len(reader.calls)) == ("ab", "c", 1)


def test_content_that_was_begun_is_gone_on_with() -> None:
    assert read(' {"a": 1}', BARE, begun=True, tools=TOOLS).content == ' {"a": 1}'
    assert read(" France", form_of("</think>"), begun=True).content == " France"
