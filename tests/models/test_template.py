"""Chat templates: all that are known, what they may not do, and who adds the start token."""

from __future__ import annotations

import contextlib
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from foredraft.child import Children
from foredraft.core.errors import TemplateError
from foredraft.demo import draft_path, main_path
from foredraft.models import template as template_module
from foredraft.models.gguf import read_header
from foredraft.models.template import CHATML, PLAIN, ChatTemplate, fallback_template, render

Messages = list[dict[str, Any]]
USER: Messages = [{"role": "user", "content": "Hi 金沢 <b>&"}]
CALL = {"id": "call12345", "type": "function", "function": {"name": "weather", "arguments": {"city": "金沢"}}}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "where"}}},
        },
    }
]
CONVERSATIONS: dict[str, Messages] = {
    "one message": USER,
    "several turns": [
        *USER,
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "and again"},
    ],
    "system prompt": [{"role": "system", "content": "Be brief."}, *USER],
    "tool call": [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "call12345", "name": "weather"},
        {"role": "assistant", "content": "It rains."},
        {"role": "user", "content": "thanks"},
    ],
}


@pytest.fixture(scope="module")
def known_templates(shared_data: Path) -> dict[str, ChatTemplate]:
    """All templates of the shared data, compiled once."""
    paths = sorted((shared_data / "templates").glob("*.jinja"))
    return {path.name: ChatTemplate(path.read_text(encoding="utf-8"), bos="<s>", eos="</s>") for path in paths}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("tools", [None, TOOLS], ids=["", "tools"])
def test_all_known_templates(
    known_templates: dict[str, ChatTemplate], conversation: str, tools: list[dict[str, Any]] | None
) -> None:
    """Rendered, or refused with a reason; and the last thing the user said is in it."""
    assert len(known_templates) == 70
    messages = CONVERSATIONS[conversation]
    refused = []
    for name, chat in known_templates.items():
        try:
            text = chat.render(messages, tools=tools)
        except TemplateError as error:
            refused.append((name, error.message))
        else:
            assert messages[-1]["content"] in text, name
    reasons = ("The chat template refuses", "The chat template failed: 'functions'")
    assert [reason for _, reason in refused if not reason.startswith(reasons)] == []
    assert len(refused) <= {"one message": 1, "several turns": 1, "system prompt": 2, "tool call": 5}[conversation]


def test_arguments_of_tool_calls_come_as_text_or_as_a_table(known_templates: dict[str, ChatTemplate]) -> None:
    """OpenAI sends JSON text, Hugging Face a table: both give the same prompt."""
    as_text = [{**message} for message in CONVERSATIONS["tool call"]]
    function = {**CALL["function"], "arguments": '{"city": "金沢"}'}  # type: ignore[dict-item]
    as_text[1] = {**as_text[1], "tool_calls": [{**CALL, "function": function}]}
    different = []
    for name, chat in known_templates.items():
        try:
            if chat.render(as_text, tools=TOOLS) != chat.render(CONVERSATIONS["tool call"], tools=TOOLS):
                different.append(name)
        except TemplateError:
            continue
    assert different == []
    assert as_text[1]["tool_calls"][0]["function"]["arguments"] == '{"city": "金沢"}'


def test_the_known_form_of_qwen(shared_data: Path) -> None:
    source = (shared_data / "templates" / "Qwen-Qwen2.5-7B-Instruct.jinja").read_text(encoding="utf-8")
    text = render(source, [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}])
    assert text == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n"
    assert render(source, USER, add_generation_prompt=False).endswith("<|im_end|>\n")


