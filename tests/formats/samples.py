"""What models of many families write, each for the same thought, text and calls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foredraft.formats.entries import Form
from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.table import FORMS, TAGGED, form_of
from foredraft.scheduling.stream import Piece

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a place.",
            "parameters": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Where."},
                    "days": {"type": "integer", "description": "How many."},
                    "metric": {"type": "boolean", "description": "Units."},
                    "options": {
                        "type": "object",
                        "description": "More.",
                        "properties": {
                            "tags": {"type": "array", "description": "Some.", "items": {"type": "string"}},
                            "exact": {"type": "boolean", "description": "So."},
                        },
                        "required": ["exact"],
                        "additionalProperties": False,
                    },
                },
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "now",
            "description": "The time.",
            "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
        },
    },
]
WEATHER = {"city": 'Oslo "x" <b>ø', "days": 3, "metric": True, "options": {"tags": ["a", "b c"], "exact": False}}
CALLS: list[tuple[str, dict[str, Any]]] = [("get_weather", WEATHER), ("now", {})]

CONTROL = re.compile(
    r"<\|[^|<>{}]*\|>|<｜(?!DSML)[^｜]*｜>|｜DSML｜|\[/?[A-Z_]{4,}\]|<\|tool_call>|<tool_call\||<\|channel>|<channel\|>"
    r"|\]<\]minimax\[>\[|<SPECIAL_\d+>"
)
"""What looks like a control token."""


def called(name: str, arguments: Any, call_id: str = "abcdef123") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def openai_calls() -> list[dict[str, Any]]:
    return [called(name, arguments, f"abcdef12{number}") for number, (name, arguments) in enumerate(CALLS)]


def all_forms() -> Iterator[Form]:
    """Each form of the table once, with the thinking that is usual."""
    seen = set()
    for form, _ in FORMS:
        if form.name not in seen:
            seen.add(form.name)
            yield form if form.thinking else form_of("</think>", form.name)
    yield form_of("")


def bound(form: Form) -> tuple[Form, Mapping[str, int]]:
    """The form for a vocabulary in which everything that looks like a control token is one, and those tokens."""
    names = dict.fromkeys(name for text in form.texts() for name in CONTROL.findall(text))
    tokens = {name: 1000 + number for number, name in enumerate(names)}
    return form.bound(tokens), tokens


def pieces(text: str, tokens: Mapping[str, int], size: int = 3) -> list[Piece]:
    """A text as an engine gives it: control tokens by their names alone, the rest a few characters at a time."""
    made: list[Piece] = []
    names = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)")
    place = 0
    for found in [*names.finditer(text), None]:
        end = found.start() if found else len(text)
        made += [Piece(0, text[at : min(at + size, end)]) for at in range(place, end, size)]
        if found:
            made.append(Piece(tokens[found[0]], control=found[0]))
            place = found.end()
    return made


def read(text: str, form: Form | None, size: int = 10**6, **more: Any) -> ResponseParser:
    reader = ResponseParser(more.pop("thinking", False), form, **more)
    for at in range(0, len(text), size):
        reader.feed(text[at : at + size])
    reader.end()
    return reader


@dataclass(frozen=True)
class Sample:
    """What one family writes for a call of `get_weather(city="Oslo")`."""

    family: str
    template: str
    """Words of its template, by which it is known."""
    text: str


SAMPLES = [
    Sample(
        "Qwen 2.5", "<tool_call>", '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    ),
    Sample(
        "Qwen in a fence",
        "<tool_call>",
        '<tool_call>\n```json\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n```\n</tool_call>',
    ),
    Sample(
        "Hermes, arguments as text",
        "<tool_call>",
        '<tool_call>\n{"name": "get_weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}\n</tool_call>',
    ),
    Sample(
        "Qwen3-Coder",
        "<tool_call>\n<function=",
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>",
    ),
    Sample(
        "GLM 4.6",
        "<tool_call>{name}\n<arg_key>",
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n</tool_call>",
    ),
    Sample(
        "GLM 4.7",
        "<tool_call>{name}<arg_key>",
        "<tool_call>get_weather<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>",
    ),
    Sample("Mistral Small 3.2", "[TOOL_CALLS] [ARGS]", '[TOOL_CALLS]get_weather[ARGS]{"city": "Oslo"}'),
    Sample(
        "Mistral Small 3.2 with ids",
        "[TOOL_CALLS] [CALL_ID] [ARGS]",
        '[TOOL_CALLS]get_weather[CALL_ID]abcdef123[ARGS]{"city": "Oslo"}',
    ),
    Sample(
        "Mistral Nemo",
        "[TOOL_CALLS]",
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Oslo"}, "id": "abcdef123"}]',
    ),
    Sample(
        "gpt-oss",
        "<|channel|> <|message|> to=",
        '<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Oslo"}<|call|>',
    ),
    Sample(
        "gpt-oss, the other order",
        "<|channel|> <|message|> to=",
        ' to=functions.get_weather<|channel|>commentary json<|message|>{"city": "Oslo"}<|call|>',
    ),
    Sample(
        "DeepSeek R1",
        "<｜tool▁call▁begin｜> ```json",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
        '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    Sample(
        "DeepSeek V3.1",
        "<｜tool▁call▁begin｜>",
        '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Oslo"}'
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    ),
    Sample(
        "DeepSeek V4",
        "DSML tool_calls",
        '<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" string="true">Oslo'
        "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>",
    ),
    Sample(
        "Kimi K2",
        "<|tool_calls_section_begin|>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>"
        '{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|>',
    ),
    Sample(
        "Kimi K3",
        "<|open|> <|sep|>",
        '<|open|>tools<|sep|><|open|>call tool="get_weather" index="1"<|sep|><|open|>argument key="city" type="string"'
        "<|sep|>Oslo<|close|>argument<|sep|><|close|>call<|sep|><|close|>tools<|sep|>",
    ),
    Sample(
        "MiniMax M2",
        "<minimax:tool_call>",
        '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Oslo</parameter>\n</invoke>\n'
        "</minimax:tool_call>",
    ),
    Sample(
        "MiniMax M3",
        "]<]minimax[>[",
        ']<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name="get_weather">]<]minimax[>[<city>Oslo]<]minimax[>[</city>'
        "]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
    ),
    Sample(
        "Seed-OSS",
        "<seed:tool_call>",
        "<seed:tool_call>\n<function=get_weather>\n<parameter=city>Oslo</parameter>\n</function>\n</seed:tool_call>",
    ),
    Sample(
        "Hunyuan",
        "tool_sep arg_key",
        "<tool_calls:opensource>\n<tool_call:opensource>get_weather<tool_sep:opensource>\n<arg_key:opensource>city"
        "</arg_key:opensource>\n<arg_value:opensource>Oslo</arg_value:opensource>\n</tool_call:opensource>\n"
        "</tool_calls:opensource>",
    ),
    Sample("LFM 2.5", "<|tool_call_start|>", "<|tool_call_start|>[get_weather(city='Oslo')]<|tool_call_end|>"),
    Sample("LFM 2", "<|tool_list_start|>", '<|tool_call_start|>[get_weather(city="Oslo")]<|tool_call_end|>'),
    Sample("Gemma 4", "<|tool_call> <tool_call|>", '<|tool_call>call:get_weather{city:<|"|>Oslo<|"|>}<tool_call|>'),
    Sample(
        "Nemotron Nano v2",
        "<TOOLCALL>",
        '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]</TOOLCALL>',
    ),
    Sample(
        "Apriel", "<tool_calls>", '<tool_calls>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]</tool_calls>'
    ),
    Sample(
        "MiniMax M1",
        "<tool_calls>\n{",
        '<tool_calls>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_calls>',
    ),
    Sample(
        "Command R7B",
        "<|START_ACTION|>",
        '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "get_weather", "parameters": {"city": "Oslo"}}\n'
        "]<|END_ACTION|>",
    ),
    Sample(
        "Command R+",
        "Action: tool_name",
        'Action:\n```json\n[\n    {\n        "tool_name": "get_weather",\n        "parameters": {\n            "city": '
        '"Oslo"\n'
        "        }\n    }\n]```",
    ),
    Sample("Apertus", "<|tools_prefix|>", '<|tools_prefix|>[{"get_weather": {"city": "Oslo"}}]<|tools_suffix|>'),
    Sample("Granite 3.3", "<|tool_call|>", '<|tool_call|>[{"name": "get_weather", "arguments": {"city": "Oslo"}}]'),
    Sample(
        "GigaChat 3",
        "function call role_sep",
        '<|message_sep|>\n\nfunction call<|role_sep|>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}',
    ),
    Sample(
        "GigaChat 3.1",
        "<|function_call|>",
        '<|function_call|>{"name": "get_weather", "arguments": {"city": "Oslo"}}',
    ),
    Sample("Firefunction", "functools[", ' functools[{"name": "get_weather", "arguments": {"city": "Oslo"}}]'),
    Sample(
        "Solar",
        "<|tool_call:begin|>",
        "<|begin|>assistant<|tool_calls|><|tool_call:begin|>x1<|tool_call:name|>get_weather<|tool_call:args|>"
        '{"city": "Oslo"}<|tool_call:end|><|calls|>',
    ),
    Sample(
        "Muse",
        "<atem:",
        ' to=get_weather<|message|><atem:function_calls>\n<atem:invoke name="get_weather">\n'
        '<atem:parameter name="city">Oslo</atem:parameter>\n</atem:invoke>\n</atem:function_calls>',
    ),
    Sample(
        "MiniCPM 5", "<function name= <param", '<function name="get_weather"><param name="city">Oslo</param></function>'
    ),
    Sample(
        "MiniCPM 5, CDATA",
        "<function name= <param",
        '<function name="get_weather"><param name="city"><![CDATA[Oslo]]></param></function>',
    ),
    Sample("Functionary 3.1", "<function=", '<function=get_weather>{"city": "Oslo"}</function>'),
    Sample("Functionary 3.2", ">>>all", 'get_weather\n{"city": "Oslo"}'),
    Sample("Llama 3.1", '"parameters"', '{"name": "get_weather", "parameters": {"city": "Oslo"}}'),
    Sample(
        "Llama 3.1, as it often writes",
        '"parameters"',
        '{"type": "function", "name": "get_weather", "parameters": {"city": "Oslo"}}',
    ),
    Sample("Llama 3.1, other order", '"parameters"', '{"parameters": {"city": "Oslo"}, "name": "get_weather"}'),
    Sample("Llama 3.1, a list", '"parameters"', '[{"name": "get_weather", "parameters": {"city": "Oslo"}}]'),
    Sample(
        "Llama 3.1, behind a tag",
        "<|python_tag|>",
        '<|python_tag|>{"name": "get_weather", "parameters": {"city": "Oslo"}}',
    ),
    Sample("Llama 3.1, a built-in", "<|python_tag|>", '<|python_tag|>get_weather.call(city="Oslo")'),
]

assert TAGGED.calls
