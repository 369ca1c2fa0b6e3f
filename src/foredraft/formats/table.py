"""The table of formats: how each family of models writes its calls and its thinking, and which template means which.

Facts about formats come from the templates that models are published with.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from foredraft.formats.entries import Calls, Form, Header, Thinking

# ---- thinking ----

THINK = Thinking("<think>", "</think>")
KINDS = (
    THINK,
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<seed:think>", "</seed:think>"),
    Thinking("<mm:think>", "</mm:think>"),
    Thinking("<think:opensource>", "</think:opensource>"),
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),
    Thinking("<|channel>thought\n", "<channel|>"),
    Thinking("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    Thinking("<|inner_prefix|>", "<|inner_suffix|>"),
    Thinking("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)
"""What tells a kind in a template is its closing mark."""

# ---- calls ----

_HERMES = Calls("tagged", "{object}", open="<tool_call>", begin="\n", end="\n</tool_call>")
_QWEN_XML = Calls(
    "qwen-xml",
    "<function={name}>\n{parameters}</function>",
    open="<tool_call>",
    begin="\n",
    end="\n</tool_call>",
    parameter="<parameter={key}>\n{value}\n</parameter>\n",
)
_GLM = Calls(
    "glm",
    "{name}\n{parameters}",
    open="<tool_call>",
    end="</tool_call>",
    parameter="<arg_key>{key}</arg_key>\n<arg_value>{value}</arg_value>\n",
)
_HY = Calls(
    "hunyuan",
    "<tool_call:opensource>{name}<tool_sep:opensource>\n{parameters}</tool_call:opensource>",
    open="<tool_calls:opensource>",
    begin="\n",
    between="\n",
    end="\n</tool_calls:opensource>",
    parameter="<arg_key:opensource>{key}</arg_key:opensource>\n<arg_value:opensource>{value}</arg_value:opensource>\n",
)
_SEED = Calls(
    "seed",
    "<function={name}>\n{parameters}</function>",
    open="<seed:tool_call>",
    begin="\n",
    end="\n</seed:tool_call>",
    parameter="<parameter={key}>{value}</parameter>\n",
)
_MINIMAX = Calls(
    "minimax",
    '<invoke name="{name}">\n{parameters}</invoke>',
    open="<minimax:tool_call>",
    begin="\n",
    between="\n",
    end="\n</minimax:tool_call>",
    parameter='<parameter name="{key}">{value}</parameter>\n',
)
_ATEM = Calls(
    "atem",
    '<atem:invoke name="{name}">\n{parameters}</atem:invoke>',
    open="<atem:function_calls>",
    begin="\n",
    between="\n",
    end="\n</atem:function_calls>",
    parameter='<atem:parameter name="{key}">{value}</atem:parameter>\n',
)
_DSML = Calls(
    "dsml",
    '<｜DSML｜invoke name="{name}">\n{parameters}</｜DSML｜invoke>',
    open="<｜DSML｜tool_calls>",
    begin="\n",
    between="\n",
    end="\n</｜DSML｜tool_calls>",
    parameter='<｜DSML｜parameter name="{key}" string="{type}">{value}</｜DSML｜parameter>\n',
)
_DSML_OLDER = dataclasses.replace(
    _DSML, name="dsml-older", open="<｜DSML｜function_calls>", end="\n</｜DSML｜function_calls>"
)
_MINIMAX_NESTED = Calls(
    "minimax-nested",
    ']<]minimax[>[<invoke name="{name}">{nested}]<]minimax[>[</invoke>',
    open="]<]minimax[>[<tool_call>",
    begin="\n",
    between="\n",
    end="\n]<]minimax[>[</tool_call>",
    quote="]<]minimax[>[",
)
_FUNCTION_XML = Calls(
    "function-xml",
    ' name="{name}">{parameters}</function>',
    open="<function",
    parameter='<param name="{key}">{value}</param>',
    quote="<![CDATA[",
)
_KIMI_XML = Calls(
    "kimi-xml",
    '<|open|>call tool="{name}" index="{index}"<|sep|>{parameters}<|close|>call<|sep|>',
    open="<|open|>tools<|sep|>",
    between="",
    end="<|close|>tools<|sep|>",
    parameter='<|open|>argument key="{key}" type="{type}"<|sep|>{value}<|close|>argument<|sep|>',
)
_KIMI = Calls(
    "kimi",
    "<|tool_call_begin|>{id}<|tool_call_argument_begin|>{json}<|tool_call_end|>",
    open="<|tool_calls_section_begin|>",
    between="",
    end="<|tool_calls_section_end|>",
    name_in_id=True,
    ids="functions",
)
_DEEPSEEK = Calls(
    "deepseek",
    "<｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{json}<｜tool▁call▁end｜>",
    open="<｜tool▁calls▁begin｜>",
    between="",
    end="<｜tool▁calls▁end｜>",
)
_DEEPSEEK_R1 = Calls(
    "deepseek-r1",
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{name}\n```json\n{json}\n```<｜tool▁call▁end｜>",
    open="<｜tool▁calls▁begin｜>",
    between="\n",
    end="<｜tool▁calls▁end｜>",
)
_SOLAR = Calls(
    "solar",
    "<|tool_call:begin|>{id}<|tool_call:name|>{name}<|tool_call:args|>{json}<|tool_call:end|>",
    open="<|tool_calls|>",
    between="",
)
_MISTRAL = Calls("mistral", "{name}[ARGS]{json}", open="[TOOL_CALLS]", joint="", ids="nine")
_MISTRAL_ID = dataclasses.replace(_MISTRAL, name="mistral-id", call="{name}[CALL_ID]{id}[ARGS]{json}")
_MISTRAL_BARE = dataclasses.replace(_MISTRAL, name="mistral-bare", call="{name}{json}")
_LISTED = Calls("listed", "{object}", open="[TOOL_CALLS]", begin="[", between=", ", end="]", ids="nine")
_TOOLCALL = Calls("nemotron", "{object}", open="<TOOLCALL>", begin="[", between=", ", end="]</TOOLCALL>")
_TOOL_CALLS = Calls("tool-calls", "{object}", open="<tool_calls>", begin="[", between=", ", end="]</tool_calls>")
_TOOL_CALLS_LINES = Calls(
    "tool-calls-lines", "{object}", open="<tool_calls>", begin="\n", between="\n", end="\n</tool_calls>"
)
_GRANITE_LIST = Calls("granite-list", "{object}", open="<|tool_call|>", begin="[", between=", ", end="]")
_GRANITE_TAGGED = dataclasses.replace(_GRANITE_LIST, name="granite-tagged", open="<tool_call>")
_FIREFUNCTION = Calls("functools", "{object}", open=" functools[", between=", ", end="]")
_APERTUS = Calls("keyed", "{keyed}", open="<|tools_prefix|>", begin="[", between=", ", end="]<|tools_suffix|>")
_ACTION = Calls(
    "action",
    "{object}",
    open="<|START_ACTION|>",
    begin="[\n    ",
    between=",\n    ",
    end="\n]<|END_ACTION|>",
    name_key="tool_name",
    arguments_key="parameters",
    id_key="tool_call_id",
)
_ACTION_FENCED = Calls(
    "action-fenced",
    "{object}",
    open="Action:\n```json\n",
    begin="[\n",
    between=",\n",
    end="\n]```",
    name_key="tool_name",
    arguments_key="parameters",
)
_PYTHONIC = Calls(
    "pythonic",
    "{name}({python})",
    open="<|tool_call_start|>",
    begin="[",
    between=", ",
    end="]<|tool_call_end|>",
)
_GEMMA = Calls("gemma", "call:{name}{braces}", open="<|tool_call>", end="<tool_call|>", joint="", quote='<|"|>')
_GIGACHAT = Calls("gigachat", "{object}", open="<|message_sep|>\n\nfunction call<|role_sep|>\n")
_GIGACHAT_LATER = Calls("gigachat-later", "{object}", open="<|function_call|>")
_FUNCTIONARY = Calls("functionary", "{name}>{json}</function>", open="<function=", joint="")
_RECIPIENTS = Calls("recipients", "{name}\n{json}", between=">>>")
_HARMONY = Calls(
    "harmony", "{name} <|constrain|>json<|message|>{json}", open="<|channel|>commentary to=functions.", single=True
)
_BARE = Calls("bare", "{object}", between="; ", arguments_key="parameters")
_BARE_LIST = Calls("bare-list", "{object}", begin="[", between=", ", end="]")
_PYTHON_TAG = dataclasses.replace(_BARE, name="python-tag", open="<|python_tag|>")
_PYTHON_TAG_CALL = Calls("python-tag-call", "{name}.call({python})", open="<|python_tag|>", between="; ")

_TAGGED_TOO = (_QWEN_XML, _GLM, _GRANITE_TAGGED)
"""What stands in `<tool_call>` beside a JSON object: some models write another form than their template shows."""
_UNMISTAKABLE = (
    _SEED,
    _MINIMAX,
    _DSML,
    _DSML_OLDER,
    _KIMI,
    _DEEPSEEK_R1,
    _DEEPSEEK,
    _TOOLCALL,
    _PYTHONIC,
)
_ACTIONS = Form("action", (_ACTION,))
_HEADED = Header(
    "<|start|>",
    "<|message|>",
    ("<|end|>", "<|call|>", "<|return|>"),
    ("<|channel|>", "to="),
    thinking=r"analysis",
    call=r"to=(?:functions\.)?([\w.\-]+)",
    thought=("<|channel|>analysis<|message|>", "<|end|><|start|>assistant"),
)

_LOOSE = (Calls("fenced", "{object}", begin="```json", end="```"), Calls("untagged", "{object}"))
TAGGED = Form("tagged", (_HERMES, *_TAGGED_TOO, *_UNMISTAKABLE), _LOOSE)
"""For templates that say nothing: what most models write, and what cannot be mistaken."""
BARE = Form("bare", (_BARE, _BARE_LIST, _PYTHON_TAG, _PYTHON_TAG_CALL, _FUNCTIONARY, _ACTION))
LISTED = Form("listed", (_LISTED, _MISTRAL_ID, _MISTRAL, _BARE_LIST, _MISTRAL_BARE))
UNKNOWN = Form(
    "unknown",
    thinking=KINDS,
    header=dataclasses.replace(_HEADED, begins=("<|channel|>",)),
    silent=("<response>", "</response>"),
)
"""For answers of which no template is known."""

Tell = Callable[[str], bool]


def _has(*texts: str) -> Tell:
    return lambda template: all(text in template for text in texts)


FORMS: tuple[tuple[Form, Tell], ...] = (
    (Form("harmony", (_HARMONY,), header=_HEADED, thinking_key="thinking"), _has("<|channel|>", "<|message|>", "to=")),
    (
        Form(
            "muse",
            (_ATEM,),
            header=Header(
                "<|start|>",
                "<|message|>",
                ("<|eom|>", "<|eot|>"),
                ("to=",),
                thinking=r"to=self\b",
                thought=(" to=self<|message|>", "<|eom|><|start|>assistant"),
                forced=" to={name}<|message|>",
            ),
        ),
        _has("<atem:"),
    ),
    (
        Form(
            "recipients",
            (_RECIPIENTS,),
            header=Header(">>>", "\n", call=r"^(?!all$)([\w.\-]+)$", named="all"),
            late=False,
        ),
        _has(">>>all"),
    ),
    (
        Form(
            "solar",
            (_SOLAR,),
            thinking=(Thinking("<|think|>", "<|end|>"),),
            silent=("<|begin|>assistant", "<|content|>", "<|end|>", "<|calls|>"),
            late=False,
            thinking_key="reasoning",
        ),
        _has("<|tool_call:begin|>"),
    ),
    (
        Form(
            "kimi-xml",
            (_KIMI_XML,),
            thinking=(Thinking("<|open|>think<|sep|>", "<|close|>think<|sep|>"),),
            silent=("<|open|>response<|sep|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"),
            ends=("<|end_of_msg|>",),
        ),
        _has("<|open|>", "<|sep|>"),
    ),
    (Form("kimi", (_KIMI,)), _has("<|tool_calls_section_begin|>")),
    (Form("dsml", (_DSML, _DSML_OLDER)), _has("DSML", "tool_calls")),
    (
        Form("deepseek-r1", (_DEEPSEEK_R1, _DEEPSEEK), silent=("<｜end▁of▁sentence｜><｜Assistant｜>",)),
        _has("<｜tool▁call▁begin｜>", "```json"),
    ),
    (Form("deepseek", (_DEEPSEEK, _DEEPSEEK_R1)), _has("<｜tool▁call▁begin｜>")),
    (Form("minimax-nested", (_MINIMAX_NESTED,)), _has("]<]minimax[>[")),
    (Form("minimax", (_MINIMAX,)), _has("<minimax:tool_call>")),
    (Form("seed", (_SEED,)), _has("seed:tool_call")),
    (
        Form("hunyuan", (_HY,), thinking=(Thinking("<think:opensource>", "</think:opensource>"), THINK)),
        _has("tool_sep", "arg_key"),
    ),
    (
        Form("gemma", (_GEMMA,), thinking=(Thinking("<|channel>thought\n", "<channel|>"),), ends=("<|tool_response>",)),
        _has("<|tool_call>", "<tool_call|>"),
    ),
    (_ACTIONS, _has("<|START_ACTION|>")),
    (Form("action-fenced", (_ACTION_FENCED,)), _has("Action:", "tool_name")),
    (Form("pythonic", (_PYTHONIC,)), lambda template: "<|tool_call_start|>" in template or "<|tool_list_" in template),
    (Form("keyed", (_APERTUS,)), _has("<|tools_prefix|>")),
    (Form("nemotron", (_TOOLCALL,), silent=("<SPECIAL_12>\n<SPECIAL_11>Assistant\n",)), _has("<TOOLCALL>")),
    (Form("gigachat-later", (_GIGACHAT_LATER,)), _has("<|function_call|>")),
    (Form("gigachat", (_GIGACHAT,)), _has("function call", "role_sep")),
    (Form("functools", (_FIREFUNCTION,)), _has("functools[")),
    (Form("tool-calls-lines", (_TOOL_CALLS_LINES, _TOOL_CALLS)), _has("<tool_calls>\n{")),
    (Form("tool-calls-lines", (_TOOL_CALLS_LINES, _TOOL_CALLS)), _has("<tool_calls>", "beginning_of_sentence")),
    (Form("tool-calls", (_TOOL_CALLS, _TOOL_CALLS_LINES)), _has("<tool_calls>")),
    (
        Form("granite-list", (_GRANITE_LIST, _GRANITE_TAGGED), silent=("<response>", "</response>")),
        _has("<|tool_call|>"),
    ),
    (Form("glm", (_GLM, _QWEN_XML, _HERMES)), _has("<arg_key>")),
    (Form("qwen-xml", (_QWEN_XML, _HERMES, _GLM)), _has("<tool_call>", "<function=")),
    (Form("tagged-spaced", TAGGED.calls, _LOOSE, lead=" "), _has("<tool_call>", "<sep>")),
    (TAGGED, _has("<tool_call>")),
    (Form("mistral-id", (_MISTRAL_ID, _MISTRAL, _LISTED, _MISTRAL_BARE)), _has("[TOOL_CALLS]", "[CALL_ID]")),
    (Form("mistral", (_MISTRAL, _MISTRAL_ID, _LISTED, _MISTRAL_BARE)), _has("[TOOL_CALLS]", "[ARGS]")),
    (LISTED, _has("[TOOL_CALLS]")),
    (Form("functionary", (_FUNCTIONARY, _BARE)), _has("<function=")),
    (Form("function-xml", (_FUNCTION_XML,)), _has("<function", "<param")),
    (Form("pythonic-bare", (_PYTHONIC,)), _has("List of tools: [")),
    (BARE, lambda template: "<|python_tag|>" in template or '"parameters"' in template),
)
"""The first whose tell is found in a template's source is its form."""

NAMES = tuple(dict.fromkeys([form.name for form, _ in FORMS] + ["tagged"]))
"""What may be asked for in place of what the template says."""


@functools.lru_cache(maxsize=64)
def form_of(template: str, name: str = "") -> Form:
    """The form that a chat template's source speaks of, or the one named. Raises `KeyError` for a name that is none."""
    if name:
        form = next((form for form, _ in FORMS if form.name == name), TAGGED if name == "tagged" else None)
        if form is None:
            raise KeyError(name)
    else:
        form = next((form for form, tell in FORMS if tell(template)), TAGGED)
    thinking = form.thinking or tuple(kind for kind in KINDS if kind.close in template)
    if not thinking and form.header is None:
        return dataclasses.replace(form, thinking=(THINK,), late=False)
    if not form.silent and "<response>" in template:
        form = dataclasses.replace(form, silent=("<response>", "</response>"))
    if "[/THINK]" in template and "'thinking'" in template:
        form = dataclasses.replace(form, thinking_key="")
    return dataclasses.replace(form, thinking=thinking)
