"""From a question to tokens: the chat template, the tokenizer, and what of a long conversation fits.

Nothing is rendered or turned into tokens that cannot fit: a context of n tokens holds at most n times the longest token
in bytes. Not for the event loop; long work stops when nobody waits for it (`pools.still_wanted`).
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from foredraft.core.errors import ContextOverflowError, EmptyPromptError, ParameterError
from foredraft.core.params import Request
from foredraft.engines.base import Tokenizer
from foredraft.formats.binding import Forms, closed_thinking, opens_thinking
from foredraft.formats.entries import Form
from foredraft.formats.history import accepted, has_calls, in_its_place
from foredraft.formats.prefill import Beginning, beginning_of, continued
from foredraft.formats.tool_prompt import describe_tools, knows_tools
from foredraft.models.infill import infill_of
from foredraft.models.template import ChatTemplate
from foredraft.pair.llm import LLM
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.errors import TextTooLongError
from foredraft.server.limits import PROMPT_LOGPROBS, LimitError
from foredraft.server.pools import still_wanted

if TYPE_CHECKING:
    from foredraft.server.asking import Question

LEFT_OUT = "The conversation does not fit in the context: its oldest messages were left out."
_SHORT = 8 << 10
"""Bytes of text that are turned into tokens without a look at the vocabulary."""
_TOGETHER = 256
"""Control tokens of one piece. llama.cpp looks for each from the text's beginning: time grows with their square."""
_CONTROL = re.compile(r"[<\[](?!0x..>).+[>\]]", re.DOTALL)
"""What control tokens look like."""


