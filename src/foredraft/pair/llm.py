"""LLM: a main model with its draft, ready to answer. The one place where everything meets.

>>> from foredraft import LLM
>>> with LLM.load() as llm:                       # the embedded pair
...     print(llm.chat("What is 2 + 3?", temperature=0).text)
2 + 3 = 5
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, overload

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import (
    ClosedError,
    EngineDiedError,
    ForedraftError,
    ParameterError,
)
from foredraft.core.params import Request
from foredraft.core.reasons import Reason
from foredraft.engines.base import Engine, ModelInfo, Numerics
from foredraft.grammars.constraints import GrammarVocabulary
from foredraft.models.template import ChatTemplate
from foredraft.pair.batch import Wish, checked_n, run_batch, with_seed
from foredraft.pair.draft import PairDraft
from foredraft.pair.fetching import draft_file, main_file
from foredraft.pair.files import open_main_file
from foredraft.pair.keywords import (
    AnswerKeywords,
    Conversation,
    Conversations,
    Message,
    Prompt,
    Prompts,
    listed,
    listed_conversations,
    request_of,
    with_conversation,
    with_prompt,
)
from foredraft.pair.opening import Isolation
from foredraft.pair.speculation import Controller
from foredraft.pair.stream import AnswerStream, Progress
from foredraft.pair.tokens import spelt
from foredraft.requests.generation_request import GenerationRequest, TokenizedRequest
from foredraft.requests.grammar import answer_grammar, constraints, is_constrained
from foredraft.requests.preparing import Preparation
from foredraft.runtime.managed_model import Place
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation, ScheduledRequest, SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece
from foredraft.speculative.acceptance import AcceptanceRule
from foredraft.speculative.controllers import DraftController, Fixed
from foredraft.speculative.drafters import Drafter, NoDrafter

Rule = str | AcceptanceRule | type[AcceptanceRule]
P = TypeVar("P")


class LLM:
    """A loaded pair. Several threads may use it: they take turns, a pass each, and every answer is what it would be
    alone. (The server's have a thread of their own for it: `runtime/runtime.py`.)"""

    def __init__(
        self,
        engine: Engine,
        drafter: Drafter | None = None,
        controller: DraftController | None = None,
        *,
        rule: Rule = "match",
        unavailable: Reason | None = None,
        settings: LoadSettings | None = None,
        notes: list[Reason] | None = None,
        isolation: tuple[Isolation, ...] = (),
        own_drafter: Drafter | None = None,
        own_controller: Controller | None = None,
    ) -> None:
        """From parts, for tests and experiments; `load` is the usual way. `unavailable` says why there is no draft,
        where one was wanted; `isolation` where the main model lies, if it was loaded from a file. `own_drafter` and
        `own_controller`: see `load`; they take their place when a draft is set."""
        self.engine = engine
        self._closed = False
        self._turn = threading.RLock()
        """Held for a pass, and for whatever changes the pair."""
        self.notes: list[Reason] = notes if notes is not None else []
        """What the load decided on its own."""
        self.scheduler = Scheduler(engine, drafter or NoDrafter(), controller or Fixed())
        self.draft = PairDraft(
            self.scheduler,
            settings or LoadSettings(),
            self.notes,
            main_isolation=isolation,
            unavailable=unavailable,
            own=own_drafter,
            controller=own_controller,
        )
        self._rule = rule
        self._preparation = Preparation()
        self._vocabulary: GrammarVocabulary | None = None
        """As grammars read it; made when the first is asked for."""

    @classmethod
    def load(
        cls,
        main: str | Path | None = None,
        draft: str | Path | None = "auto",
        *,
        drafter: Drafter | None = None,
        rule: Rule = "match",
        controller: Controller | None = None,
        settings: LoadSettings | None = None,
        draft_required: bool = False,
        force: bool = False,
        download: bool = True,
        progress: Progress | None = None,
    ) -> LLM:
        """Load a main model and its draft from GGUF files.

        `main`: a path, a name on the shelf, or a repository of the hub ("OWNER/NAME", ":QUANT" behind it), which is
        fetched where it is not here yet and `download` allows that (a bar on a terminal; `progress` gets "download");
        None is the embedded pair. `draft`: the same, "builtin" (the one inside the main model's file), "auto" (the best
        there is, if any) or "off"/None. A draft that does not fit raises `IncompatibleDraftError` when
        `draft_required`, else it is left off and `speculation` and `notes` say why. `force` takes a draft whose
        vocabulary only looks different; ids the main model lacks are never proposed.

        `drafter`: a source of guesses of your own, which the arbiter asks first, beside the draft and what is found in
        the text (with `draft=None`: alone). `rule` judges the guesses of requests that say nothing of it: a name of
        `RULES`, an object, or a class. `controller`: a name of `CONTROLLERS`, an object, or a class, instead of
        `settings.controller`. None of the three may change the text, but a rule that says so.
        """
        settings = settings or LoadSettings()
        if main is None:
            main_path, draft_wish = _embedded(draft)
        else:
            main_path, draft_wish = main_file(main, download=download, progress=progress), draft
        draft_wish = draft_file(draft_wish, download=download, progress=progress)
        notes: list[Reason] = []
        engine, where = open_main_file(main_path, settings, notes, progress)
        try:
            llm = cls(
                engine,
                rule=rule,
                settings=settings,
                notes=notes,
                isolation=(where,),
                own_drafter=drafter,
                own_controller=controller,
            )
            llm.set_draft(draft_wish, required=draft_required, force=force, progress=progress)
        except BaseException:
            engine.close()
            raise
        return llm

    def set_draft(
        self,
        draft: str | Path | None,
        *,
        required: bool = False,
        force: bool = False,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Change the draft; the main model stays as it is. See `load`. Running answers must have ended. `device` is
        where it runs from now on (`LoadSettings.draft_device`); None is where it ran."""
        with self._turn:
            self._require_open()
            if self.scheduler.busy:
                raise ForedraftError(Reason("draft_busy"))
            self.draft.change(draft, required=required, force=force, device=device, progress=progress)

    # ---- answering ----

    def prepare(self, request: GenerationRequest) -> TokenizedRequest:
        """A request as tokens, by the file's chat template and vocabulary. Raises what is wrong with it."""
        self._require_open()
        return self._preparation.prepare(self.engine, request)

    def request(self, prompt: str | Sequence[int], **params: Unpack[AnswerKeywords]) -> Request:
        """A request from text or token ids. Single fields of `SamplingParams` stand instead of `sampling`'s."""
        return self.prepare(with_prompt(request_of(params, self._rule), prompt)).request

    def stream(
        self, prompt: Prompt, *, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> AnswerStream:
        """Continue a text (no chat template), piece by piece; or answer a request."""
        self._require_open()
        return self._begin(self._asks(params)(prompt), progress)

    def _asks(self, params: AnswerKeywords) -> Callable[[Prompt], Wish]:
        """Requests with these parameters. What is wrong with them is raised here, and not for each prompt."""
        common = request_of(params, self._rule)

        def asked(prompt: Prompt) -> Wish:
            if not isinstance(prompt, (Request, GenerationRequest)):
                return with_prompt(common, prompt)
            for name, value in params.items():
                raise ParameterError(name, value, "left out: the request that was made beforehand has its own")
            return prompt

        return asked

    def _begin(self, request: Wish, progress: Progress | None = None, *, scored: int | None = None) -> AnswerStream:
        """Submit a request; `scored` asks for the log probabilities of its prompt, with so many likely others."""
        tokenized, constraint, top = None, None, None
        if isinstance(request, GenerationRequest):
            tokenized = self.prepare(request)
            constraint = self.constraint(request, tokenized)
            top, scored = request.top_logprobs, request.prompt_logprobs
            request = tokenized.request
        with self._turn:
            self._require_open()
            answer = self.scheduler.submit(request, constraint=constraint, top_logprobs=top, prompt_logprobs=scored)
        return AnswerStream(self, answer, progress, tokenized)

    def constraint(self, request: GenerationRequest, tokenized: TokenizedRequest) -> Constraint | None:
        """What holds an answer to the form that is asked for, if any. Raises `GrammarError`."""
        if not is_constrained(request):
            return None
        grammar = answer_grammar(request, tokenized)
        if self._vocabulary is None:
            tokenizer = self.engine.tokenizer
            pieces = [tokenizer.piece(token) for token in range(tokenizer.n_vocab)]
            self._vocabulary = GrammarVocabulary(pieces, tokenizer.eog, tokenizer)
        return constraints(self._vocabulary, grammar, tokenized, 1)[0]

    @overload
    def generate(
        self, prompt: Prompt, *, n: None = None, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> Generation: ...
    @overload
    def generate(
        self, prompt: Prompt, *, n: int, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> list[Generation]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, n: None = None, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> list[Generation]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, n: int, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> list[list[Generation]]: ...
    def generate(
        self,
        prompt: Prompt | Prompts,
        *,
        n: int | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> Generation | list[Generation] | list[list[Generation]]:
        """Continue a text (no chat template) to its end; of a list of texts each, as one batch
        (`LoadSettings.slots` at once), in their order. `n` gives so many answers to each, as a list; with a seed they
        have seed, seed + 1, …

        An answer of a batch is what it is alone, and one that fails ends no other: `BatchError` comes at the end and
        has the results of all.
        """
        self._require_open()
        asked = self._asks(params)
        prompts, alone = listed(prompt)
        if alone and n is None:
            return self._begin(asked(prompts[0]), progress).result
        answers = self._batch(prompts, asked, n, progress)
        return answers[0] if alone else answers if n is not None else [answer for (answer,) in answers]

    def _batch(
        self,
        prompts: Sequence[P],
        asked: Callable[[P], Wish],
        n: int | None,
        progress: Progress | None,
    ) -> list[list[Generation]]:
        """`n` answers to each prompt, one where that is None."""
        n = 1 if n is None else checked_n(n)
        begin = [partial(self._one_of, prompt, asked, i) for prompt in prompts for i in range(n)]
        slots = self.info.n_slots
        found = run_batch(begin, lambda stream: stream.result, slots=slots, progress=progress)
        return [found[at : at + n] for at in range(0, len(found), n)]

    def _one_of(self, prompt: P, asked: Callable[[P], Wish], number: int) -> AnswerStream:
        return self._begin(with_seed(asked(prompt), number))

    def score(self, text: str | Sequence[int], *, top: int = 0) -> list[TokenLogprob]:
        """How likely the model finds a text: ln of the probability of each of its tokens but the first, given those
        before it, with the `top` likeliest in its place."""
        scored = self._begin(self.request(text, max_tokens=0), scored=top).result.prompt_logprobs
        assert scored is not None, "they were asked for"
        return scored

    @overload
    def chat(
        self,
        messages: Conversation,
        *,
        n: None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> AnswerStream: ...
    @overload
    def chat(
        self,
        messages: Conversation,
        *,
        n: int,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> list[Generation]: ...
    @overload
    def chat(
        self,
        messages: Conversations,
        *,
        n: None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> list[Generation]: ...
    @overload
    def chat(
        self,
        messages: Conversations,
        *,
        n: int,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> list[list[Generation]]: ...
    def chat(
        self,
        messages: Conversation | Conversations,
        *,
        n: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> AnswerStream | list[Generation] | list[list[Generation]]:
        """Answer a conversation, with the file's own chat template. A text alone is one message of the user's; where
        the last message is the assistant's, the answer goes on with it. A list of texts or conversations is answered as
        one batch, and `n` gives so many answers to each, as with `generate`.
        """
        self._require_open()
        common = dataclasses.replace(
            request_of(params, self._rule), tools=tuple(tools or ()), template_variables=template_variables
        )
        asked = partial(with_conversation, common)
        conversations, alone = listed_conversations(messages)
        if alone and n is None:
            return self._begin(asked(conversations[0]), progress)
        answers = self._batch(conversations, asked, n, progress)
        return answers[0] if alone else answers if n is not None else [answer for (answer,) in answers]

    def render(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as the text the model reads. Raises `TemplateError`."""
        self._require_open()
        common = GenerationRequest(tools=tuple(tools or ()), template_variables=template_variables)
        return self._preparation.text(self.engine, with_conversation(common, messages))

    # ---- counting ----

    def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """A text as token ids, as `generate` reads it. `add_special` puts the token in front that the model wants
        there; `parse_special` reads "<|im_end|>" as the one control token that it names."""
        self._require_open()
        return self.engine.tokenizer.encode(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, tokens: Sequence[int]) -> str:
        """A text that becomes these tokens again, where there is one; control tokens by their names."""
        self._require_open()
        return spelt(self.engine.tokenizer, tokens)

    def count(
        self,
        text: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> int:
        """How many tokens a text has as a prompt of `generate`, or a conversation as one of `chat`."""
        if not isinstance(text, str):
            text = self.render(text, tools=tools, template_variables=template_variables)
        return len(self.tokenize(text))

    @property
    def template(self) -> ChatTemplate:
        """The chat template of the file, or a fallback that says so in its `note`."""
        self._require_open()
        return self._preparation.template(self.engine)

    # ---- what it is, and how it is doing ----

    @property
    def info(self) -> ModelInfo:
        return self.engine.info

    @property
    def draft_info(self) -> ModelInfo | None:
        """The draft model, if there is one."""
        return self.draft.info

    @property
    def isolation(self) -> tuple[Isolation, ...]:
        """Where the models lie, main and draft, as far as they were loaded from files."""
        return (*self.draft.main_isolation, *self.draft.isolation)

    @property
    def numerics(self) -> Numerics | None:
        return self.engine.numerics

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the main model and the draft lie, as far as they were loaded from files."""
        drafter = self.draft.model
        engines = (self.engine, *([drafter.engine] if drafter is not None else []))
        return tuple(
            Place(getattr(engine, "pid", None), where.reason)
            for where, engine in zip(self.isolation, engines, strict=False)
        )

    @property
    def died(self) -> EngineDiedError | None:
        """Why the main model's process has ended, where it had one of its own."""
        return getattr(self.engine, "died", None)

    @property
    def draft_died(self) -> EngineDiedError | None:
        """Why the draft's process has ended, where it had one of its own."""
        return self.draft.died

    @property
    def speculation(self) -> SpeculationStatus:
        """What the draft is doing now, and why."""
        return self.draft.status

    def step(self, answer: ScheduledRequest) -> None:
        """A pass, of which an answer that has not ended gets its share."""
        with self._turn:
            if not answer.done:
                self.scheduler.step()

    def finish(self, answer: ScheduledRequest) -> None:
        """Step until an answer has ended."""
        while not answer.done:
            self.step(answer)

    def generation(self, answer: ScheduledRequest, pieces: list[Piece]) -> Generation:
        """The finished answer as a value."""
        speculation = answer.request.speculation
        status = self.speculation
        if not speculation.enabled or speculation.method == "off" or speculation.max_draft == 0:
            status = SpeculationStatus("off", Reason("off_for_request"))
        return Generation(
            text=answer.text,
            tokens=answer.tokens,
            stop_reason=answer.stop_reason or "error",
            model=self.info.name,
            draft=self.draft_info.name if self.draft_info is not None else None,
            seed=answer.seed,
            speculation=status,
            numerics=self.numerics,
            stats=answer.stats,
            pieces=pieces,
            stop_string=answer.stream.found,
            prompt_logprobs=None if answer.prompt_logprobs is None else list(answer.prompt_logprobs.tokens),
            end_logprob=answer.stream.end_logprob,
        )

    def close(self) -> None:
        """End every answer, keep what was learned about the pair, and free both models. Whatever is asked afterwards
        raises `ClosedError`; closing again does nothing."""
        with self._turn:
            if self._closed:
                return
            self._closed = True
            self.scheduler.close()
            self.draft.save()
            self.draft.close()
            self.engine.close()

    def __repr__(self) -> str:
        info, draft = self.info, self.draft_info
        with_draft = f", draft {draft.name}" if draft is not None else ", no draft"
        state = "closed" if self._closed else f"context {info.n_ctx:,}, answers at once: {info.n_slots}"
        return f"LLM({info.name} {info.quantisation}{with_draft}, {state})"

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(self.info.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _embedded(draft: str | Path | None) -> tuple[Path, str | Path | None]:
    """The pair that Foredraft ships, as (main, draft)."""
    from foredraft import demo

    return demo.main_path(), demo.draft_path() if str(draft) == "auto" else draft
