"""A conversation in the form that a chat template accepts: calls of earlier turns, their results, thinking.

What a template does with calls is found out by rendering a few short conversations with it, once a template: whether it
writes them at all, several at a time, beside text, and with which kind of empty content.
"""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.core.errors import TemplateError
from foredraft.formats.entries import Form
from foredraft.formats.values import as_json
from foredraft.formats.writing import arguments_of, written
from foredraft.models.template import ChatTemplate

Message = Mapping[str, Any]

_LETTERS = string.ascii_letters + string.digits
_NINE = re.compile(r"[a-zA-Z0-9]{9}")


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a template does with calls."""

    calls: bool = True
    """It writes the calls of a message."""
    empty: str | None = ""
    """The content of a message that has calls alone."""
    beside: bool = True
    """It writes calls of a message that has content too."""
    several: bool = True
    """It writes more than one call of a message."""
    results: bool = True
    """It writes messages of the role `tool`."""


def abilities_of(template: ChatTemplate) -> Abilities:
    """Find out what a template does with calls. Renders up to five short conversations."""

    def writes(content: str | None, count: int, *expected: str) -> bool:
        try:
            text = template.render(_probe(content, count), tools=_PROBED)
        except TemplateError:
            return False
        return all(word in text for word in expected)

    empty: str | None = ""
    calls = writes("", 1, "argument-1")
    if not calls and writes(None, 1, "argument-1"):
        calls, empty = True, None
    return Abilities(
        calls,
        empty,
        beside=not calls or writes("said", 1, "argument-1"),
        several=not calls or writes(empty, 2, "argument-1", "argument-2"),
        results=writes(empty if calls else "said", 1, "result-1"),
    )


_PROBED = [
    {
        "type": "function",
        "function": {
            "name": f"function_{number}",
            "description": "A function.",
            "parameters": {
                "type": "object",
                "properties": {"key": {"type": "string", "description": "A key."}},
                "required": ["key"],
            },
        },
    }
    for number in (1, 2)
]


def _probe(content: str | None, count: int) -> list[Message]:
    numbers = range(1, count + 1)
    calls = [
        {
            "id": f"probe000{number}",
            "type": "function",
            "function": {"name": f"function_{number}", "arguments": {"key": f"argument-{number}"}},
        }
        for number in numbers
    ]
    results = [
        {
            "role": "tool",
            "tool_call_id": f"probe000{number}",
            "name": f"function_{number}",
            "content": f"result-{number}",
        }
        for number in numbers
    ]
    return [
        {"role": "user", "content": "asked"},
        {"role": "assistant", "content": content, "tool_calls": calls},
        *results,
    ]


def has_calls(messages: Sequence[Message]) -> bool:
    """Whether a conversation has calls or their results, so that a template's abilities matter."""
    return any(message.get("tool_calls") or message.get("role") == "tool" for message in messages)


def accepted(messages: Sequence[Message], form: Form, abilities: Abilities) -> list[Message]:
    """The conversation as a template of these abilities accepts it, with nothing of it lost."""
    made: list[Message] = []
    names: dict[str, str] = {}
    place = 0
    messages = _with_ids(messages, form)
    while place < len(messages):
        message = messages[place]
        place += 1
        calls = message.get("tool_calls")
        if message.get("role") == "tool":
            made.append(_result(message, abilities, names))
            continue
        if not calls:
            made.append(in_its_place(message, form))
            continue
        names.update({str(call.get("id")): str(call["function"]["name"]) for call in calls})
        results = []
        while place < len(messages) and messages[place].get("role") == "tool":
            results.append(messages[place])
            place += 1
        made += _with_calls(message, calls, results, form, abilities, names)
    return made


