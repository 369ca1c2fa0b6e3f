"""LLM: a main model with its draft, ready to answer. The one place where everything meets.

>>> from foredraft import LLM
>>> with LLM.load() as llm:                       # the embedded pair
...     print(llm.chat("What is 2 + 3?", temperature=0).text)
2 + 3 = 5
"""

from __future__ import annotations

import dataclasses
import difflib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from foredraft.core.errors import (
    ClosedError,
    EmptyPromptError,
    EngineDiedError,
    ForedraftError,
    ParameterError,
)
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Engine, ModelInfo, Numerics
from foredraft.models.template import ChatTemplate, fallback_template
from foredraft.pair.draft import PairDraft
from foredraft.pair.fetching import draft_file, main_file
from foredraft.pair.files import open_main_file
from foredraft.pair.load_settings import LoadSettings
from foredraft.pair.opening import Isolation
from foredraft.pair.speculation import Controller
from foredraft.pair.stream import AnswerStream, Progress
from foredraft.pair.tokens import spelt
from foredraft.runtime.managed_model import Place
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation, ScheduledRequest, SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece
from foredraft.speculative.acceptance import AcceptanceRule
from foredraft.speculative.controllers import DraftController, Fixed
from foredraft.speculative.drafters import Drafter, NoDrafter

Message = Mapping[str, Any]
Rule = str | AcceptanceRule | type[AcceptanceRule]


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
        unavailable: str = "",
        settings: LoadSettings | None = None,
        notes: list[str] | None = None,
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
        self.notes: list[str] = notes if notes is not None else []
        """What the load decided on its own, in words."""
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
        self._template: ChatTemplate | None = None

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
        notes: list[str] = []
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
                raise ForedraftError("The draft cannot be changed while an answer is being written.")
            self.draft.change(draft, required=required, force=force, device=device, progress=progress)

    # ---- answering ----

    def request(
        self,
        prompt: str | Sequence[int],
        *,
        stop: str | Sequence[str] = (),
        max_tokens: int | None = None,
        prediction: str | None = None,
        speculation: SpeculationParams | None = None,
        ignore_eos: bool = False,
        sampling: SamplingParams | None = None,
        **fields: Any,
    ) -> Request:
        """A request from text or token ids. `fields` are single ones of `SamplingParams`, instead of `sampling`'s."""
        self._require_open()
        for name in fields:
            _check_name(name, fields[name])
        if not isinstance(prompt, str) and not all(isinstance(token, int) for token in prompt):
            raise ParameterError("prompt", prompt, "a text, or a list of token ids")
        if isinstance(prompt, bytes):
            raise ParameterError("prompt", prompt, "a text, or a list of token ids: decode bytes first")
        if not prompt:
            raise EmptyPromptError
        encode = self.engine.tokenizer.encode
        return Request(
            prompt=tuple(encode(prompt) if isinstance(prompt, str) else prompt),
            sampling=dataclasses.replace(sampling or SamplingParams(), **fields),
            speculation=speculation or SpeculationParams(acceptance=self._rule),
            stop=(stop,) if isinstance(stop, str) else tuple(stop),
            max_tokens=max_tokens,
            prediction=_predicted(prediction, encode) if prediction else (),
            ignore_eos=ignore_eos,
        )

    def stream(
        self, prompt: str | Sequence[int] | Request, *, progress: Progress | None = None, **params: Any
    ) -> AnswerStream:
        """Continue a text (no chat template), piece by piece. `params` are those of `request`."""
        request = prompt if isinstance(prompt, Request) else self.request(prompt, **params)
        with self._turn:
            self._require_open()
            return AnswerStream(self, self.scheduler.submit(request), progress)

    def generate(self, prompt: str | Sequence[int] | Request, **params: Any) -> Generation:
        """Continue a text (no chat template) to its end."""
        return self.stream(prompt, **params).result

    def score(self, text: str | Sequence[int], *, top: int = 0) -> list[TokenLogprob]:
        """How likely the model finds a text: ln of the probability of each of its tokens but the first, given those
        before it, with the `top` likeliest in its place."""
        request = self.request(text, max_tokens=0)
        with self._turn:
            answer = self.scheduler.submit(request, prompt_logprobs=top)
        scored = AnswerStream(self, answer, None).result.prompt_logprobs
        assert scored is not None, "they were asked for"
        return scored

    def chat(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Any,
    ) -> AnswerStream:
        """Answer a conversation, with the file's own chat template. A text alone is one message of the user's."""
        text = self.render(messages, tools=tools, template_variables=template_variables)
        return self.stream(text, progress=progress, **params)

    def render(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> str:
        """The conversation as the text the model reads. Raises `TemplateError`."""
        if not messages:
            raise EmptyPromptError
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        return self.template.render(messages, tools=tools, extra=template_variables)

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
        if self._template is None:
            self._require_open()
            tokenizer, source, note = self.engine.tokenizer, self.engine.info.chat_template, ""
            if source is None:
                source, note = fallback_template(_control_texts(self.engine))
            self._template = ChatTemplate(
                source,
                bos=tokenizer.text(tokenizer.bos) if tokenizer.bos is not None else "",
                eos=tokenizer.text(tokenizer.eos) if tokenizer.eos is not None else "",
                adds_bos=tokenizer.add_bos,
                note=note,
            )
        return self._template

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
            status = SpeculationStatus("off", "Switched off for this request.")
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


_FIELDS = tuple(field.name for field in dataclasses.fields(SamplingParams))


def _check_name(name: str, value: object) -> None:
    """Raises `ParameterError` for a parameter that nobody knows."""
    if name in _FIELDS:
        return
    others = ("stop", "max_tokens", "prediction", "speculation", "ignore_eos", "sampling")
    near = difflib.get_close_matches(name, (*_FIELDS, *others), n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    raise ParameterError(name, value, f"left out: the parameters are {', '.join(sorted((*_FIELDS, *others)))}.{meant}")


def _embedded(draft: str | Path | None) -> tuple[Path, str | Path | None]:
    """The pair that Foredraft ships, as (main, draft)."""
    from foredraft import demo

    return demo.main_path(), demo.draft_path() if str(draft) == "auto" else draft


def _predicted(text: str, encode: Callable[..., Sequence[int]]) -> tuple[int, ...]:
    """The tokens of a prediction. One that is too long to be encoded is refused under its own name."""
    try:
        return tuple(encode(text, add_special=False))
    except ParameterError as error:
        raise ParameterError("prediction", error.value, error.allowed) from error


def _control_texts(engine: Engine) -> list[str]:
    """Texts of the end-of-generation tokens and their like: what a fallback template needs to know."""
    tokenizer = engine.tokenizer
    names = ("<|im_start|>", "<|im_end|>")
    return [name for name in names if len(tokenizer.encode(name, add_special=False)) == 1]
