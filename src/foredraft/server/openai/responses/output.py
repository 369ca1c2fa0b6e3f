"""The items of one response, and OpenAI's events on the way to them: an item is whole before the next one begins."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Delta
from foredraft.server.openai.responses.convert import sealed
from foredraft.server.openai.responses.tools import Toolbox, text_input

Event = tuple[str, dict[str, Any]]
"""(its type, its fields)."""
_LOGPROBS: dict[str, dict[str, Any]] = {"output_text": {"logprobs": []}, "reasoning_text": {}}


@dataclass(slots=True)
class Output:
    """The items so far. Every method gives the events that belong to what it does."""

    tools: Toolbox
    encrypted: bool = False
    """Thinking is given as `encrypted_content`, too."""
    items: list[dict[str, Any]] = field(default_factory=list)
    _open: bool = False
    """The last item is not whole yet."""
    _text: list[str] = field(default_factory=list)
    """What has been written of it."""

    def take(self, delta: Delta) -> Iterator[Event]:
        """A piece of the answer."""
        if isinstance(delta, CallStarted):
            yield from self._close("completed")
            yield from self._begin(self._call(delta))
            return
        if isinstance(delta, CallArguments):
            self._text.append(delta.text)
            if self._kind == "function_call":  # a custom tool's text is known when its JSON is whole
                yield "response.function_call_arguments.delta", {**self._at, "delta": delta.text}
            return
        kind, part = ("message", "output_text") if isinstance(delta, Content) else ("reasoning", "reasoning_text")
        if not self._open or self._kind != kind:
            yield from self._close("completed")
            yield from self._begin(_message() if kind == "message" else _reasoning())
            yield "response.content_part.added", {**self._at, "content_index": 0, "part": _part(part, "")}
        self._text.append(delta.text)
        yield f"response.{part}.delta", {**self._at, "content_index": 0, "delta": delta.text, **_LOGPROBS[part]}

    def end(self, status: str) -> Iterator[Event]:
        """The answer has ended: completed, or cut short (incomplete)."""
        yield from self._close(status)
        if not any(item["type"] != "reasoning" for item in self.items):
            yield from self.take(Content(""))
            yield from self._close(status)

    @property
    def _kind(self) -> str:
        return str(self.items[-1]["type"]) if self.items else ""

    @property
    def _at(self) -> dict[str, Any]:
        return {"item_id": self.items[-1]["id"], "output_index": len(self.items) - 1}

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        self.items.append(item)
        self._open, self._text = True, []
        yield "response.output_item.added", {"output_index": len(self.items) - 1, "item": dict(item)}

    def _call(self, started: CallStarted) -> dict[str, Any]:
        known = self.tools.of(started.name)
        item = {"call_id": started.id, "name": known.name}
        if known.namespace:
            item["namespace"] = known.namespace
        if known.custom:
            return {"id": f"ctc_{started.id}", "type": "custom_tool_call", **item, "input": ""}
        item |= {"arguments": "", "status": "in_progress"}
        return {"id": f"fc_{started.id}", "type": "function_call", **item}

    def _close(self, status: str) -> Iterator[Event]:
        if not self._open:
            return
        item, text, at = self.items[-1], "".join(self._text), self._at
        self._open = False
        if item["type"] == "function_call":
            item |= {"arguments": text, "status": status}
            yield "response.function_call_arguments.done", {**at, "arguments": text, "name": item["name"]}
        elif item["type"] == "custom_tool_call":
            item["input"] = text_input(text)
            yield "response.custom_tool_call_input.delta", {**at, "delta": item["input"]}
            yield "response.custom_tool_call_input.done", {**at, "input": item["input"]}
        else:
            kind = "output_text" if item["type"] == "message" else "reasoning_text"
            item["content"], item["status"] = [_part(kind, text)], status
            if kind == "reasoning_text" and self.encrypted:
                item["encrypted_content"] = sealed(text)
            yield f"response.{kind}.done", {**at, "content_index": 0, "text": text, **_LOGPROBS[kind]}
            yield "response.content_part.done", {**at, "content_index": 0, "part": _part(kind, text)}
        yield "response.output_item.done", {"output_index": at["output_index"], "item": dict(item)}


def _message() -> dict[str, Any]:
    item = {"id": f"msg_{secrets.token_hex(12)}", "type": "message", "role": "assistant"}
    return {**item, "status": "in_progress", "content": []}


def _reasoning() -> dict[str, Any]:
    item = {"id": f"rs_{secrets.token_hex(12)}", "type": "reasoning"}
    return {**item, "summary": [], "content": [], "status": "in_progress"}


def _part(kind: str, text: str) -> dict[str, Any]:
    part: dict[str, Any] = {"type": kind, "text": text}
    return part | {"annotations": [], "logprobs": []} if kind == "output_text" else part