class PromptTooLongError(LimitError):
    """A text that cannot fit, by its bytes alone."""

    code = "context_overflow"

    def __init__(self, size: int, most: int, context: int, longest: int, param: str) -> None:
        super().__init__(
            f"The prompt has {size:,} bytes, but a context of {context:,} tokens holds at most {most:,}: "
            f"no token of this model is longer than {longest} bytes.",
            size,
            most,
            param=param,
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question as tokens."""

    request: Request
    thinking: bool
    """The prompt ends inside the model's thinking."""
    tool_format: Form | None
    """How the model writes its answers; without calls where there are no tools. None: no conversation."""
    begun: bool = False
    """The prompt has begun the content of the answer."""


@dataclass(frozen=True, slots=True)
class _Facts:
    longest: int
    """Bytes of the longest token."""
    control: re.Pattern[str] | None
    """Any control token in a text; None where pieces of a text may not be read one by one."""


class Prompts:
    """Prompts for loaded models. What must be known of a vocabulary is found out when the first long text comes."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Tokenizer, _Facts] = WeakKeyDictionary()
        self.forms = Forms()

    def prepare(self, model: LLM, question: Question) -> Prepared:
        """Write the prompt: the chat template, then tokens. Raises what is wrong with it."""
        n_ctx = model.info.n_ctx
        form: Form | None = None
        thinking = begun = False
        if question.messages is not None:
            template = _template(model, question)
            form = self.forms.of(model.engine.tokenizer, template.source, question.tool_format)
            beginning = _beginning(question, form)
            text, prompt = self._conversation(model, question, template, form, beginning)
            thinking = beginning.thinking if beginning is not None else opens_thinking(text, form)
            begun = beginning is not None and not thinking
            if beginning is not None or closed_thinking(text, form):
                form = dataclasses.replace(form, late=False)
            if not question.tools or question.tool_choice == "none":
                form = form.without_calls()
        elif question.suffix:
            prompt = self._infill(model, question.prompt or "", question.suffix)
        elif isinstance(question.prompt, str):
            prompt = self._continuation(model, question.prompt)
        else:
            prompt = list(question.prompt or ())
        if not prompt:
            raise EmptyPromptError
        if len(prompt) >= n_ctx:
            raise ContextOverflowError(len(prompt), n_ctx)
        if question.prompt_logprobs is not None:
            PROMPT_LOGPROBS.check(len(prompt) * (1 + question.prompt_logprobs) * question.n, "logprobs")
        prediction: list[int] = []
        if question.prediction:
            prediction = self.encode(model, question.prediction, add_special=False, parse_special=False)
        request = Request(
            prompt=tuple(prompt),
            sampling=question.sampling,
            speculation=dataclasses.replace(question.speculation, enabled=False)
            if question.draft == "off"
            else question.speculation,
            stop=question.stop,
            max_tokens=question.max_tokens,
            prediction=tuple(prediction),
            ignore_eos=question.ignore_eos,
            session=question.session,
            end_tokens=form.end_tokens if form is not None else frozenset(),
        )
        return Prepared(request, thinking, form, begun)

    def encode(self, model: LLM, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """A text as tokens. Raises `PromptTooLongError` for one that cannot fit, before it is read."""
        self.check(model, _bytes(text))
        return self._encode(model.engine.tokenizer, text, add_special, parse_special)

    def _encode(
        self, tokenizer: Tokenizer, text: str, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        if len(text) > _SHORT and parse_special and (control := self._facts(tokenizer).control) is not None:
            pieces = _pieces(text, control)
            if len(pieces) > 1:
                return _encode_pieces(tokenizer, pieces, add_special)
        return tokenizer.encode(text, add_special=add_special, parse_special=parse_special)

    def _continuation(self, model: LLM, text: str) -> list[int]:
        """A text to go on with, its control tokens read as such; a token that begins it is not added twice."""
        tokenizer = model.engine.tokenizer
        if tokenizer.add_bos and tokenizer.bos is not None:
            text = text.removeprefix(tokenizer.text(tokenizer.bos))
        return self.encode(model, text)

    def _infill(self, model: LLM, before: str | Sequence[int], after: str) -> list[int]:
        """A prompt to write what stands between two texts, in which nothing is read as a control token."""
        tokenizer = model.engine.tokenizer
        infill = infill_of(model.info, tokenizer)

        def tokens(text: str) -> list[int]:
            return self.encode(model, text, add_special=False, parse_special=False)

        prompt = infill.prompt(tokens(before) if isinstance(before, str) else before, tokens(after))
        return [tokenizer.bos, *prompt] if tokenizer.add_bos and tokenizer.bos is not None else prompt

    def text(self, model: LLM, question: Question) -> str:
        """The prompt of a conversation as text, by the chat template, whether or not it fits."""
        template = _template(model, question)
        form = self.forms.of(model.engine.tokenizer, template.source, question.tool_format)
        beginning = _beginning(question, form) if question.messages else None
        return self._render(template, question, form, beginning, question.messages or ())

    def tokens(self, model: LLM | Embedder, text: str) -> list[int]:
        """A text's tokens, whether or not they fit: for counting. Control tokens are read as such, and none is added,
        but by embedding models, which read a text as a whole."""
        if isinstance(model, Embedder):
            return model.engine.tokenizer.encode(text, parse_special=False)
        return self._encode(model.engine.tokenizer, text, add_special=False)

    def of_texts(self, model: Embedder, texts: Sequence[str | Sequence[int]], *, cut: bool = False) -> list[list[int]]:
        """Texts to embed (or token ids, taken as they are) as tokens. Raises what is wrong with one; with `cut` the end
        of a text that is too long is left out instead."""
        tokens = []
        for i, text in enumerate(texts):
            still_wanted()
            if cut and isinstance(text, str):
                text = self._cut(model, text)
            elif isinstance(text, str):
                self.check(model, _bytes(text), f"input.{i}")
            try:
                tokens += model.read([text])
            except TextTooLongError as error:
                raise TextTooLongError(i, error.tokens, error.longest) from None
            except ParameterError as error:
                raise ParameterError(f"input.{i}", error.value, error.allowed) from None
        return tokens

    def _cut(self, model: Embedder, text: str) -> str | list[int]:
        """A text, or its first tokens (and the last, where the vocabulary puts a mark there) where it is too long."""
        n_ctx, tokenizer = model.info.n_ctx, model.engine.tokenizer
        if _bytes(text) + 2 <= n_ctx:  # a token is a byte at least, but for a mark at each end
            return text
        text = text[: n_ctx * self._facts(tokenizer).longest]
        tokens = tokenizer.encode(text, parse_special=False)
        if len(tokens) <= n_ctx:
            return text
        return [*tokens[: n_ctx - 1], tokens[-1]] if tokenizer.add_eos else tokens[:n_ctx]

    def check(self, model: LLM | Embedder, size: int, param: str = "messages") -> None:
        """Raises `PromptTooLongError` where a text of so many bytes cannot fit in the model's context."""
        context = model.info.n_ctx
        if size < min(context, _SHORT):  # a token is a byte at least
            return
        longest = self._facts(model.engine.tokenizer).longest
        if size > context * longest:
            raise PromptTooLongError(size, context * longest, context, longest, param)

    # ---- conversations ----

    def _conversation(
        self, model: LLM, question: Question, template: ChatTemplate, form: Form, beginning: Beginning | None
    ) -> tuple[str, list[int]]:
        assert question.messages is not None
        messages = list(question.messages)
        size = sum(map(_size, messages))
        render = functools.partial(self._render, template, question, form, beginning)
        if question.truncate and size > min(model.info.n_ctx, _SHORT):
            return self._shortened(model, question, messages, render)
        self.check(model, size)
        text = render(messages)
        return text, self.encode(model, text)

    def _render(
        self,
        template: ChatTemplate,
        question: Question,
        form: Form,
        beginning: Beginning | None,
        messages: Sequence[Mapping[str, Any]],
    ) -> str:
        """The prompt of a conversation, which ends with the `beginning` of the answer where there is one."""
        form = form.unbound()  # prompts have control tokens by their names
        tools = question.tools if question.tool_choice != "none" else ()
        if messages and (beginning is not None or _is_empty(messages[-1])):
            messages = messages[:-1]
        if not messages:
            raise EmptyPromptError
        if tools and not knows_tools(template.source):
            messages, tools = describe_tools(messages, tools), ()
        elif has_calls(messages):
            messages = accepted(messages, form, self.forms.abilities(template))
        else:
            messages = [in_its_place(message, form) for message in messages]
        if beginning is None:
            return template.render(
                messages,
                tools=tools or None,
                extra=question.template_variables,
                add_generation_prompt=question.generation_prompt,
            )
        return continued(
            template, messages, beginning, form, tools=tools or None, variables=question.template_variables
        )

    def _shortened(
        self,
        model: LLM,
        question: Question,
        messages: list[Mapping[str, Any]],
        render: Callable[[Sequence[Mapping[str, Any]]], str],
    ) -> tuple[str, list[int]]:
        """The conversation without its oldest messages (a system message stays), as far as that makes it fit.

        Messages are counted from the end until there is no more room, so that what is left out is never rendered. What
        the template writes around a message is known after the first rendering: the second one fits, or nearly, where
        it writes unlike things for like messages.
        """
        first = 1 if messages[0].get("role") == "system" else 0
        head, rest = messages[:first], messages[first:]
        room = model.info.n_ctx - min(question.max_tokens or 1, model.info.n_ctx // 4)
        sizes = self._sizes_from_the_end(model, rest, room - sum(self._tokens(model, message) for message in head))
        kept = rest[len(rest) - len(sizes) :]
        while True:
            still_wanted()
            if len(kept) < len(rest):
                if LEFT_OUT not in question.warnings:
                    question.warnings.append(LEFT_OUT)
                kept, sizes = _begin_with_a_question(kept, sizes)
            text = render([*head, *kept])
            prompt = self._encode(model.engine.tokenizer, text)
            if len(prompt) < room or len(kept) <= 1:
                return text, prompt
            each = (len(prompt) - sum(sizes)) / len(kept)  # what the template writes around a message
            excess, drop = len(prompt) - room + 1, 0
            while drop < len(kept) - 1 and (excess > 0 or drop == 0):
                excess -= int(sizes[drop] + each)
                drop += 1
            kept, sizes = kept[drop:], sizes[drop:]

    def _sizes_from_the_end(self, model: LLM, messages: Sequence[Mapping[str, Any]], room: int) -> list[int]:
        """The tokens of the last messages' own text, of as many as could fit, at least of one."""
        sizes: list[int] = []
        for message in reversed(messages):
            still_wanted()
            if sizes and _size(message) > room * self._facts(model.engine.tokenizer).longest:
                break
            size = self._tokens(model, message)
            room -= max(1, size)
            if sizes and room <= 0:
                break
            sizes.append(size)
        return sizes[::-1]

    def _tokens(self, model: LLM, message: Mapping[str, Any]) -> int:
        text = str(message.get("content") or "")
        return len(self.encode(model, text, add_special=False, parse_special=False)) if text else 0

    # ---- vocabularies ----

    def _facts(self, tokenizer: Tokenizer) -> _Facts:
        found = self._known.get(tokenizer)
        if found is None:
            found = self._known[tokenizer] = _facts(tokenizer)
        return found


def _facts(tokenizer: Tokenizer) -> _Facts:
    longest, control = 1, []
    for token in range(tokenizer.n_vocab):
        if token % 4096 == 0:
            still_wanted()
        text = tokenizer.text(token)
        longest = max(longest, _bytes(text))
        if _CONTROL.fullmatch(text) and _is_control(tokenizer, token, text):
            control.append(text)
    # Others (WordPiece, Unigram) look at a text as a whole, or end each piece with a token of their own.
    able = tokenizer.kind in ("spm", "bpe", "toy") and not tokenizer.add_eos
    names = sorted(control, key=len, reverse=True)
    return _Facts(longest, re.compile("|".join(map(re.escape, names))) if able and names else None)


def _is_control(tokenizer: Tokenizer, token: int, text: str) -> bool:
    if tokenizer.encode(text, add_special=False, parse_special=True) != [token]:
        return False
    try:
        return tokenizer.encode(text, add_special=False, parse_special=False) != [token]
    except ParameterError:  # a vocabulary that cannot spell it
        return True


def _pieces(text: str, control: re.Pattern[str]) -> list[str]:
    """A text, cut in front of control tokens: there the tokenizer cuts too. Not behind white space, which some control
    tokens take with them."""
    pieces, begin, seen = [], 0, 0
    for found in control.finditer(text):
        seen += 1
        at = found.start()
        if seen > _TOGETHER and not text[at - 1].isspace():
            pieces.append(text[begin:at])
            begin, seen = at, 1
            still_wanted()
    pieces.append(text[begin:])
    return pieces


def _encode_pieces(tokenizer: Tokenizer, pieces: Sequence[str], add_special: bool) -> list[int]:
    tokens: list[int] = []
    for number, piece in enumerate(pieces):
        still_wanted()
        tokens += tokenizer.encode(piece, add_special=add_special and number == 0, parse_special=True)
    return tokens


def _template(model: LLM, question: Question) -> ChatTemplate:
    """The model's own, unless the question brings one."""
    own = model.template
    if not question.template:
        return own
    return ChatTemplate(question.template, bos=own.bos, eos=own.eos, adds_bos=own.adds_bos)


def _beginning(question: Question, form: Form) -> Beginning | None:
    """What the answer begins with: the last message, where it is the assistant's."""
    assert question.messages is not None
    if question.continue_last is False:
        return None
    messages = question.messages
    found = beginning_of(messages[-1], form.unbound()) if len(messages) > 1 else None
    if found is None and question.continue_last:
        raise ParameterError("continue_final_message", True, "false where the last message is not the assistant's")
    return found if found is not None and (found.content or found.thought) else None


def _is_empty(message: Mapping[str, Any]) -> bool:
    """An answer without anything in it, which clients send in front of the one they want."""
    return message.get("role") == "assistant" and not any(
        message.get(key) for key in ("content", "reasoning_content", "tool_calls")
    )


def _begin_with_a_question(
    messages: list[Mapping[str, Any]], sizes: list[int]
) -> tuple[list[Mapping[str, Any]], list[int]]:
    """What is left of a conversation begins with a question."""
    first = 0
    while first < len(messages) - 1 and messages[first].get("role") != "user":
        first += 1
    return messages[first:], sizes[first:]


def _size(message: Mapping[str, Any]) -> int:
    """Bytes of a message's text, the least that the template writes of it."""
    return _bytes(str(message.get("content") or ""))


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