def test_what_templates_may_ask_for() -> None:
    def one(source: str, **more: Any) -> str:
        return render(source, USER, **more)

    assert one("{{ bos_token }}{{ eos_token }}", bos="<s>", eos="</s>") == "<s></s>"
    assert one("{{ {'b': '金<', 'a': [1, none]} | tojson }}") == '{"b": "金<", "a": [1, null]}'
    assert one("{{ {'b': 1} | tojson(indent=2) }}") == '{\n  "b": 1\n}'
    assert one("{{ messages | map(attribute='role') | tojson }}") == '["user"]'
    skip = "{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}"
    assert one("{% for i in range(9) %}" + skip + "{{ i }}{% endfor %}") == "0134"
    assert one("{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ loop.last }}{% endfor %}") == "1/1True"
    assert one("{% for i in [1, 2] recursive %}{{ i }}{% endfor %}") == "12"
    assert one("{% generation %}x{% endgeneration %}") == "x"
    assert (
        one("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}")
        == "1"
    )
    assert one("{% set l = [] %}{% set _ = l.append('a') %}{{ l.pop() ~ l | length }}") == "a0"
    assert one("{{ enable_thinking }}", extra={"enable_thinking": False}) == "False"
    assert one("{{ nothing }}|{{ nothing is defined }}") == "|False"
    assert one("{%- for message in messages %}\n  {{- message.role }}\n{%- endfor %}") == "user"
    chat = ChatTemplate("{{ strftime_now('%d %b %Y') }}")
    assert chat.render(USER, now=lambda: datetime(2026, 11, 23, tzinfo=UTC)) == "23 Nov 2026"
    with pytest.raises(TemplateError, match="refuses this conversation: no system"):
        one("{{ raise_exception('no system') }}")


def test_the_messages_are_not_changed() -> None:
    messages: Messages = [{"role": "user", "content": ["a"]}]
    assert render("{% set _ = messages[0].content.append('b') %}{{ messages[0].content }}", messages) == "['a', 'b']"
    assert messages == [{"role": "user", "content": ["a"]}]


def test_the_start_token_is_added_by_one_alone() -> None:
    source = "{{ bos_token }}{{ messages[0].content }}{{ bos_token }}"
    assert render(source, USER, bos="<s>").count("<s>") == 2
    left_to_the_tokenizer = render(source, USER, bos="<s>", adds_bos=True)
    assert left_to_the_tokenizer == USER[0]["content"] + "<s>"
    assert render("{{ messages[0].content }}", USER, adds_bos=True) == USER[0]["content"]


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ messages.__class__.__base__ }}",
    "{{ (messages | attr('__class__')).x }}",
    "{{ '{0.__class__.__mro__}'.format(messages) }}x{{ 1 / 0 }}",
    "{{ raise_exception.__globals__['x'] }}",
    "{{ strftime_now.__globals__['x'] }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{{ messages.clear() }}",
    "{{ messages[0].update({'role': 'system'}) }}",
    "{{ messages[0].__setitem__('role', 'x') }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__ }}{{ lipsum.__globals__ }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_escapes_are_refused(source: str) -> None:
    with pytest.raises(TemplateError):
        render(source, USER)


def test_formats_cannot_look_behind_values() -> None:
    for source in ("{{ '{0.__class__}'.format(1) }}", "{{ '' | attr('__class__') }}"):
        assert "class" not in render(source, USER)


