"""A template writes a message with calls (and thinking), we read it, the template writes the same again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from foredraft.core.errors import TemplateError
from foredraft.formats.entries import Form
from foredraft.formats.history import Abilities, abilities_of, accepted
from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.table import form_of
from foredraft.formats.writing import written
from foredraft.models.template import ChatTemplate
from foredraft.models.template_sandbox import work
from tests.conftest import SHARED_DATA
from tests.formats import own_templates
from tests.formats.samples import TOOLS, all_forms, bound, called, openai_calls, pieces, read

TEMPLATES = sorted((SHARED_DATA / "templates").glob("*.jinja"))
WITHOUT_TOOLS = {"google-gemma-2-2b-it", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"}
"""They know no tools at all: they are told of them in a message, and calls are written into the content."""
WRITE_NO_CALLS = {
    "HuggingFaceTB-SmolLM3-3B",
    "LFM2-8B-A1B",
    "LFM2.5-Instruct",
    "ibm-granite-granite-3.3-2B-Instruct",
}
"""They list tools but leave the calls of a message out: we write them into its content."""
END = (
    "<|im_end|>",
    "</s>",
    "<|eot_id|>",
    "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<seed:eos>",
    "<end_of_sentence>",
    "[e~[",
    "<|END_OF_TURN_TOKEN|>",
    "<｜end▁of▁sentence｜>",
    "<turn|>",
    "<|role_end|>",
    "</assistant>",
    "<|end|>",
    "<|call|>",
    "<|calls|>",
    "<|eot|>",
    "<|end_of_msg|>",
    "<|message_sep|>",
    "<｜hy_eos:opensource｜>",
    "<SPECIAL_12>",
    "<sep>",
    "<|return|>",
    "<|tool_response>",
)
"""What ends an answer, in one family or another: end tokens, which a reader does not see as text."""
SIMPLE: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A function.",
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string", "description": "A key."} for key in keys},
                "required": list(keys),
            },
        },
    }
    for name, keys in (("get_weather", ("city",)), ("now", ()))
]
CITY = {"city": 'Oslo "x" <b>'}
FULL = {**CITY, "days": 3, "metric": True, "options": {"tags": ["a", "b c"], "exact": False}}
VARIABLES = ({}, {"enable_thinking": True}, {"enable_thinking": False}, {"functions": "f", "datetime": "d"})
"""`functions` and `datetime` are Firefunction's own."""
ASKED: dict[str, Any] = {"role": "user", "content": "Hello?"}


def rendered(source: str, messages: Sequence[Mapping[str, Any]], tools: Any, **variables: Any) -> str | None:
    variables = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False, **variables}
    done = work(
        {"source": source, "arguments": {"messages": messages, "tools": tools, "now": None, "variables": variables}}
    )
    return done.get("text")


class Writer:
    """A template with everything around it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.form = form_of(source)
        self.abilities = abilities(source)

    def write(self, message: Mapping[str, Any], tools: Any, variables: Mapping[str, Any]) -> tuple[str, str] | None:
        """(the prompt for an answer, the text with the message), up to where they part."""
        messages = accepted([ASKED, message], self.form, self.abilities)
        prompt = rendered(self.source, [ASKED], tools, add_generation_prompt=True, **variables)
        whole = rendered(self.source, messages, tools, **variables)
        if prompt is None or whole is None:
            return None
        shared = 0
        while shared < min(len(prompt), len(whole)) and prompt[shared] == whole[shared]:
            shared += 1
        for mark in [text.strip() for kind in self.form.thinking for text in (kind.open, kind.close) if text.strip()]:
            for at in range(max(0, shared - len(mark) + 1), shared):  # not within a mark
                if prompt.startswith(mark, at) or whole.startswith(mark, at):
                    shared = min(shared, at)
        bare = rendered(self.source, [ASKED], tools, **variables) or ""
        turn = prompt.removeprefix(bare)  # what opens an answer
        opened = whole.find(turn, max(0, shared - len(turn))) if len(turn) < len(prompt) else -1
        if 0 <= opened < shared:
            shared = max(shared, opened + len(turn))
        behind = 0  # what the template writes behind any conversation
        while behind < min(len(bare), len(whole)) and bare[-1 - behind] == whole[-1 - behind]:
            behind += 1
        return whole[:shared], whole[shared : len(whole) - behind if behind > 60 else None]


def abilities(source: str) -> Abilities:
    """As the server finds them, with what Firefunction's template wants to have."""

    class Given(ChatTemplate):
        def render(self, messages: Any, **more: Any) -> str:
            text = rendered(source, messages, more.get("tools"), functions="f", datetime="d")
            if text is None:
                raise TemplateError("refused")
            return text

    return abilities_of(Given(source))


