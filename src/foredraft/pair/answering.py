"""What a loaded pair can be asked: the doors of `LLM`, over what it has of engine and scheduler."""

from __future__ import annotations

import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Unpack, overload

from foredraft.core.errors import ClosedError
from foredraft.core.params import Request, SpeculationParams
from foredraft.engines.base import Engine
from foredraft.grammars.constraints import GrammarVocabulary
from foredraft.models.template import ChatTemplate
from foredraft.pair.batch import checked_n, run_batch, with_seed
from foredraft.pair.keywords import (
    AnswerKeywords,
    Ask,
    Asked,
    ChatKeywords,
    Conversation,
    Conversations,
    Prompt,
    Prompts,
    RequestKeywords,
    asked,
    listed,
    listed_conversations,
)
from foredraft.pair.reading import Reading
from foredraft.pair.results import Answer
from foredraft.pair.stream import AnswerStream, Progress
from foredraft.pair.structure import Structure
from foredraft.pair.tokens import spelt
from foredraft.pair.tools import Tool, tool_of
from foredraft.requests.generation_request import GenerationRequest, TokenizedRequest
from foredraft.requests.grammar import answer_grammar, constraints, is_constrained
from foredraft.requests.preparing import Preparation
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation, ScheduledRequest
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece
from foredraft.speculative.acceptance import AcceptanceRule

