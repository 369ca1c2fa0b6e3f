"""Compiles and renders chat templates in Jinja's sandbox, without a loader. What is rendered cannot look behind the
values it is given; what it costs is limited from outside (`template.py`), where templates of strangers run in a child.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from jinja2 import Template, nodes
from jinja2 import TemplateError as JinjaError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from foredraft.core.errors import TemplateError


def work(task: Mapping[str, Any]) -> dict[str, str]:
    """A child's work (`foredraft/child.py`): {"text"} or {"error"}. `task`: the source and, to render it, the arguments
    of `rendered`."""
    try:
        template = compiled(task["source"])
        return {"text": rendered(template, **task["arguments"]) if "arguments" in task else ""}
    except TemplateError as error:
        return {"error": error.message}


@functools.lru_cache(maxsize=128)
def compiled(source: str) -> Template:
    """Raises `TemplateError` for a template that cannot be read."""
    with _as_template_error("The chat template cannot be read"):
        return _Environment().from_string(source)


def rendered(
    template: Template,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    now: str | None,
    variables: Mapping[str, Any],
) -> str:
    """The conversation as one text; nothing that is given is changed. `now`: the time in ISO 8601; None is the clock's.

    Templates disagree on small things, so one that breaks is tried again: with an empty list of tools instead of none,
    and with the arguments of tool calls as text instead of as a table (OpenAI sends text, Hugging Face expects a
    table). One that refuses a conversation with a system message gets it in front of the first question; any other
    refusal is believed at once.
    """
    try:
        return _rendered(template, messages, tools, now, variables)
    except TemplateError as error:
        if error.__cause__ is not None or not messages or messages[0].get("role") != "system":
            raise
        try:
            return _rendered(template, _without_system(messages), tools, now, variables)
        except TemplateError:
            raise error from None


def _rendered(
    template: Template,
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]] | None,
    now: str | None,
    variables: Mapping[str, Any],
) -> str:
    failed: TemplateError | None = None
    for no_tools, arguments_as_text in ((None, False), ([], False), (None, True), ([], True)):
        given = {
            **variables,
            "messages": [_message(message, arguments_as_text) for message in messages],
            "tools": copy.deepcopy(list(tools)) if tools else no_tools,
            "raise_exception": _raise_exception,
            "strftime_now": lambda form: _time(now).strftime(form),
        }
        try:
            with _as_template_error("The chat template failed"):
                return template.render(given)
        except TemplateError as error:
            if error.__cause__ is None:
                raise
            failed = failed or error
    assert failed is not None
    raise failed


def _without_system(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The conversation with its system message in front of the first question."""
    system, rest = messages[0], list(messages[1:])
    if not rest or rest[0].get("role") != "user":
        return [{"role": "user", "content": system.get("content")}, *rest]
    texts = [str(text) for text in (system.get("content"), rest[0].get("content")) if text]
    return [{**rest[0], "content": "\n\n".join(texts)}, *rest[1:]]


def _message(message: Mapping[str, Any], arguments_as_text: bool) -> dict[str, Any]:
    """A copy that the template may change, with the arguments of tool calls in one form. Arguments that are no JSON (of
    a call that was cut, say) are wrapped in an object."""
    made = copy.deepcopy(dict(message))
    calls = made.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or "arguments" not in function:
            continue
        arguments = function["arguments"]
        if isinstance(arguments, str):
            arguments = _table(arguments)
        function["arguments"] = json.dumps(arguments, ensure_ascii=False) if arguments_as_text else arguments
    return made


def _table(arguments: str) -> Any:
    if not arguments.strip():
        return {}
    try:
        return json.loads(arguments)
    except ValueError:
        return {"arguments": arguments}
    except RecursionError:  # JSON, but too deep: it stays the text it is
        return arguments


class _GenerationTag(Extension):
    """`{% generation %}` marks the answer for training (Hugging Face); here its content passes through."""

    tags = {"generation"}  # noqa: RUF012 - declared so by Jinja

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox with Hugging Face's additions."""

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols])
        self.filters["tojson"] = _tojson
        for name in ("lipsum", "cycler", "joiner"):
            self.globals.pop(name, None)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        # Templates in the wild use lists as stacks; what they are given is a copy.
        return (attr in ("append", "pop") and isinstance(obj, list)) or super().is_safe_attribute(obj, attr, value)


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


def _time(now: str | None) -> datetime:
    return datetime.now().astimezone() if now is None else datetime.fromisoformat(now)


class _as_template_error:  # noqa: N801 - reads as a phrase after `with`
    """Turns whatever a template does wrong into a `TemplateError`; a hostile one may raise nearly anything."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, (TemplateError, MemoryError)) or not isinstance(error, Exception):
            return
        line = getattr(error, "lineno", None) if isinstance(error, JinjaError) else None
        where = f" (line {line})" if line else ""
        said = "it calls itself too deeply" if isinstance(error, RecursionError) else str(error)[:500]
        raise TemplateError(f"{self.what}{where}: {said or type(error).__name__}") from error
