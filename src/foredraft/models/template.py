"""The chat template of a model file: messages in, one text out.

Templates are programs (Jinja) written by strangers. They are compiled and rendered in Jinja's sandbox, in a child
process with hard limits of time and memory; one that asks for more ends in a `TemplateError`. Templates that this
program ships are known by their hash and rendered here.

Who adds the start token: the tokenizer does, where the model wants one (`Tokenizer.add_bos`). A template that writes
it too would give it twice, so pass `adds_bos=True` for such a model and it is cut from the front of the text. Encode
the result with `parse_special=True`, so that "<|im_end|>" becomes the one control token it names.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from foredraft.child import ChildError, Children
from foredraft.core.errors import TemplateError
from foredraft.core.reasons import Reason

MAX_SOURCE = 1 << 17
"""Longest template, in characters. The longest known is about 17,000."""
MAX_SECONDS = 5.0
MAX_BYTES = 1 << 28
"""What compiling or rendering a template may take, in seconds and in bytes of memory."""

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

EMBEDDED_SHA256 = "394a3796c92fdd44de869d0f4de8bd8155bd839094278a67f55be87aba2dd129"
"""Of the embedded pair's template."""


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


def fallback_template(tokens: Iterable[str]) -> tuple[str, Reason]:
    """A template for a file that has none, and a note that says so. `tokens` are the vocabulary's control texts."""
    known = set(tokens)
    if {"<|im_start|>", "<|im_end|>"} <= known:
        return CHATML, Reason("template_chatml")
    return PLAIN, Reason("template_missing")


class ChatTemplate:
    """A template, rendered often. Raises `TemplateError` for every fault, at once for one that cannot be read.

    `bos` and `eos` are the texts of the start and end tokens, which templates may write. With `adds_bos` the tokenizer
    adds the start token by itself, and one at the very front of the text is cut.
    """

    def __init__(
        self, source: str, *, bos: str = "", eos: str = "", adds_bos: bool = False, note: Reason | None = None
    ) -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"The chat template has {len(source):,} characters; at most {MAX_SOURCE:,} are read.")
        self.source = source
        self.bos, self.eos, self.adds_bos = bos, eos, adds_bos
        self.note = note
        """What the user should know about this template; None when it is the file's own."""
        self._trusted = is_trusted(source)
        self._work({"source": source})

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

        Everything given is made of what JSON knows, and stays as it is.
        """
        variables = {
            **(extra or {}),
            "add_generation_prompt": add_generation_prompt,
            "bos_token": self.bos,
            "eos_token": self.eos,
        }
        arguments = {
            "messages": list(messages),
            "tools": list(tools) if tools else None,
            "now": now().isoformat() if now is not None else None,
            "variables": variables,
        }
        text = self._work({"source": self.source, "arguments": arguments})
        return text.removeprefix(self.bos) if self.adds_bos and self.bos else text

    def _work(self, task: Mapping[str, Any]) -> str:
        if self._trusted:
            from foredraft.models.template_sandbox import work

            done = work(task)
        else:
            try:
                done = _children().call(task)
            except ChildError as error:
                raise TemplateError(f"The chat template cannot be used: {error.message}.") from error
        if "error" in done:
            raise TemplateError(done["error"])
        return done["text"]


def is_trusted(source: str) -> bool:
    """Whether a template is one that this program ships, which need not be watched."""
    return source in (CHATML, PLAIN) or hashlib.sha256(source.encode("utf-8", "replace")).hexdigest() == EMBEDDED_SHA256


@functools.cache
def _children() -> Children:
    return Children("foredraft.models.template_sandbox:work", seconds=MAX_SECONDS, n_bytes=MAX_BYTES)
