"""Tool calls as models write them: which form a chat template uses, and how to tell a model of tools without one.

| form | the model writes |
|---|---|
| tagged (Qwen, Hermes, SmolLM …) | `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number of times |
| bare (Llama 3 and its like) | `{"name": …, "parameters": {…}}` and nothing else |
| listed (Mistral) | `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]` |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How a call is written."""

    name: str
    before: str = ""
    after: str = ""
    arguments: str = "arguments"
    """The key of the arguments."""


TAGGED = ToolFormat("tagged", "<tool_call>\n", "\n</tool_call>")
BARE = ToolFormat("bare", arguments="parameters")
LISTED = ToolFormat("listed")


def format_of(template: str) -> ToolFormat:
    """The form that a chat template's source speaks of; tagged where it says nothing."""
    if "<tool_call>" in template:
        return TAGGED
    if "[TOOL_CALLS]" in template:
        return LISTED
    if "<|python_tag|>" in template or '"parameters"' in template:
        return BARE
    return TAGGED


def knows_tools(template: str) -> bool:
    """Whether a chat template tells the model of tools itself."""
    return "tools" in template


def told_of_tools(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The conversation with the tools described in the system message, for templates that cannot."""
    described = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    text = (
        "You may call these functions:\n"
        f"<tools>\n{described}\n</tools>\n"
        "To call one, write a JSON object with its name and arguments:\n"
        '<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>'
    )
    first = messages[0] if messages else None
    if first is not None and first.get("role") == "system":
        return [{**first, "content": f"{first.get('content') or ''}\n\n{text}"}, *map(_plain, messages[1:])]
    return [{"role": "system", "content": text}, *map(_plain, messages)]


def _plain(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message without fields such a template does not know."""
    calls = message.get("tool_calls")
    if calls:
        written = [
            f'{TAGGED.before}{{"name": {json.dumps(call["function"]["name"])}, "arguments": '
            f"{_as_text(call['function'].get('arguments', '{}'))}}}{TAGGED.after}"
            for call in calls
        ]
        return {"role": "assistant", "content": "\n".join([message.get("content") or "", *written]).strip()}
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message.get('content') or ''}\n</tool_response>"}
    return message


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def tool_schema(tool: Mapping[str, Any], form: ToolFormat) -> dict[str, Any]:
    """The JSON schema of a call of one tool."""
    function = tool["function"]
    parameters = function.get("parameters") or {"type": "object", "properties": {}, "additionalProperties": False}
    return {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, form.arguments: parameters},
        "required": ["name", form.arguments],
        "additionalProperties": False,
    }