def _with_calls(
    message: Message,
    calls: Sequence[Mapping[str, Any]],
    results: Sequence[Message],
    form: Form,
    abilities: Abilities,
    names: Mapping[str, str],
) -> list[Message]:
    """A message with calls, and the results of the calls."""

    def said(result: Message) -> Message:
        return _result(result, abilities, names)

    content = message.get("content") or ""
    kept = in_its_place({key: value for key, value in message.items() if key != "tool_calls"}, form)
    if not abilities.calls:
        text = "\n".join(part for part in (content, written(form.calls[0], calls)) if part)
        return [{**kept, "content": text}, *map(said, results)]
    ready = [_call(call) for call in calls]
    made: list[Message] = []
    if content and not abilities.beside:
        made.append(kept)
        kept = {"role": "assistant", "content": abilities.empty}
    elif not content and not isinstance(kept.get("content"), list):
        kept = {**kept, "content": abilities.empty}
    if abilities.several or len(ready) == 1:
        return [*made, {**_together(kept, form), "tool_calls": ready}, *map(said, results)]
    waiting = list(results)
    for number, call in enumerate(ready):
        of_this = [result for result in waiting if result.get("tool_call_id") == calls[number].get("id")]
        waiting = [result for result in waiting if result not in of_this]
        base = _together(kept, form) if number == 0 else {"role": "assistant", "content": abilities.empty}
        made += [{**base, "tool_calls": [call]}, *map(said, of_this)]
    return [*made, *map(said, waiting)]


def _together(message: Message, form: Form) -> Message:
    """gpt-oss takes either text or thinking with a call, and writes both as thinking."""
    if form.thinking_key != "thinking" or not (message.get("thinking") and message.get("content")):
        return message
    text = f"{message['thinking']}\n\n{message['content']}"
    return {**{key: value for key, value in message.items() if key != "thinking"}, "content": text}


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {**call["function"], "arguments": arguments_of(call)}
    return {**call, "type": "function", "id": str(call.get("id") or ""), "function": function}


def _result(message: Message, abilities: Abilities, names: Mapping[str, str]) -> Message:
    call_id = str(message.get("tool_call_id") or "")
    content = message.get("content") or ""
    if not abilities.results:
        return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}
    made = {**message, "content": content if isinstance(content, str) else as_json(content)}
    if not made.get("name") and call_id in names:
        made["name"] = names[call_id]
    return made


def _with_ids(messages: Sequence[Message], form: Form) -> Sequence[Message]:
    """The conversation with ids as the family's templates accept them; the same for a call and its result."""
    if form.ids == "call":
        return messages
    ids: dict[str, str] = {}
    made: list[Message] = []
    for message in messages:
        calls = []
        for call in message.get("tool_calls") or ():
            given = str(call.get("id") or "")
            named = f"functions.{call['function']['name']}:{len(ids)}"
            ids[given] = _nine(given) if form.ids == "nine" else given if given.startswith("functions.") else named
            calls.append({**call, "id": ids[given]})
        if calls:
            message = {**message, "tool_calls": calls}
        elif message.get("tool_call_id"):
            given = str(message["tool_call_id"])
            message = {**message, "tool_call_id": ids.get(given) or (_nine(given) if form.ids == "nine" else given)}
        made.append(message)
    return made


def _nine(text: str) -> str:
    """Nine letters and digits for an id; itself where it is of that form."""
    if _NINE.fullmatch(text):
        return text
    digest = int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16], "big")
    made = ""
    for _ in range(9):
        digest, place = divmod(digest, len(_LETTERS))
        made += _LETTERS[place]
    return made


def in_its_place(message: Message, form: Form) -> Message:
    """A message with its thinking where the template looks for it."""
    thought = message.get("reasoning_content")
    if not thought or form.thinking_key == "reasoning_content" or message.get("role") != "assistant":
        return message
    if form.thinking_key:
        return {**message, form.thinking_key: thought}
    content = message.get("content") or ""
    parts = [{"type": "thinking", "thinking": thought}]
    if content:
        parts.append({"type": "text", "text": content})
    return {**{key: value for key, value in message.items() if key != "reasoning_content"}, "content": parts}
