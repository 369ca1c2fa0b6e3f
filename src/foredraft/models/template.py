"""The chat template of a model file: messages in, one text out.

Templates are programs (Jinja) written by strangers, so they run in Jinja's sandbox, without a loader, and on a budget:
loop steps, calls, bytes made and seconds are counted while they run, and a template that asks for too much ends in a
`TemplateError` instead of hanging the program or filling its memory.

Who adds the start token: the tokenizer does, where the model wants one (`Tokenizer.add_bos`). A template that writes
it too would give it twice, so pass `adds_bos=True` for such a model and it is cut from the front of the text. Encode
the result with `parse_special=True`, so that "<|im_end|>" becomes the one control token it names.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import _PassArg

from foredraft.core.errors import TemplateError

MAX_SOURCE = 1 << 20
"""Longest template, in characters. The longest known is about 17,000."""
MAX_STEPS = 200_000
"""Loop steps, calls and filters of one rendering, plus `STEPS_PER_CHARACTER` for each character of the messages."""
STEPS_PER_CHARACTER = 4
MAX_BYTES = 1 << 26
"""Characters of all texts made on the way, counted as they are made."""
MAX_ITEMS = 200_000
"""Elements of one nested list or table."""
MAX_SECONDS = 5.0
MAX_INTEGER = 1_000
"""Largest whole number that may be handed to a text function (a width, an indent, a count)."""
MAX_BITS = 4096

CHATML = """{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + (message.content or '') + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""
"""For files without a template whose vocabulary has the ChatML tokens."""

PLAIN = """{%- for message in messages -%}
{%- if message.role == 'system' -%}{{- message.content + '\\n\\n' -}}
{%- elif message.role == 'user' -%}{{- 'User: ' + (message.content or '') + '\\n' -}}
{%- else -%}{{- 'Assistant: ' + (message.content or '') + '\\n' -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- 'Assistant:' -}}{%- endif -%}"""
"""For files with neither: most likely a base model, which only continues text."""

_BUDGET = "\0budget"
"""Where the budget lies in the template's variables: under a name that no template can write."""
_WIDE = re.compile(r"\d{5,}|\*")
"""A width of five digits, or one taken from the arguments, in "%…d" and "{:…}" formats."""
_GROWING_FILTERS = {"format": "%", "replace": "replace", "join": "join filter"}
_SIZED_FILTERS = frozenset({"batch", "center", "format", "indent", "slice", "tojson", "truncate", "wordwrap"})


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    add_generation_prompt: bool = True,
    bos: str = "",
    eos: str = "",
    adds_bos: bool = False,
    tools: Sequence[Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """`ChatTemplate(template, bos, eos, adds_bos).render(…)` for a template that is used once."""
    return ChatTemplate(template, bos=bos, eos=eos, adds_bos=adds_bos).render(
        messages, add_generation_prompt=add_generation_prompt, tools=tools, extra=extra
    )


def fallback_template(tokens: Iterable[str]) -> tuple[str, str]:
    """A template for a file that has none, and a sentence that says so. `tokens` are the vocabulary's control texts."""
    known = set(tokens)
    if {"<|im_start|>", "<|im_end|>"} <= known:
        return CHATML, "The file has no chat template; ChatML is used, because its vocabulary has ChatML's tokens."
    return PLAIN, (
        "The file has no chat template, so a plain 'User: … Assistant:' form is used. "
        "It is probably a base model, which continues text rather than answers."
    )


class ChatTemplate:
    """A template, compiled once and rendered often. Raises `TemplateError` for every fault, at both times.

    `bos` and `eos` are the texts of the start and end tokens, which templates may write. With `adds_bos` the tokenizer
    adds the start token by itself, and one at the very front of the text is cut.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "", adds_bos: bool = False, note: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"The chat template has {len(source):,} characters; at most {MAX_SOURCE:,} are read.")
        self.source = source
        self.bos, self.eos, self.adds_bos = bos, eos, adds_bos
        self.note = note
        """What the user should know about this template; empty when it is the file's own."""
        with _as_template_error("The chat template cannot be read"):
            self._template = _Environment().from_string(source)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        extra: Mapping[str, Any] | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> str:
        """The conversation as one text. `extra` are further variables (`enable_thinking` …); `now` is for tests.

        Templates disagree on small things, so one that breaks is tried again: with an empty list of tools instead of
        none, and with the arguments of tool calls as text instead of as a table (OpenAI sends text, Hugging Face
        expects a table). A template that refuses the conversation is believed at once.
        """
        size = sum(len(str(message)) for message in messages) + len(str(tools or ""))
        failed: TemplateError | None = None
        for no_tools, arguments_as_text in ((None, False), ([], False), (None, True), ([], True)):
            variables = {
                **(extra or {}),
                "messages": [_message(message, arguments_as_text) for message in messages],
                "tools": copy.deepcopy(list(tools)) if tools else no_tools,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": self.bos,
                "eos_token": self.eos,
                "raise_exception": _raise_exception,
                "strftime_now": _strftime_with(now or _local_now),
                _BUDGET: _Budget(MAX_STEPS + STEPS_PER_CHARACTER * size, MAX_BYTES + 16 * size),
            }
            try:
                with _as_template_error("The chat template failed"):
                    text = self._template.render(variables)
            except TemplateError as error:
                if error.__cause__ is None:
                    raise
                failed = failed or error
            else:
                return text.removeprefix(self.bos) if self.adds_bos and self.bos else text
        assert failed is not None
        raise failed


def _message(message: Mapping[str, Any], arguments_as_text: bool) -> dict[str, Any]:
    """A copy that the template may change, with the arguments of tool calls in one form."""
    made = copy.deepcopy(dict(message))
    calls = made.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or "arguments" not in function:
            continue
        arguments = function["arguments"]
        if arguments_as_text and not isinstance(arguments, str):
            function["arguments"] = json.dumps(arguments, ensure_ascii=False)
        elif not arguments_as_text and isinstance(arguments, str):
            with contextlib.suppress(ValueError):  # not JSON: it stays the text it is
                function["arguments"] = json.loads(arguments)
    return made


@dataclass(slots=True)
class _Budget:
    """What one rendering may still use."""

    steps: int
    bytes: int
    deadline: float = field(default_factory=lambda: time.monotonic() + MAX_SECONDS)

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise TemplateError("The chat template takes too many steps.")
        if self.steps % 256 == 0 and time.monotonic() > self.deadline:
            raise TemplateError(f"The chat template takes longer than {MAX_SECONDS:g} seconds.")

    def admit(self, value: Any) -> Any:
        """Let a freshly made value through if it is of a bearable size, and count it."""
        if isinstance(value, str):
            self.bytes -= len(value)
            if self.bytes < 0:
                raise TemplateError("The chat template makes too much text.")
        elif isinstance(value, int):
            if value.bit_length() > MAX_BITS:
                raise TemplateError("The chat template makes too large a number.")
        elif isinstance(value, (list, tuple, dict)):
            self._weigh(value)
        return value

    def _weigh(self, value: Any) -> None:
        """Refuse nested values of too many elements: [x, x] of [x, x] of … doubles with every level."""
        waiting, items, characters = [value], 0, 0
        while waiting:
            inner = waiting.pop()
            items += len(inner)
            parts = inner.values() if isinstance(inner, dict) else inner
            for part in parts if items <= MAX_ITEMS else ():
                if isinstance(part, str):
                    characters += len(part)
                elif isinstance(part, (list, tuple, dict)):
                    waiting.append(part)
            if items > MAX_ITEMS or characters > MAX_BYTES:
                raise TemplateError("The chat template makes too large a list.")
        self.steps -= items // 16


class _GenerationTag(Extension):
    """`{% generation %}` marks the answer for training (Hugging Face); here its content passes through."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with Hugging Face's additions, in which everything that can grow or repeat is counted."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "**", "%"})

    def __init__(self) -> None:
        # `optimized` would compute constant expressions ("x" * 10**10) while compiling, off the budget.
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, loopcontrols],
            optimized=False,
            finalize=_finalize,
        )
        self.filters["tojson"] = _tojson
        for name, function in list(self.filters.items()):
            self.filters[name] = _counted_filter(name, function)
        self.filters[_LOOP], self.filters[_CONCAT], self.filters[_LITERAL] = _loop, _concat, _literal
        for name in ("lipsum", "cycler", "joiner"):
            self.globals.pop(name, None)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = _filtered(loop.iter, _LOOP)
        return cast(nodes.Template, _count_growth(tree))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr in ("translate", "expandtabs"):  # grow without bound, and no template needs them
            return False
        # Templates in the wild use lists as stacks; what they are given is a copy.
        return (attr in ("append", "pop") and isinstance(obj, list)) or super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.step()
        method = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        subject = getattr(method, "__self__", None)
        if isinstance(subject, (str, bytes, int, float, list, tuple)):
            _refuse_wide([*args, *kwargs.values()])
            _refuse_growth(method.__name__, subject, [*args, *kwargs.values()])
        made = budget.admit(super().call(context, obj, *args, **kwargs))
        if isinstance(subject, list):
            budget.admit(subject)
        return made

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = _budget(context)
        budget.step()
        if operator == "*":
            for count, value in ((left, right), (right, left)):
                if isinstance(count, int) and isinstance(value, (str, list, tuple)) and count * len(value) > MAX_ITEMS:
                    raise TemplateError("The chat template repeats a value too often.")
        elif operator == "**":
            if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_BITS:
                raise TemplateError("The chat template makes too large a number.")
        elif operator == "%" and isinstance(left, str):
            _refuse_growth("%", left, list(right) if isinstance(right, tuple) else [right])
        return budget.admit(super().call_binop(context, operator, left, right))


_LOOP, _CONCAT, _LITERAL = "\0loop", "\0concat", "\0literal"
"""Names of our own filters, which no template can write."""


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(cast(nodes.Expr, node), name, [], [], None, None, lineno=node.lineno)


def _count_growth(node: nodes.Node) -> nodes.Node:
    """Put `a ~ b`, lists and tables of a template's tree through a counting filter."""
    for name, value in node.iter_fields():
        if isinstance(value, list):
            setattr(node, name, [_count_growth(item) if isinstance(item, nodes.Node) else item for item in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _count_growth(value))
    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), _CONCAT)
    if isinstance(node, (nodes.List, nodes.Dict)) or (isinstance(node, nodes.Tuple) and node.ctx == "load"):
        return _filtered(node, _LITERAL)
    return node


def _budget(context: Context) -> _Budget:
    budget = context.parent.get(_BUDGET)
    if not isinstance(budget, _Budget):  # only when rendered past `ChatTemplate.render`
        raise TemplateError("The chat template was started without a budget.")
    return budget


@pass_context
def _finalize(context: Context, value: Any) -> Any:
    """Count what `{{ … }}` writes. Made into text here, where a list of unbearable size has been refused before."""
    budget = _budget(context)
    budget.step()
    return budget.admit(str(budget.admit(value)))


@pass_context
def _loop(context: Context, values: Any) -> Any:
    """Count the steps of a `for` loop; keep the length, which `loop.length` and `loop.last` ask for."""
    budget = _budget(context)
    if isinstance(values, Undefined) or not hasattr(values, "__len__"):
        return _counted_steps(budget, iter(values))
    return _CountedList(budget, values)


def _counted_steps(budget: _Budget, values: Iterator[Any]) -> Iterator[Any]:
    for value in values:
        budget.step()
        yield value


@dataclass(slots=True)
class _CountedList:
    budget: _Budget
    values: Any

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[Any]:
        return _counted_steps(self.budget, iter(self.values))


@pass_context
def _concat(context: Context, parts: list[Any]) -> str:
    budget = _budget(context)
    budget.step()
    return str(budget.admit("".join(str(budget.admit(part)) for part in parts)))


@pass_context
def _literal(context: Context, value: Any) -> Any:
    budget = _budget(context)
    budget.step()
    return budget.admit(value)


def _counted_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    wants = _PassArg.from_obj(function)

    @pass_context
    def counted(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        budget = _budget(context)
        budget.step()
        budget.admit(value)
        if name in _SIZED_FILTERS:
            _refuse_wide([*args, *kwargs.values()])
        if name in _GROWING_FILTERS:
            value = list(value) if isinstance(value, Iterator) else value
            _refuse_growth(_GROWING_FILTERS[name], value, [*args, *kwargs.values()])
        before: tuple[Any, ...] = ()
        if wants is _PassArg.context:
            before = (context,)
        elif wants is _PassArg.eval_context:
            before = (context.eval_ctx,)
        elif wants is _PassArg.environment:
            before = (context.environment,)
        made = function(*before, value, *args, **kwargs)
        if isinstance(made, Iterator):  # map, select …: Jinja's lazy filters
            return _counted_steps(budget, made)
        return budget.admit(made)

    return counted


def _refuse_wide(arguments: Iterable[Any]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > MAX_INTEGER:
            raise TemplateError(f"The chat template asks a text function for a size of {argument}.")


def _refuse_growth(name: str, subject: Any, arguments: list[Any]) -> None:
    """Refuse, before it is made, a text that would be a multiple of what it is made from."""
    size = 0
    if name == "join" and arguments and hasattr(arguments[0], "__len__"):
        size = len(subject) * len(arguments[0])
    elif name == "join filter" and arguments and hasattr(subject, "__len__"):
        size = len(str(arguments[0])) * len(subject)
    elif name == "replace" and len(arguments) > 1:
        size = str(subject).count(str(arguments[0])) * len(str(arguments[1]))
    elif name in ("%", "format", "format_map"):
        _refuse_wide_format(subject)
        mark = "%" if name == "%" else "{"
        size = str(subject).count(mark) * max((len(str(argument)) for argument in arguments), default=0)
    if size > MAX_BYTES:
        raise TemplateError("The chat template makes too much text.")


def _refuse_wide_format(text: Any) -> None:
    if isinstance(text, str) and _WIDE.search(text):
        raise TemplateError("The chat template formats with too large a width.")


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as Hugging Face's templates expect it: no HTML escapes, characters as they are."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_listed,
    )


def _listed(value: object) -> list[Any]:
    """`map` and `select` give lazy sequences, which templates write as JSON all the same."""
    if isinstance(value, Iterator):
        return list(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def _raise_exception(message: object) -> None:
    raise TemplateError(f"The chat template refuses this conversation: {message}")


def _local_now() -> datetime:
    return datetime.now().astimezone()


def _strftime_with(now: Callable[[], datetime]) -> Callable[[str], str]:
    def strftime_now(form: str) -> str:
        _refuse_wide_format(form)
        return now().strftime(form)

    return strftime_now


class _as_template_error:  # noqa: N801 - reads as a phrase after `with`
    """Turns whatever a template does wrong into a `TemplateError`; a hostile one may raise nearly anything."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, TemplateError) or not isinstance(error, Exception):
            return
        line = getattr(error, "lineno", None) if isinstance(error, JinjaError) else None
        where = f" (line {line})" if line else ""
        said = "it calls itself too deeply" if isinstance(error, RecursionError) else str(error)[:500]
        raise TemplateError(f"{self.what}{where}: {said or type(error).__name__}") from error