Rule = str | AcceptanceRule | type[AcceptanceRule]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that the scheduler needs of an answer, and how it is read."""

    request: Request
    reading: Reading
    constraint: Constraint | None = None
    top_logprobs: int | None = None
    prompt_logprobs: int | None = None


Each = Callable[[Any, int], Prepared]
"""From a prompt or a conversation, and the number of its answer, to that."""


class Answering(ABC):
    """A pair that answers. Several threads may use it."""

    engine: Engine
    scheduler: Scheduler

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._turn = threading.RLock()
        """Held for a pass, and for whatever changes the pair."""
        self._closed = False
        self._preparation = Preparation()
        self._vocabulary: GrammarVocabulary | None = None
        """As grammars read it; made when the first is asked for."""
        self._making = threading.Lock()

    # ---- a text to go on with ----

    def request(self, prompt: str | Sequence[int], **params: Unpack[RequestKeywords]) -> Request:
        """A request from text or token ids, to be given to `stream` or `generate` as often as wanted."""
        self._require_open()
        return self._prepared(self._asked(params, RequestKeywords).prompt(prompt)).request

    def stream(self, prompt: Prompt, **params: Unpack[AnswerKeywords]) -> AnswerStream:
        """Continue a text (no chat template), piece by piece; or answer a request, as it is written."""
        ask = self._asked(params, AnswerKeywords)
        return self._begin(self._prepared(ask.prompt(prompt), ask.structure), params.get("progress"))

    @overload
    def generate(self, prompt: Prompt, *, n: None = None, **params: Unpack[AnswerKeywords]) -> Answer: ...
    @overload
    def generate(self, prompt: Prompt, *, n: int, **params: Unpack[AnswerKeywords]) -> list[Answer]: ...
    @overload
    def generate(self, prompt: Prompts, *, n: None = None, **params: Unpack[AnswerKeywords]) -> list[Answer]: ...
    @overload
    def generate(self, prompt: Prompts, *, n: int, **params: Unpack[AnswerKeywords]) -> list[list[Answer]]: ...
    def generate(
        self, prompt: Prompt | Prompts, *, n: int | None = None, **params: Unpack[AnswerKeywords]
    ) -> Answer | list[Answer] | list[list[Answer]]:
        """Continue a text (no chat template) to its end; of a list of texts each, as one batch
        (`LoadSettings.slots` at once), in their order. `n` gives so many answers to each, as a list; with a seed they
        have seed, seed + 1, …

        An answer of a batch is what it is alone, and one that fails ends no other: `BatchError` comes at the end and
        has the results of all.
        """
        ask = self._asked(params, AnswerKeywords)
        prompts, alone = listed(prompt)
        if alone and n is None:
            return self._begin(self._prepared(ask.prompt(prompts[0]), ask.structure), params.get("progress")).result
        begin = self._each(ask.prompt, ask.structure, apart=False)
        return grouped(self._batch(prompts, begin, n, params.get("progress")), n, alone=alone)

    def score(self, text: str | Sequence[int], *, top: int = 0) -> list[TokenLogprob]:
        """How likely the model finds a text: ln of the probability of each of its tokens but the first, given those
        before it, with the `top` likeliest in its place."""
        scored = self._begin(self._scored(text, top)).result.prompt_logprobs
        assert scored is not None, "they were asked for"
        return scored

    # ---- conversations ----

    @overload
    def chat(self, messages: Conversation, *, n: None = None, **params: Unpack[ChatKeywords]) -> AnswerStream: ...
    @overload
    def chat(self, messages: Conversation, *, n: int, **params: Unpack[ChatKeywords]) -> list[Answer]: ...
    @overload
    def chat(self, messages: Conversations, *, n: None = None, **params: Unpack[ChatKeywords]) -> list[Answer]: ...
    @overload
    def chat(self, messages: Conversations, *, n: int, **params: Unpack[ChatKeywords]) -> list[list[Answer]]: ...
    def chat(
        self, messages: Conversation | Conversations, *, n: int | None = None, **params: Unpack[ChatKeywords]
    ) -> AnswerStream | list[Answer] | list[list[Answer]]:
        """Answer a conversation, with the file's own chat template: iterate over the answer, or ask for its `text`, its
        `result`. A text alone is one message of the user's. Where the last message is the assistant's, the answer goes
        on with it. Thinking and calls of tools stand apart from the text.

        A list of texts or conversations is answered as one batch, and `n` gives so many answers to each, as with
        `generate`.
        """
        ask = self._asked(params, ChatKeywords)
        conversations, alone = listed_conversations(messages)
        if alone and n is None:
            prepared = self._prepared(ask.conversation(conversations[0]), ask.structure, apart=True)
            return self._begin(prepared, params.get("progress"))
        begin = self._each(ask.conversation, ask.structure, apart=True)
        return grouped(self._batch(conversations, begin, n, params.get("progress")), n, alone=alone)

    def render(
        self,
        messages: Conversation,
        *,
        tools: Sequence[Tool] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as the text the model reads. Raises `TemplateError`."""
        self._require_open()
        request = GenerationRequest(tools=tuple(map(tool_of, tools or ())), template_variables=template_variables)
        return self._preparation.text(self.engine, Asked(request).conversation(messages))

    def prepare(self, request: GenerationRequest) -> TokenizedRequest:
        """A request as tokens, by the file's chat template and vocabulary. Raises what is wrong with it."""
        self._require_open()
        return self._preparation.prepare(self.engine, request)

    @property
    def template(self) -> ChatTemplate:
        """The chat template of the file, or a fallback that says so in its `note`."""
        self._require_open()
        return self._preparation.template(self.engine)

    # ---- tokens ----

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """A text as token ids. `add_special` puts the token in front that the model wants there; `parse_special` reads
        "<|im_end|>" as the one control token that it names."""
        self._require_open()
        return self.engine.tokenizer.encode(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """A text that becomes these tokens again, where there is one; control tokens by their names."""
        self._require_open()
        return spelt(self.engine.tokenizer, tokens)

    def count(
        self,
        text: Conversation,
        *,
        tools: Sequence[Tool] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> int:
        """How many tokens a text has as a prompt of `generate`, or a conversation (a list of messages) as one of
        `chat`."""
        if not isinstance(text, str):
            text = self.render(text, tools=tools, template_variables=template_variables)
        return len(self.tokenize(text))

    # ---- passes, for whoever reads an answer ----

    def step(self, answer: ScheduledRequest) -> None:
        """A pass, of which an answer that has not ended gets its share."""
        with self._turn:
            if not answer.done:
                self.scheduler.step()

    def finish(self, answer: ScheduledRequest) -> None:
        """Step until an answer has ended."""
        while not answer.done:
            self.step(answer)

    @abstractmethod
    def generation(self, answer: ScheduledRequest, pieces: list[Piece]) -> Generation:
        """The finished answer as a value."""

    # ---- inside ----

    def _asked(self, params: Mapping[str, Any], names: Any) -> Asked:
        self._require_open()
        ask = asked(params, names)
        if params.get("speculation") is not None:
            return ask
        speculation = SpeculationParams(acceptance=self._rule)
        return dataclasses.replace(ask, request=dataclasses.replace(ask.request, speculation=speculation))

    def _prepared(
        self, request: Request | GenerationRequest, structure: Structure | None = None, *, apart: bool = False
    ) -> Prepared:
        """A request as the scheduler takes it. Safe beside a thread that has the model."""
        if isinstance(request, Request):
            return Prepared(request, Reading())
        tokenized = self.prepare(request)
        constraint = self.constraint(request, tokenized)
        reading = Reading(tokenized, apart=apart, structure=structure, warnings=request.warnings)
        return Prepared(tokenized.request, reading, constraint, request.top_logprobs, request.prompt_logprobs)

    def _scored(self, text: str | Sequence[int], top: int) -> Prepared:
        return dataclasses.replace(self._prepared(self.request(text, max_tokens=0)), prompt_logprobs=top)

    def constraint(self, request: GenerationRequest, tokenized: TokenizedRequest) -> Constraint | None:
        """The grammar that the answer must follow. Raises `GrammarError` or `ConstraintError`."""
        if not is_constrained(request):
            return None
        grammar = answer_grammar(request, tokenized)
        with self._making:
            if self._vocabulary is None:
                tokenizer = self.engine.tokenizer
                pieces = [tokenizer.piece(token) for token in range(tokenizer.n_vocab)]
                self._vocabulary = GrammarVocabulary(pieces, tokenizer.eog, tokenizer)
        return constraints(self._vocabulary, grammar, tokenized, 1)[0]

    def _begin(self, prepared: Prepared, progress: Progress | None = None) -> AnswerStream:
        with self._turn:
            self._require_open()
            answer = self.scheduler.submit(
                prepared.request,
                constraint=prepared.constraint,
                top_logprobs=prepared.top_logprobs,
                prompt_logprobs=prepared.prompt_logprobs,
            )
        return AnswerStream(self, answer, progress, prepared.reading)

    def _each(self, ask: Ask, structure: Structure | None, *, apart: bool) -> Each:
        """Answer number `i` to a prompt."""

        def prepared(prompt: Any, number: int) -> Prepared:
            one = self._prepared(ask(prompt), structure, apart=apart)
            return dataclasses.replace(one, request=with_seed(one.request, number))

        return prepared

    def _batch(self, prompts: Sequence[Any], each: Each, n: int | None, progress: Progress | None) -> list[Answer]:
        """`n` answers to each prompt, one where that is None."""
        numbers = range(1 if n is None else checked_n(n))
        begin = [partial(self._one, each, prompt, number) for prompt in prompts for number in numbers]
        slots = self.engine.info.n_slots
        return run_batch(begin, lambda stream: stream.result, slots=slots, progress=progress)

    def _one(self, each: Each, prompt: Any, number: int) -> AnswerStream:
        return self._begin(each(prompt, number))

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(self.engine.info.name)


def grouped(answers: Sequence[Answer], n: int | None, *, alone: bool) -> list[Answer] | list[list[Answer]]:
    """The answers of a batch as they are given back: those to one prompt that stood `alone`, or for each prompt a list
    of `n`, or its one."""
    if n is None or alone:
        return list(answers)
    return [list(answers[at : at + n]) for at in range(0, len(answers), n)]
