"""Conversations in the form that each template accepts, and answers that go on with what is there."""

from __future__ import annotations

import re
from typing import Any

import pytest

from foredraft.formats.history import abilities_of, accepted
from foredraft.formats.prefill import beginning_of, continued
from foredraft.formats.table import form_of
from foredraft.formats.tool_prompt import describe_tools
from foredraft.formats.writing import arguments_of
from foredraft.models.template import ChatTemplate
from tests.conftest import SHARED_DATA
from tests.formats import own_templates as own
from tests.formats.samples import TOOLS, called, read

TEMPLATES = sorted((SHARED_DATA / "templates").glob("*.jinja"))
ASKED = {"role": "user", "content": "What time is it?"}


def turn(*calls: dict[str, Any], content: str = "") -> list[dict[str, Any]]:
    results = [{"role": "tool", "tool_call_id": call["id"], "content": f"result {n}"} for n, call in enumerate(calls)]
    return [ASKED, {"role": "assistant", "content": content, "tool_calls": list(calls)}, *results]


def written(source: str, messages: list[Any]) -> str:
    template = ChatTemplate(source, bos="<s>", eos="</s>")
    return template.render(accepted(messages, form_of(source), abilities_of(template)), tools=TOOLS)


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ("", {}),
        ("{}", {}),
        ("null", {}),
        (None, {}),
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        ('{"a": "b', {"arguments": '{"a": "b'}),
        ("[1]", {"arguments": [1]}),
    ],
)
def test_arguments_become_an_object(arguments: Any, right: Any) -> None:
    assert arguments_of(called("f", arguments)) == right


@pytest.mark.parametrize("name", sorted(set(own.ALL) - {"NO_SYSTEM", "DROPS_THINKING"}))
@pytest.mark.parametrize("arguments", ["", '{"a": "b'], ids=["empty", "cut"])
def test_a_conversation_with_such_a_call_goes_on(name: str, arguments: str) -> None:
    text = written(own.ALL[name], turn(called("now", arguments, "call_1")))
    assert "now" in text
    assert "result 0" in text


def test_ids_have_the_form_that_mistral_wants_and_still_belong_together() -> None:
    calls = [called("now", "{}", f"call_{number}") for number in range(2)]
    source = own.NINE.replace("[TOOL_RESULTS]", "[TOOL_RESULTS]{{ m.tool_call_id }} ").replace(
        "[ARGS]", "[CALL_ID]{{ c.id }}[ARGS]"
    )
    text = written(source, turn(*calls))
    ids = re.findall(r"\[CALL_ID\](\w+)", text)
    assert [len(call_id) for call_id in ids] == [9, 9]
    assert ids[0] != ids[1]
    assert re.findall(r"\[TOOL_RESULTS\](\w+)", text) == ids


def test_ids_that_a_reader_makes_are_accepted_on_the_next_turn() -> None:
    form = form_of(own.NINE)
    reader = read("[TOOL_CALLS]now[ARGS]{}", form, tools=TOOLS)
    messages = turn(called("now", "{}", reader.calls[0].id))
    assert reader.calls[0].id in ChatTemplate(
        own.NINE.replace("[TOOL_RESULTS]", "{{ m.tool_call_id }}"), eos="</s>"
    ).render(messages)


def test_a_template_for_one_call_gets_one_at_a_time() -> None:
    calls = [called("now", "{}", "a"), called("get_weather", '{"city": "Oslo"}', "b")]
    text = written(own.ONE_CALL, turn(*calls))
    assert text.index("now") < text.index("result 0") < text.index("get_weather") < text.index("result 1")


def test_text_beside_calls_is_not_lost_where_a_template_would_leave_the_calls_out() -> None:
    text = written(own.NONE_CONTENT, turn(called("now", "{}"), content="I look."))
    assert "I look." in text
    assert "now" in text


def test_calls_are_written_for_a_template_that_leaves_them_out() -> None:
    text = written(own.NO_CALLS, turn(called("get_weather", '{"city": "Oslo"}')))
    assert "<|tool_call_start|>[get_weather(city='Oslo')]<|tool_call_end|>" in text


def test_thinking_and_text_with_a_call_of_gpt_oss() -> None:
    messages = turn(called("now", "{}"), content="I look.")
    messages[1]["reasoning_content"] = "Hm."
    assert "<|message|>Hm.\n\nI look.<|end|>" in written(own.MESSAGES, messages)


def test_thinking_goes_where_the_template_looks_for_it() -> None:
    messages = turn(called("now", "{}"), content="I look.")
    messages[1]["reasoning_content"] = "Hm."
    assert "[THINK]Hm.[/THINK]I look.[TOOL_CALLS]" in written(own.BLOCKS, messages)


def test_a_system_message_goes_in_front_of_the_question_where_there_is_no_such_role() -> None:
    template = ChatTemplate(own.NO_SYSTEM)
    text = template.render([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
    assert text.startswith("<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>")
    told = template.render(describe_tools([{"role": "user", "content": "Hi"}], TOOLS))
    assert '"get_weather"' in told


@pytest.mark.skipif(not TEMPLATES, reason="the templates are not on this machine")
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
@pytest.mark.parametrize("thought", ["", "Let me"], ids=["text", "thinking"])
def test_a_published_template_goes_on_with_an_answer(path, thought: str) -> None:
    check_continued(path.read_text(encoding="utf-8"), thought)


@pytest.mark.parametrize("name", sorted(own.ALL))
@pytest.mark.parametrize("thought", ["", "Let me"], ids=["text", "thinking"])
def test_a_template_of_our_own_goes_on_with_an_answer(name: str, thought: str) -> None:
    check_continued(own.ALL[name], thought)


def check_continued(source: str, thought: str) -> None:
    """The prompt ends with the text that is there, or with the thinking, and nothing behind it."""
    form, template = form_of(source), ChatTemplate(source, bos="<s>", eos="</s>")
    more = {"functions": "f", "datetime": "d"}  # what Firefunction's template wants to have
    for message, end in (
        ({"role": "assistant", "content": "The capital of ", "reasoning_content": thought}, "The capital of "),
        ({"role": "assistant", "content": "", "reasoning_content": thought}, thought),
    ):
        beginning = beginning_of(message, form)
        assert beginning is not None
        if not end:
            continue
        text = continued(template, [ASKED], beginning, form, tools=None, variables=more)
        assert text.endswith(end)
        assert text.count(end) == 1
        assert "What time is it?" in text
        assert beginning.thinking == (not message["content"])


def test_thinking_that_a_client_left_open_in_the_text_goes_on() -> None:
    form = form_of("</think>")
    begun = beginning_of({"role": "assistant", "content": "<think>\nLet me"}, form)
    assert begun is not None
    assert (begun.thinking, begun.thought, begun.content) == (True, "Let me", "")
    begun = beginning_of({"role": "assistant", "content": "<think>\nLet me\n</think>\n\nThe"}, form)
    assert begun is not None
    assert (begun.thinking, begun.content) == (False, "The")


def test_a_turn_with_calls_is_no_beginning() -> None:
    assert beginning_of({"role": "assistant", "content": "", "tool_calls": [called("now", "{}")]}, form_of("")) is None