def without_end(text: str) -> str:
    """An answer without its end token and what the template writes behind it."""
    cut = [at for end in END if (at := text.rfind(end)) >= 0 and text[at + len(end) :].strip() in ("", *END)]
    return text[: min(cut, default=len(text))]


def check(writer: Writer, message: dict[str, Any], tools: Any, variables: Mapping[str, Any], *, tokens: bool) -> bool:
    """Whether the template takes the message; asserts that it is read and written again."""
    said = writer.write(message, tools, variables)
    if said is None:
        return False
    prompt, whole = said
    answer = without_end(whole)
    thinking = any(prompt.rstrip().endswith(kind.open.rstrip()) for kind in writer.form.thinking if kind.open)
    thinking = thinking and any(kind.close.strip() in answer for kind in writer.form.thinking)
    form, controls = bound(writer.form) if tokens else (writer.form, {})
    reader = ResponseParser(thinking, form, tools=tools)
    reader.read(pieces(answer, controls))
    reader.end()
    wanted = [
        (call["function"]["name"], call["function"]["arguments"])
        for call in message["tool_calls"]
        if call["function"]["name"] in answer
    ]
    assert wanted, "no call was written"
    assert [(call.name, json.loads(call.arguments)) for call in reader.calls] == wanted
    if "THOUGHT" in answer:
        assert reader.reasoning.strip() == "THOUGHT"
    again: dict[str, Any] = {
        "role": "assistant",
        "content": reader.content,
        "tool_calls": [
            called(call.name, call.arguments, given["id"])
            for call, given in zip(reader.calls, message["tool_calls"], strict=False)
        ],
    }
    if reader.reasoning:
        again["reasoning_content"] = reader.reasoning
    assert writer.write(again, tools, variables) == said
    return True


def check_all(writer: Writer) -> int:
    """How many messages the template took."""
    taken = 0
    for tools, arguments in ((TOOLS, FULL), (SIMPLE, CITY)):
        calls = [called("get_weather", arguments, "abcdef123"), called("now", {}, "abcdef124")]
        for variables in VARIABLES:
            for content, thought, count in (
                ("I look.", "THOUGHT", 2),
                ("", "THOUGHT", 1),
                ("", "", 2),
                ("I look.", "", 1),
            ):
                message: dict[str, Any] = {"role": "assistant", "content": content, "tool_calls": calls[:count]}
                if thought:
                    message["reasoning_content"] = thought
                if count > 1 and not writer.abilities.several:
                    continue
                taken += sum(check(writer, message, tools, variables, tokens=tokens) for tokens in (False, True))
    return taken


@pytest.mark.skipif(not TEMPLATES, reason="the templates are not on this machine")
@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_a_published_template(path) -> None:
    writer = Writer(path.read_text(encoding="utf-8"))
    if path.stem in WITHOUT_TOOLS | WRITE_NO_CALLS:
        assert not writer.abilities.calls
        message = {"role": "assistant", "content": "", "tool_calls": [called("get_weather", CITY)]}
        prompt, whole = writer.write(message, TOOLS, {}) or ("", "")
        reader = read(without_end(whole), writer.form, 3, tools=TOOLS)
        assert [json.loads(call.arguments) for call in reader.calls] == [CITY], prompt
        return
    assert writer.abilities.calls
    assert check_all(writer)


@pytest.mark.parametrize("name", ["HERMES", "TAGS", "KEYS", "NINE", "MESSAGES", "ONE_CALL", "NONE_CONTENT", "BLOCKS"])
def test_a_template_of_our_own(name: str) -> None:
    assert check_all(Writer(own_templates.ALL[name]))


@pytest.mark.parametrize("form", list(all_forms()), ids=lambda form: form.name)
def test_what_the_table_writes_is_read_again(form: Form) -> None:
    for entry in form.calls:
        for calls in (openai_calls(), openai_calls()[:1])[entry.single :]:
            text = written(entry, calls)
            if form.header is not None and form.header.forced:
                text = f"{form.header.forced.replace('{name}', 'get_weather')}{text}"
            one = dataclasses.replace(form, calls=(entry,))
            for ready, tokens in ((one, {}), bound(one)):
                reader = ResponseParser(False, ready, tools=TOOLS)
                reader.read(pieces(text, tokens))
                reader.end()
                assert [(call.name, json.loads(call.arguments)) for call in reader.calls] == [
                    (call["function"]["name"], call["function"]["arguments"]) for call in calls
                ]
                again = [
                    called(call.name, call.arguments, given["id"])
                    for call, given in zip(reader.calls, calls, strict=True)
                ]
                assert written(entry, again) == written(entry, calls)