NAMESPACE = "{% set ns = namespace(x='aaaaaaaaaa', y=[1], n=3) %}{% for i in range(60) %}"
BOMBS = [
    "{% for i in range(99999999) %}{% endfor %}",
    "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
    "{{ range(99999) | map('string') | list | length }}" * 9,
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{{ ([[1]] * 100000) | sum(start=[]) }}",
    "{{ '%(a)9999d' * 160000 % {'a': 1} }}",
    "{{ {'a': [1] * 1000} | tojson(indent='x' * 190000) }}",
    "{% macro a() %}{% endmacro %}" * 4000,
    "{{ a }}" * 18000,
    "{{ (range(9999) | list) | pprint }}" * 40,
    "{{ range(99999) | map('string') | sort | join }}" * 9,
    "{{ (range(99999) | map('string')) | join('x' * 9999) }}",
    "{{ range(99999) | reject('in', range(99999) | list) | list }}",
    "{% for i in range(90000) %}" + "static text " * 800 + "{% endfor %}",
    "{{ 'x' | indent('y' * 99999999) }}",
    "{{ ('word ' * 99999) | wordwrap(3, wrapstring='z' * 9999) }}",
    "{% for a in [1] recursive %}{{ loop([a, a]) }}{{ loop([a, a]) }}{% endfor %}",
    NAMESPACE + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    NAMESPACE + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    NAMESPACE + "{% set ns.x = ns.x * 9 %}{% endfor %}",
    NAMESPACE + "{% set part %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = part %}{% endfor %}",
    NAMESPACE + "{% set ns.x = ns.x | replace('a', 'aa') %}{% endfor %}",
    NAMESPACE + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    NAMESPACE + "{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    NAMESPACE + "{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
    NAMESPACE + "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.y }}",
    NAMESPACE + "{% set ns.y = ns.y + ns.y %}{% endfor %}",
    NAMESPACE + "{% set ns.y = (ns.y, ns.y) %}{% endfor %}{{ ns.y | tojson }}",
    NAMESPACE + "{% set ns.y = {'a': ns.y, 'b': ns.y} %}{% endfor %}{{ ns.y | string }}",
    NAMESPACE + "{% set ns.y = dict(a=ns.y, b=ns.y) %}{% endfor %}{{ ns.y | tojson }}",
    NAMESPACE + "{% set ns.n = ns.n * ns.n %}{% endfor %}{{ ns.n }}",
    "{{ 10 ** (10 ** 9) }}",
    "{{ 3 ** 999999999 }}",
    "{{ 'a' * 10 ** 10 }}",
    "{{ [1] * 10 ** 9 }}",
    "{{ 'a' | center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ 'a'.zfill(10 ** 9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (10 ** 9, 1) }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 10 ** 9) }}",
    "{{ [] | slice(10 ** 9) | list }}",
    "{{ [1] | batch(10 ** 9, 'x') | list }}",
    "{{ (['a'] * 99999) | tojson(indent=99999) }}",
    "{{ ('x' * 99999).replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999) | replace('x', 'y' * 99999) }}",
    "{{ ('x' * 99999).join(('y' * 99999) | list) }}",
    "{{ (('y' * 99999) | list) | join('x' * 99999) }}",
    "{{ ('%s' * 9999) % (('x' * 99999,) * 9999) }}",
    "{{ ('{0}' * 19999).format('x' * 99999) }}",
    "{{ ([['x' * 99999] * 1999]) }}",
    "{{ ('\\t' * 99999).expandtabs(99999) }}",
    "{{ (1).to_bytes(10 ** 9, 'big') }}",
    "{{ strftime_now('%1000000000d') }}",
    "{% set x = [] %}{% set _ = x.append(x) %}{{ x | tojson }}",
    "{{ " + "-" * 20000 + "1 }}",
    "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "x" * (template_module.MAX_SOURCE + 1),
]  # fmt: skip


@pytest.fixture(scope="module")
def small_limits() -> Iterator[None]:
    """The same limits, smaller, so that each bomb ends sooner."""
    patch = pytest.MonkeyPatch()
    children = Children("foredraft.models.template_sandbox:work", seconds=1.5, n_bytes=96 << 20)
    patch.setattr(template_module, "_children", lambda: children)
    yield
    patch.undo()
    children.close()


@pytest.mark.parametrize("source", BOMBS, ids=lambda source: source[-60:].strip("{}% "))
@pytest.mark.usefixtures("small_limits")
def test_bombs_end_typed_and_cost_this_process_nothing(source: str) -> None:
    tracemalloc.start()
    try:
        said = render(source, USER)
    except TemplateError as error:
        said = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(said) < 10e6, "what is bearable may be written"
    assert peak < 60e6


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}", "longer than 1.5 seconds"),
        ("{{ ([[1]] * 100000) | sum(start=[]) | length }}" * 9, "longer than 1.5 seconds"),
        ("{{ 'a' * 10 ** 10 }}", "more than 96 MiB of memory"),
        ("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", "calls itself too deeply"),
    ],
)
@pytest.mark.usefixtures("small_limits")
def test_a_limit_is_named(source: str, words: str) -> None:
    with pytest.raises(TemplateError, match=words):
        render(source, USER)
    assert render("{{ messages[0].role }}", USER) == "user", "the next one is served"


