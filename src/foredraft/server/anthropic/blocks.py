"""An answer as content blocks: thinking, text and tool calls, one after another, whole or as they come."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from foredraft.formats.response_parser import CallArguments, CallStarted, Content, Delta, Reasoning, ResponseParser
from foredraft.scheduling.request import Generation
from foredraft.server.calls import arguments_object

STOP_REASONS = {
    "eos": "end_turn",
    "stop": "stop_sequence",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "cancelled": "end_turn",
}


def signature(thinking: str) -> str:
    """What stands behind a block of thinking. Clients send it back and some drop a block without one; it is the text's
    hash, and nobody checks it."""
    return base64.b64encode(hashlib.sha256(thinking.encode("utf-8", "replace")).digest()).decode()


def call_id(ours: str) -> str:
    """A call's id as these clients expect it."""
    return "toolu_" + ours.removeprefix("call_")


def blocks(reader: ResponseParser, *, omit_thinking: bool, one_call: bool) -> list[dict[str, Any]]:
    """The content of an answer that has been read to its end."""
    result: list[dict[str, Any]] = []
    if reader.reasoning:
        shown = "" if omit_thinking else reader.reasoning
        result.append({"type": "thinking", "thinking": shown, "signature": signature(reader.reasoning)})
    if reader.content:
        result.append({"type": "text", "text": reader.content})
    for call in reader.calls[: 1 if one_call else None]:
        arguments = arguments_object(call.arguments)
        result.append({"type": "tool_use", "id": call_id(call.id), "name": call.name, "input": arguments})
    return result


def stop(answer: Generation, reader: ResponseParser) -> dict[str, Any]:
    """How the answer ended."""
    reason = STOP_REASONS.get(answer.stop_reason, "end_turn")
    if reader.calls and reason in ("end_turn", "stop_sequence"):
        return {"stop_reason": "tool_use", "stop_sequence": None}
    return {"stop_reason": reason, "stop_sequence": answer.stop_string if reason == "stop_sequence" else None}


class BlockWriter:
    """The events of an answer's blocks. One is open at a time, and their numbers have no holes: clients keep them in a
    list. Each event is without its `type`'s frame (`routes.py` puts it there)."""

    def __init__(self, *, omit_thinking: bool, one_call: bool) -> None:
        self._omit = omit_thinking
        self._one_call = one_call
        self._index = -1
        self._open = ""
        self._thought = ""
        self._skip = False
        """The call that comes is one too many."""

    def write(self, delta: Delta) -> list[dict[str, Any]]:
        """The events of one delta."""
        if isinstance(delta, CallStarted):
            self._skip = self._one_call and delta.index > 0
            if self._skip:
                return self.end()
            block = {"type": "tool_use", "id": call_id(delta.id), "name": delta.name, "input": {}}
            return [*self.end(), self._start("tool_use", block)]
        if isinstance(delta, CallArguments):
            if self._skip:
                return []
            return [self._delta({"type": "input_json_delta", "partial_json": delta.text})]
        if isinstance(delta, Reasoning):
            self._thought += delta.text
            begun = self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            return begun + ([] if self._omit else [self._delta({"type": "thinking_delta", "thinking": delta.text})])
        assert isinstance(delta, Content)
        begun = self._begin("text", {"type": "text", "text": ""})
        return [*begun, self._delta({"type": "text_delta", "text": delta.text})]

    def end(self) -> list[dict[str, Any]]:
        """Close the block that is open, if one is."""
        if not self._open:
            return []
        events = []
        if self._open == "thinking":
            events.append(self._delta({"type": "signature_delta", "signature": signature(self._thought)}))
            self._thought = ""
        self._open = ""
        return [*events, {"type": "content_block_stop", "index": self._index}]

    def _begin(self, kind: str, block: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if self._open == kind else [*self.end(), self._start(kind, block)]

    def _start(self, kind: str, block: dict[str, Any]) -> dict[str, Any]:
        self._open = kind
        self._index += 1
        return {"type": "content_block_start", "index": self._index, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}
