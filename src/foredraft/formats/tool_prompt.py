"""Tools for models: what a chat template tells of them, and what is told for one that cannot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from foredraft.formats.table import TAGGED
from foredraft.formats.writing import written


def knows_tools(template: str) -> bool:
    """Whether a chat template tells the model of tools itself."""
    return "tools" in template


def describe_tools(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
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
        content = "\n".join([message.get("content") or "", written(TAGGED.calls[0], calls)])
        return {"role": "assistant", "content": content.strip()}
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message.get('content') or ''}\n</tool_response>"}
    return message
