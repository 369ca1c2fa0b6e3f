"""Tools as the model is told of them, and its calls as the client knows them.

Chat templates know functions with a name and a JSON object. Two more kinds are written as such, and a call is turned
back: those of a namespace, under both names, and custom ones, which take plain text, as their one argument.
What only OpenAI's servers can do (web search …) is left out, aloud.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from foredraft.requests.warnings import note
from foredraft.server import limits
from foredraft.server.errors import RequestError
from foredraft.server.openai.responses.types import Tool

BETWEEN = "__"
"""Between a namespace and a name, as MCP's clients write it."""
INPUT = "input"
"""The argument of a custom tool."""


def flat(name: str, namespace: str | None) -> str:
    """One name for a tool of a namespace."""
    return f"{namespace}{BETWEEN}{name}" if namespace else name


@dataclass(frozen=True, slots=True)
class Known:
    """A tool as the client calls it."""

    name: str
    namespace: str | None = None
    custom: bool = False


@dataclass(slots=True)
class Toolbox:
    """The tools of one request. `functions` are what the template is told of."""

    warnings: list[str]
    functions: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[str, Known] = field(default_factory=dict)

    def add(self, tools: Sequence[Tool], place: str, namespace: str | None = None) -> None:
        """Put tools in. Raises `RequestError` for one without a name, and for too many."""
        for i, tool in enumerate(tools):
            where = f"{place}.{i}"
            if tool.type == "namespace":
                self.add(tool.tools or (), f"{where}.tools", tool.name or namespace)
            elif tool.type not in ("function", "custom"):
                note(f"{where}: tools of the type {tool.type!r} are not served here, left out.", self.warnings)
            elif not tool.name:
                raise RequestError(f"{where}: the tool has no name.", param=f"{where}.name")
            else:
                self._put(tool, namespace)
        limits.TOOLS.check(len(self.functions), "tools")

    def choice(self, wanted: str | dict[str, Any] | None) -> str:
        """The choice of tools: auto, none, required, or the one name. With a list of allowed ones the others are taken
        out. Raises `RequestError`."""
        if wanted is None or isinstance(wanted, str):
            mode = wanted or "auto"
        elif wanted.get("type") == "allowed_tools":
            self._allow(wanted.get("tools"))
            mode = "required" if wanted.get("mode") == "required" else "auto"
        elif wanted.get("type") in ("function", "custom") and isinstance(wanted.get("name"), str):
            mode = flat(wanted["name"], wanted.get("namespace"))
            if mode not in self._known:
                raise RequestError(f"There is no tool {mode!r}.", param="tool_choice.name")
        else:
            kind = str(wanted.get("type"))[:100]
            raise RequestError(f"tool_choice: tools of the type {kind!r} are not served here.", param="tool_choice")
        if mode == "required" and not self.functions:
            raise RequestError("tool_choice is required, but there are no tools.", param="tool_choice")
        return mode

    def of(self, name: str) -> Known:
        """The tool that the model has called: by its whole name, or a name that only one namespace has."""
        if name in self._known:
            return self._known[name]
        alike = [known for known in self._known.values() if name in (known.name, f"{known.namespace}.{known.name}")]
        return alike[0] if len(alike) == 1 else Known(name)

    def _put(self, tool: Tool, namespace: str | None) -> None:
        name = flat(tool.name, namespace)
        custom = tool.type == "custom"
        self._known[name] = Known(tool.name, namespace, custom)
        function: dict[str, Any] = {"name": name}
        if custom:
            function |= {"description": _told(tool), "parameters": _TEXT}
        else:
            given = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
            function |= {key: value for key, value in given.items() if value is not None}
        self.functions.append({"type": "function", "function": function})

    def _allow(self, tools: Any) -> None:
        named = [tool for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
        names = {flat(str(tool.get("name", "")), tool.get("namespace")) for tool in named}
        for name in sorted(names - {tool["function"]["name"] for tool in self.functions}):
            note(f"tool_choice.tools: there is no tool {name!r}, left out.", self.warnings)
        self.functions = [tool for tool in self.functions if tool["function"]["name"] in names]


_TEXT = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}


def _told(tool: Tool) -> str:
    """What a custom tool does, and the form of its text: the model is told of the grammar, not held to it."""
    parts = [tool.description or "", f'Takes plain text, as "{INPUT}".']
    form = tool.format or {}
    definition = form.get("definition")
    if form.get("type") == "grammar" and isinstance(definition, str):
        limits.GRAMMAR.check(len(definition), "tools.format.definition")
        parts.append(f"The text follows this grammar ({form.get('syntax', 'lark')}):\n{definition.strip()}")
    return "\n".join(part for part in parts if part)


def text_input(arguments: str) -> str:
    """The text of a custom tool's call; what is no object with that argument is the text itself."""
    try:
        given = json.loads(arguments)
    except ValueError:
        return arguments
    text = given.get(INPUT) if isinstance(given, dict) else None
    return text if isinstance(text, str) else arguments


def as_arguments(text: str) -> str:
    """The arguments of a custom tool's call, for the template."""
    return json.dumps({INPUT: text}, ensure_ascii=False)
