"""Preparation of requests: a `GenerationRequest` to tokens and limits, for every model and whoever asks.

Not for the event loop; long work stops when nobody waits for it (`core/cancellation.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from foredraft.core.errors import ContextOverflowError, EmptyPromptError, ParameterError
from foredraft.core.params import Request
from foredraft.core.reasons import Reason
from foredraft.engines.base import Engine, Tokenizer
from foredraft.formats.binding import Forms, closed_thinking, opens_thinking
from foredraft.formats.entries import Form
from foredraft.models.infill import infill_of
from foredraft.models.template import ChatTemplate, fallback_template
from foredraft.requests.conversation import Conversation, Fitting
from foredraft.requests.generation_request import GenerationRequest, TokenizedRequest
from foredraft.requests.tokenizing import BoundedTokenizer, PromptTooLongError, n_bytes


class Preparation:
    """Requests to tokens. Keeps what it finds out about vocabularies and templates for as long as models are loaded;
    may be used by several threads."""

    def __init__(self) -> None:
        self.tokenizer = BoundedTokenizer()
        self.forms = Forms()
        self._fitting = Fitting(self.tokenizer)
        self._templates: WeakKeyDictionary[Tokenizer, ChatTemplate] = WeakKeyDictionary()

    def prepare(self, engine: Engine, request: GenerationRequest) -> TokenizedRequest:
        """Write the prompt: the chat template, then tokens. Raises what is wrong with it."""
        form: Form | None = None
        thinking = begun = False
        if request.messages is not None:
            conversation = self._conversation(engine, request)
            form, beginning = conversation.form, conversation.beginning
            text, prompt = self._fitting.prompt(engine, conversation)
            thinking = beginning.thinking if beginning is not None else opens_thinking(text, form)
            begun = beginning is not None and not thinking
            if beginning is not None or closed_thinking(text, form):
                form = dataclasses.replace(form, late=False)
            if not request.tools or request.tool_choice == "none":
                form = form.without_calls()
            if request.continuation:  # encoded together: tokens may reach across
                prompt = self.tokenizer.encode(engine, text + request.continuation)
        elif request.suffix:
            prompt = self._infill(engine, request.prompt or "", request.suffix)
        elif isinstance(request.prompt, str):
            prompt = self._continuation(engine, request.prompt)
        else:
            prompt = list(request.prompt or ())
        if not prompt:
            raise EmptyPromptError
        if len(prompt) >= engine.info.n_ctx:
            raise ContextOverflowError(len(prompt), engine.info.n_ctx)
        speculation = request.speculation
        if request.draft == "off":
            speculation = dataclasses.replace(speculation, enabled=False)
        return TokenizedRequest(
            Request(
                prompt=tuple(prompt),
                sampling=request.sampling,
                speculation=speculation,
                stop=request.stop,
                max_tokens=request.max_tokens,
                prediction=tuple(self._predicted(engine, request.prediction)),
                ignore_eos=request.ignore_eos,
                session=request.session,
                end_tokens=form.end_tokens if form is not None else frozenset(),
            ),
            thinking,
            form,
            begun,
            tuple(self._plain(engine, request.continuation, parse_special=True)) if request.continuation else (),
            request.tools,
        )

    def count(self, engine: Engine, request: GenerationRequest) -> int:
        """How many tokens the prompt has, whether or not it fits. Raises what else is wrong with the request."""
        try:
            return len(self.prepare(engine, request).request.prompt)
        except PromptTooLongError:  # refused before it was read
            return len(self.tokenizer.encode_all(engine, self.text(engine, request)))
        except ContextOverflowError as error:
            return error.prompt_tokens

    def text(self, engine: Engine, request: GenerationRequest) -> str:
        """The prompt of a conversation as text, by the chat template, whether or not it fits."""
        return self._conversation(engine, request).text()

    def template(self, engine: Engine) -> ChatTemplate:
        """The chat template of a model's file, or a fallback that says so in its `note`. Raises `TemplateError`."""
        tokenizer = engine.tokenizer
        found = self._templates.get(tokenizer)
        if found is None:
            source = engine.info.chat_template
            note: Reason | None = None
            if source is None:
                source, note = fallback_template(_control_texts(tokenizer))
            found = self._templates[tokenizer] = ChatTemplate(
                source,
                bos=tokenizer.text(tokenizer.bos) if tokenizer.bos is not None else "",
                eos=tokenizer.text(tokenizer.eos) if tokenizer.eos is not None else "",
                adds_bos=tokenizer.add_bos,
                note=note,
            )
        return found

    def _conversation(self, engine: Engine, request: GenerationRequest) -> Conversation:
        template = self.template(engine)
        if request.template:
            own = template
            template = ChatTemplate(request.template, bos=own.bos, eos=own.eos, adds_bos=own.adds_bos)
        form = self.forms.of(engine.tokenizer, template.source, request.tool_format)
        return Conversation.of(request, template, form, self.forms)

    def _continuation(self, engine: Engine, text: str) -> list[int]:
        """A text to go on with, its control tokens read as such; a token that begins it is not added twice."""
        tokenizer = engine.tokenizer
        if tokenizer.add_bos and tokenizer.bos is not None:
            text = text.removeprefix(tokenizer.text(tokenizer.bos))
        return self.tokenizer.encode(engine, text)

    def _infill(self, engine: Engine, before: str | Sequence[int], after: str) -> list[int]:
        """A prompt to write what stands between two texts, in which nothing is read as a control token."""
        tokenizer = engine.tokenizer
        infill = infill_of(engine.info, tokenizer)
        begin = self._plain(engine, before) if isinstance(before, str) else before
        prompt = infill.prompt(begin, self._plain(engine, after))
        return [tokenizer.bos, *prompt] if tokenizer.add_bos and tokenizer.bos is not None else prompt

    def _predicted(self, engine: Engine, text: str) -> list[int]:
        """The tokens of a prediction. One that cannot fit or be encoded is refused under its own name."""
        self.tokenizer.check(engine, n_bytes(text), "prediction")
        try:
            return self._plain(engine, text) if text else []
        except ParameterError as error:
            raise ParameterError("prediction", error.value, error.allowed) from error

    def _plain(self, engine: Engine, text: str, *, parse_special: bool = False) -> list[int]:
        return self.tokenizer.encode(engine, text, add_special=False, parse_special=parse_special)


def _control_texts(tokenizer: Tokenizer) -> list[str]:
    """Texts of the end-of-generation tokens and their like: what a fallback template needs to know."""
    names = ("<|im_start|>", "<|im_end|>")
    return [name for name in names if len(tokenizer.encode(name, add_special=False)) == 1]
