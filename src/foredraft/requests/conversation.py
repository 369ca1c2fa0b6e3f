"""Conversations as prompts: the chat template, what the answer begins with, and what of a long conversation fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.core.cancellation import still_wanted
from foredraft.core.errors import EmptyPromptError, ParameterError
from foredraft.engines.base import Engine
from foredraft.formats.binding import Forms
from foredraft.formats.entries import Form
from foredraft.formats.history import accepted, has_calls, in_its_place
from foredraft.formats.prefill import Beginning, beginning_of, continued
from foredraft.formats.tool_prompt import describe_tools, knows_tools
from foredraft.models.template import ChatTemplate
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.tokenizing import SHORT, BoundedTokenizer, n_bytes

LEFT_OUT = "The conversation does not fit in the context: its oldest messages were left out."
Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request's conversation with one model: its template, and the form in which that writes."""

    request: GenerationRequest
    template: ChatTemplate
    form: Form
    beginning: Beginning | None
    """What the answer begins with; None: nothing."""
    forms: Forms

    @classmethod
    def of(cls, request: GenerationRequest, template: ChatTemplate, form: Form, forms: Forms) -> Conversation:
        """Raises `ParameterError` where the last message is to be continued and is not the assistant's."""
        return cls(request, template, form, _beginning(request, form) if request.messages else None, forms)

    def text(self) -> str:
        """The whole conversation, whether or not it fits. Raises `TemplateError`, `EmptyPromptError`."""
        return self.render(self.request.messages or ())

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt, which ends with the `beginning` of the answer where there is one."""
        request, form = self.request, self.form.unbound()  # prompts have control tokens by their names
        tools = request.tools if request.tool_choice != "none" else ()
        if messages and (self.beginning is not None or _is_empty(messages[-1])):
            messages = messages[:-1]
        if not messages:
            raise EmptyPromptError
        if tools and not knows_tools(self.template.source):
            messages, tools = describe_tools(messages, tools), ()
        elif has_calls(messages):
            messages = accepted(messages, form, self.forms.abilities(self.template))
        else:
            messages = [in_its_place(message, form) for message in messages]
        variables = request.template_variables
        if self.beginning is not None:
            return continued(self.template, messages, self.beginning, form, tools=tools or None, variables=variables)
        return self.template.render(
            messages, tools=tools or None, extra=variables, add_generation_prompt=request.generation_prompt
        )


class Fitting:
    """Prompts of conversations that fit in a context."""

    def __init__(self, tokenizer: BoundedTokenizer) -> None:
        self._tokenizer = tokenizer

    def prompt(self, engine: Engine, conversation: Conversation) -> tuple[str, list[int]]:
        """The prompt as text and tokens, without the answer's continuation. Raises `PromptTooLongError` for one that
        cannot fit, before it is rendered; with `truncate` the oldest messages are left out instead."""
        request = conversation.request
        messages = list(request.messages or ())
        size = sum(map(_size, messages))
        if request.truncate and size > min(engine.info.n_ctx, SHORT):
            return self._shortened(engine, request, messages, conversation.render)
        self._tokenizer.check(engine, size + n_bytes(request.continuation))
        text = conversation.render(messages)
        return text, self._tokenizer.encode(engine, text)

    def _shortened(
        self,
        engine: Engine,
        request: GenerationRequest,
        messages: list[Message],
        render: Callable[[Sequence[Message]], str],
    ) -> tuple[str, list[int]]:
        """The conversation without its oldest messages (a system message stays), as far as that makes it fit.

        Messages are counted from the end until there is no more room, so that what is left out is never rendered. What
        the template writes around a message is known after the first rendering: the second one fits, or nearly, where
        it writes unlike things for like messages.
        """
        first = 1 if messages[0].get("role") == "system" else 0
        head, rest = messages[:first], messages[first:]
        room = engine.info.n_ctx - min(request.max_tokens or 1, engine.info.n_ctx // 4)
        sizes = self._sizes_from_the_end(engine, rest, room - sum(self._tokens(engine, message) for message in head))
        kept = rest[len(rest) - len(sizes) :]
        while True:
            still_wanted()
            if len(kept) < len(rest):
                if LEFT_OUT not in request.warnings:
                    request.warnings.append(LEFT_OUT)
                kept, sizes = _begin_with_a_question(kept, sizes)
            text = render([*head, *kept])
            prompt = self._tokenizer.encode_all(engine, text)
            if len(prompt) < room or len(kept) <= 1:
                return text, prompt
            each = (len(prompt) - sum(sizes)) / len(kept)  # what the template writes around a message
            excess, drop = len(prompt) - room + 1, 0
            while drop < len(kept) - 1 and (excess > 0 or drop == 0):
                excess -= int(sizes[drop] + each)
                drop += 1
            kept, sizes = kept[drop:], sizes[drop:]

    def _sizes_from_the_end(self, engine: Engine, messages: Sequence[Message], room: int) -> list[int]:
        """The tokens of the last messages' own text, of as many as could fit, at least of one."""
        sizes: list[int] = []
        for message in reversed(messages):
            still_wanted()
            if sizes and _size(message) > room * self._tokenizer.longest(engine):
                break
            size = self._tokens(engine, message)
            room -= max(1, size)
            if sizes and room <= 0:
                break
            sizes.append(size)
        return sizes[::-1]

    def _tokens(self, engine: Engine, message: Message) -> int:
        text = str(message.get("content") or "")
        return len(self._tokenizer.encode(engine, text, add_special=False, parse_special=False)) if text else 0


def _beginning(request: GenerationRequest, form: Form) -> Beginning | None:
    """What the answer begins with: the last message, where it is the assistant's."""
    assert request.messages is not None
    if request.continue_last is False:
        return None
    messages = request.messages
    found = beginning_of(messages[-1], form.unbound()) if len(messages) > 1 else None
    if found is None and request.continue_last:
        raise ParameterError("continue_final_message", True, "false where the last message is not the assistant's")
    return found if found is not None and (found.content or found.thought) else None


def _is_empty(message: Message) -> bool:
    """An answer without anything in it, which clients send in front of the one they want."""
    return message.get("role") == "assistant" and not any(
        message.get(key) for key in ("content", "reasoning_content", "tool_calls")
    )


def _begin_with_a_question(messages: list[Message], sizes: list[int]) -> tuple[list[Message], list[int]]:
    """What is left of a conversation begins with a question."""
    first = 0
    while first < len(messages) - 1 and messages[first].get("role") != "user":
        first += 1
    return messages[first:], sizes[first:]


def _size(message: Message) -> int:
    """Bytes of a message's text, the least that the template writes of it."""
    return n_bytes(str(message.get("content") or ""))