@pytest.mark.usefixtures("small_limits")
def test_others_go_on_while_a_template_is_stuck() -> None:
    """One call of a C function, which would hold the interpreter in this process."""
    stuck = threading.Thread(target=lambda: suppressed("{{ ([[1]] * 100000) | sum(start=[]) | length }}" * 9))
    stuck.start()
    rendered = 0
    while stuck.is_alive():
        rendered += render("{{ messages[0].role }}", USER) == "user"
    stuck.join()
    assert rendered > 20


def suppressed(source: str) -> None:
    with contextlib.suppress(TemplateError):
        render(source, USER)


def test_what_the_program_ships_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is started for the embedded pair's first answer."""

    def never() -> None:
        raise AssertionError

    monkeypatch.setattr(template_module, "_children", never)
    embedded = [read_header(path).text("tokenizer.chat_template") for path in (main_path(), draft_path())]
    for source in (CHATML, PLAIN, *embedded):
        assert USER[0]["content"] in render(source, USER)
    with pytest.raises(AssertionError):
        render(CHATML + " ", USER)


def test_both_ways_render_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    more: dict[str, Any] = {"bos": "<s>", "adds_bos": True, "tools": TOOLS, "extra": {"now": None, "n": 1.5}}
    source = "{{ bos_token }}{{ messages | tojson }}{{ tools | tojson }}{{ n }}{{ now }}{{ add_generation_prompt }}"
    there = render(source, CONVERSATIONS["tool call"], **more)
    monkeypatch.setattr(template_module, "is_trusted", lambda source: True)
    assert there == render(source, CONVERSATIONS["tool call"], **more)


@pytest.mark.parametrize("content", [{1, 2}, object(), b"bytes"])
def test_messages_that_are_no_json_are_refused(content: object) -> None:
    with pytest.raises(TemplateError, match="cannot be sent"):
        render("{{ messages }}", [{"role": "user", "content": content}])


def test_arguments_nested_deeply_stay_the_text_they_are() -> None:
    deep = "[" * 50_000
    call = {"type": "function", "function": {"name": "f", "arguments": deep}}
    source = "{{ messages[0].tool_calls[0].function.arguments }}"
    assert render(source, [{"role": "assistant", "content": "", "tool_calls": [call]}]) == deep


def test_long_conversations_are_not_bombs(shared_data: Path) -> None:
    source = (shared_data / "templates" / "Qwen-Qwen3-0.6B.jinja").read_text(encoding="utf-8")
    messages = [{"role": ("user", "assistant")[turn % 2], "content": "word " * 20_000} for turn in range(41)]
    assert len(render(source, messages)) > 4_000_000


@pytest.mark.parametrize("source", ["{% if %}", "{{ x", "{% while 1 %}", "{{ 1 | nofilter }}", "{% for %}"])
def test_templates_that_cannot_be_read(source: str) -> None:
    with pytest.raises(TemplateError, match="cannot be read"):
        ChatTemplate(source)


def test_files_without_a_template_get_one_and_say_so() -> None:
    source, note = fallback_template(["<|im_start|>", "<|im_end|>", "x"])
    assert source == CHATML
    assert "ChatML" in str(note)
    text = render(source, CONVERSATIONS["system prompt"])
    assert text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    source, note = fallback_template(["</s>"])
    assert source == PLAIN
    assert "base model" in str(note)
    assert (
        render(source, CONVERSATIONS["several turns"])
        == "User: Hi 金沢 <b>&\nAssistant: Hello\nUser: and again\nAssistant:"
    )
