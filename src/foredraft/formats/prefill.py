"""An assistant's message that the model is to go on with."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.core.errors import TemplateError
from foredraft.formats.entries import Form
from foredraft.formats.history import in_its_place
from foredraft.models.template import ChatTemplate

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an answer begins with."""

    content: str
    thought: str
    """Thinking; where there is no content, it is what goes on."""

    @property
    def thinking(self) -> bool:
        return bool(self.thought) and not self.content


def beginning_of(message: Message, form: Form) -> Beginning | None:
    """What the last message of a conversation begins the answer with; None where it is a question, or a finished turn
    with calls."""
    if message.get("role") != "assistant" or message.get("tool_calls"):
        return None
    content, thought = str(message.get("content") or ""), str(message.get("reasoning_content") or "")
    for kind in form.thinking:
        opening = kind.open.strip()
        if thought or not opening or not content.lstrip().startswith(opening):
            continue
        inner = content.lstrip()[len(opening) :].lstrip("\n")
        thought, closed, rest = inner.partition(kind.close.strip())
        content = rest.lstrip("\n") if closed else ""
    return Beginning(content, thought)


def continued(
    template: ChatTemplate,
    messages: Sequence[Message],
    beginning: Beginning,
    form: Form,
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    variables: Mapping[str, Any] | None,
) -> str:
    """The prompt that ends with the beginning of the answer. `messages`: the conversation in front of it.

    The template writes the message with a mark behind what is there, and the text is cut at the mark. A template that
    does not write it so (one that drops thinking, say) is asked for the beginning of an answer instead.
    """
    mark = f"x{secrets.token_hex(12)}x"
    message: dict[str, Any] = {"role": "assistant", "content": "" if beginning.thinking else beginning.content + mark}
    if beginning.thought:
        message["reasoning_content"] = beginning.thought + (mark if beginning.thinking else "")
    ways = [in_its_place(message, form)]
    if beginning.thought:
        ways.append({"role": "assistant", "content": _in_content(message, form)})
    for last in ways:
        try:
            text = template.render([*messages, last], add_generation_prompt=False, tools=tools, extra=variables)
        except TemplateError:
            continue
        if mark in text:
            return text[: text.index(mark)]
    return _behind_the_prompt(template.render(messages, tools=tools, extra=variables), beginning, form)


def _in_content(message: Message, form: Form) -> str:
    """Thinking written into the content, for templates that do not ask for it."""
    kind = form.thinking[0] if form.thinking else None
    if kind is None or not kind.open:
        return str(message["content"])
    thought = f"{kind.open}\n{message.get('reasoning_content', '')}"
    return f"{thought}\n{kind.close}\n\n{message['content']}" if message["content"] else thought


def _behind_the_prompt(prompt: str, beginning: Beginning, form: Form) -> str:
    """A prompt and the beginning of the answer behind it."""
    kind = next((kind for kind in form.thinking if kind.open and prompt.rstrip().endswith(kind.open.rstrip())), None)
    if beginning.thinking:
        first = form.thinking[0] if form.thinking else None
        opening = "" if kind is not None or first is None else f"{first.open}\n"
        return f"{prompt}{opening}{beginning.thought}"
    if kind is not None:
        thought = beginning.thought + "\n" if beginning.thought else ""
        return f"{prompt}{thought}{kind.close}\n\n{beginning.content}"
    return prompt + beginning.content
