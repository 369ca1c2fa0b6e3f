"""LLM: a main model with its draft, ready to answer. The one place where everything meets.

>>> from foredraft import LLM
>>> with LLM.load() as llm:                       # the embedded pair
...     print(llm.chat("What is 2 + 3?", temperature=0).text)
5
"""

from __future__ import annotations

import dataclasses
import difflib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from foredraft.config.folders import cache_folder, data_folder
from foredraft.config.shelf import auto_draft, locate, locate_draft, open_shelf
from foredraft.core.errors import (
    ClosedError,
    EmptyPromptError,
    EngineDiedError,
    ForedraftError,
    IncompatibleDraftError,
    ParameterError,
)
from foredraft.core.params import BUILTIN, Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Engine, ModelInfo, Numerics
from foredraft.models.template import ChatTemplate, fallback_template
from foredraft.pair.files import check_pair, load_options, open_main_file, share_of
from foredraft.pair.load_settings import LoadSettings
from foredraft.pair.opening import Isolation, isolation, open_draft
from foredraft.pair.speculation import Tuning, adaptive, fixed, written_off
from foredraft.pair.stream import AnswerStream, Progress
from foredraft.runtime.managed_model import Place
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation, ScheduledRequest, SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece
from foredraft.speculative.controllers import DraftController, Fixed
from foredraft.speculative.drafters import Arbiter, Drafter, HeadDrafter, ModelDrafter, NoDrafter

Message = Mapping[str, Any]


class LLM:
    """A loaded pair. Several threads may use it: they take turns, a pass each, and every answer is what it would be
    alone. (The server's have a thread of their own for it: `runtime/runtime.py`.)"""

    def __init__(
        self,
        engine: Engine,
        drafter: Drafter | None = None,
        controller: DraftController | None = None,
        *,
        unavailable: str = "",
    ) -> None:
        """From parts, for tests and experiments; `load` is the usual way. `unavailable` says why there is no draft,
        where one was wanted."""
        self.engine = engine
        self._closed = False
        self._turn = threading.RLock()
        """Held for a pass, and for whatever changes the pair."""
        self._unavailable = unavailable
        self.notes: list[str] = []
        """What the load decided on its own, in words."""
        self.scheduler = Scheduler(engine, drafter or NoDrafter(), controller or Fixed())
        self.draft_info: ModelInfo | None = drafter.engine.info if isinstance(drafter, ModelDrafter) else None
        self._tuning: Tuning | None = None
        self._may_give_back = False
        self._given_back = ""
        """Which draft is not kept in memory because it cannot pay, and why, in words."""
        self._skip: list[Path] = []
        """Drafts that are not to be tried in the change that is going on."""
        self._unpaying: Path | None = None
        """The file of a draft that cannot pay, given back or not."""
        self._advice: str | None = None
        self._settings = LoadSettings()
        self.isolation: tuple[Isolation, ...] = ()
        """Where the models lie, main and draft, as far as they were loaded from files."""
        self._template: ChatTemplate | None = None

    @classmethod
    def load(
        cls,
        main: str | Path | None = None,
        draft: str | Path | None = "auto",
        *,
        settings: LoadSettings | None = None,
        draft_required: bool = False,
        force: bool = False,
        progress: Progress | None = None,
    ) -> LLM:
        """Load a main model and its draft from GGUF files.

        `main`: a path or a name on the shelf; None is the embedded pair. `draft`: a path or name, "builtin" (the one
        inside the main model's file), "auto" (the best there is, if any) or "off"/None. A draft that does not fit
        raises `IncompatibleDraftError` when `draft_required`, else it is left off and `speculation` and `notes` say
        why. `force` takes a draft whose vocabulary only looks different; ids the main model lacks are never proposed.
        """
        settings = settings or LoadSettings()
        main_path, draft_wish = _embedded(draft) if main is None else (locate(main), draft)
        notes: list[str] = []
        engine, where = open_main_file(main_path, settings, notes, progress)
        try:
            llm = cls(engine)
            llm.isolation = (where,)
            llm._settings = settings
            llm.notes = notes
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
            self._change_draft(draft, required=required, force=force, device=device, progress=progress)

    def _change_draft(
        self,
        draft: str | Path | None,
        *,
        required: bool,
        force: bool,
        device: str | None,
        progress: Progress | None,
    ) -> None:
        if device is not None:
            self._settings = dataclasses.replace(self._settings, draft_device=device)
        wanted = draft is not None and str(draft) not in ("off", "")
        before, self._given_back, self._may_give_back = self._given_back, "", False
        skip, self._skip = self._skip, []
        self._unpaying = self._advice = None
        drafter: ModelDrafter | None = None
        where: tuple[Isolation, ...] = ()
        unavailable = ""
        try:
            # opened before the old one is closed: a draft that is refused costs nobody the one there is
            if draft is not None and wanted:
                self._require_guesses()
                drafter, where = self._open_draft(draft, force, progress, skip)
        except ForedraftError as error:
            if required:
                self._given_back = before
                raise
            unavailable = str(error)
            self.notes.append(f"Going on without a draft. {error}")
        self._save()
        self.scheduler.drafter.close()
        self.scheduler.drafter, self.scheduler.controller, self.scheduler.on_finish = NoDrafter(), Fixed(), None
        self._unavailable, self._tuning = unavailable, None
        self.draft_info = drafter.engine.info if drafter is not None else None
        self.isolation = (*self.isolation[:1], *where)
        if wanted and self.engine.rewind_limit.possible and self.engine.exact_rows != 1:
            try:
                given_back = self._tune(drafter)
            except BaseException:  # one of the two cannot compute, or has died
                if drafter is not None:
                    drafter.close()
                self.draft_info, self.isolation = None, self.isolation[:1]
                raise
            if given_back == Path(BUILTIN) and str(draft) == "auto":
                # the one inside cost little to try: now the best of those outside
                self._skip = [Path(BUILTIN)]
                self._change_draft(draft, required=required, force=force, device=None, progress=progress)

    def _require_guesses(self) -> None:
        """Raises `IncompatibleDraftError` for a main model before which nothing can be guessed: it cannot take rejected
        guesses back, or in exact numerics only its single steps are exact."""
        if not self.engine.rewind_limit.possible:
            raise IncompatibleDraftError("no_rewind", _cannot_go_back(self.info))
        if self.engine.exact_rows == 1:
            raise IncompatibleDraftError("exact_single", _ONLY_SINGLE_STEPS)

    def _open_draft(
        self, draft: str | Path, force: bool, progress: Progress | None, skip: Sequence[Path]
    ) -> tuple[ModelDrafter | None, tuple[Isolation, ...]]:
        main = self.engine.info
        if str(draft) == "auto":
            chosen = self._choose_draft(skip)
            if chosen is None:
                return None, ()
            draft = chosen
        path = locate_draft(draft)
        advice, reads_hidden = check_pair(Path(main.path), path, force=force)
        if advice:
            self.notes.append(f"{advice}. The text is the same; a gain is unlikely.")
        settings = dataclasses.replace(self._settings, context=main.n_ctx)
        if reads_hidden:
            return self._open_head(path, settings), self.isolation[:1]
        options, quantisation = load_options(path, settings, "draft", self.notes)
        ways = getattr(self.engine, "options", None)
        if ways is not None:
            # the way to attend that is the quickest for the main model is so for the draft
            options = dataclasses.replace(options, key_type=ways.key_type, value_type=ways.value_type)
        where = isolation(path, options, settings.isolation)
        engine = open_draft(path, options, where=where, progress=share_of(progress, "draft"))
        if not engine.rewind_limit.possible:
            engine.close()
            raise IncompatibleDraftError("no_rewind", _cannot_go_back(engine.info))
        engine.info = dataclasses.replace(engine.info, quantisation=quantisation or engine.info.quantisation)
        return ModelDrafter(engine, main.n_vocab), (where,)

    def _open_head(self, path: Path, settings: LoadSettings) -> HeadDrafter:
        """A draft that reads the main model's hidden rows lies where that does, and is opened by its engine."""
        from foredraft.models.facts import read_facts

        opener = getattr(self.engine, "open_head", None)
        if opener is None:
            raise IncompatibleDraftError("head_unusable", f"{self.info.name} offers no hidden rows")
        began = time.perf_counter()
        if path == Path(BUILTIN):
            options = dataclasses.replace(self.engine.options)  # type: ignore[attr-defined]
            options = dataclasses.replace(options, n_threads=settings.draft_threads or options.n_threads)
            head = opener(None, options)
        else:
            options = load_options(path, settings, "draft", self.notes)[0]
            head = opener(path, options, read_facts(path).heads.layers)
        took, size = time.perf_counter() - began, head.memory_bytes / 1e6
        self.notes.append(f"Draft {head.info.name}: {size:,.0f} MB of memory more, ready in {took:.1f} s.")
        return HeadDrafter(head, head.source, self.info.n_vocab)

    def _choose_draft(self, skip_too: Sequence[Path] = ()) -> Path | None:
        """The best draft there is of those that are not known to be useless here; said in `notes`."""
        main, wish = self.engine.info, self._settings
        skip = list(skip_too)
        while True:
            chosen, why = auto_draft(
                Path(main.path), context=main.n_ctx, kv_type=wish.kv_type, slots=wish.slots, skip=skip
            )
            self.notes.append(why)
            if chosen is None:
                return None
            self._may_give_back = wish.controller != "fixed" and not _is_embedded(chosen)
            reason = ""
            if self._may_give_back:
                reason = written_off(self.engine, chosen, self._tuning_folder, conditions=self._conditions)
            if not reason:
                self._given_back, self._unpaying = "", None
                return chosen
            self._give_back(chosen, chosen.stem, f"was not loaded: {reason}")
            skip.append(chosen)

    def _tune(self, drafter: ModelDrafter | None) -> Path | None:
        """Give the scheduler its sources of guesses and its controller. Returns which draft was given back, if any."""
        settings = self._settings
        if settings.controller == "fixed":
            tuning = fixed(drafter or NoDrafter(), settings.max_draft)
        else:
            tuning = adaptive(
                self.engine,
                drafter,
                promise=settings.promise,
                keep_draft=not self._may_give_back,
                folder=self._tuning_folder,
                past_folder=data_folder() / "answers" if settings.remember_answers else None,
                conditions=self._conditions,
            )
            if drafter is not None and tuning.hopeless:
                self._hopeless(drafter, tuning.hopeless)
        self.notes += [note for note in tuning.notes if note not in self.notes]
        self.scheduler.on_finish = tuning.remember
        self._tuning = tuning
        self.scheduler.drafter, self.scheduler.controller = tuning.drafter, tuning.controller
        return self._unpaying if self._given_back else None

    @property
    def _tuning_folder(self) -> Path | None:
        return cache_folder() / "tuning" if self._settings.remember else None

    @property
    def _conditions(self) -> dict[str, str | int | None]:
        """The settings that decide what passes cost (`speculation.costs_key`)."""
        settings = self._settings
        return {
            "threads": settings.threads,
            "draft_threads": settings.draft_threads,
            "kv_type": settings.kv_type,
            "flash_attention": settings.flash_attention,
            "draft_device": settings.draft_device,
            "ways": _ways(self.engine),
        }

    def _hopeless(self, drafter: ModelDrafter, reason: str) -> None:
        """What becomes of a draft that cannot pay: it is kept where it was named, else given back; said either way."""
        path, name = Path(drafter.engine.info.path), drafter.engine.info.name
        if self._may_give_back:
            self._give_back(path, name, f"was given back: {reason}")
            drafter.close()
            self.draft_info = None
        elif not _is_embedded(path):
            self._unpaying = path
            words = f"Draft {name} cannot pay here even if every guess stood: {reason}. It was named: it stays."
            self.notes.append(f"{words} {self._would_pay()}".strip())

    def _give_back(self, path: Path, name: str, what: str) -> None:
        """Say that a draft nobody named is not kept in memory."""
        self._unpaying, self._advice = path, None
        self._given_back = f"Draft {name} {what}, so it cannot pay here even if every guess stood."
        words = f"{self._given_back} Name it (--draft) to load it all the same."
        self.notes.append(f"{words} {self._would_pay()}".strip())

    def _would_pay(self) -> str:
        """What would pay here, where the draft cannot, in one line; the shelf is asked once for each draft."""
        if self._advice is None:
            from foredraft.pair.what_pays import advice

            self._advice = advice(Path(self.info.path), self._unpaying, open_shelf(), self._tuning_folder)
        return self._advice

    def _save(self) -> None:
        if self._tuning is not None:
            self._tuning.save()

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
            speculation=speculation or SpeculationParams(),
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
    def numerics(self) -> Numerics | None:
        return self.engine.numerics

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the main model and the draft lie, as far as they were loaded from files."""
        drafter = self._draft_model
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
        drafter = self._draft_model
        return getattr(drafter.engine, "died", None) if drafter is not None else None

    @property
    def _draft_model(self) -> ModelDrafter | None:
        drafter = self.scheduler.drafter
        sources = drafter.sources.values() if isinstance(drafter, Arbiter) else (drafter,)
        return next((source for source in sources if isinstance(source, ModelDrafter)), None)

    @property
    def speculation(self) -> SpeculationStatus:
        """What the draft is doing now, and why."""
        died = self.draft_died
        if self._unavailable or died is not None:
            return SpeculationStatus("unavailable", self._unavailable or f"The draft model failed: {died}")
        drafter = self.scheduler.drafter
        if isinstance(drafter, NoDrafter):
            return SpeculationStatus("off", "No draft is loaded.")
        parked = drafter.parked if isinstance(drafter, Arbiter) else {}
        failure = parked.get("model") or getattr(drafter, "failure", None)
        if failure:
            return SpeculationStatus("unavailable", failure)
        controller = self.scheduler.controller
        status, reason = controller.status
        if self._unpaying is not None and (self._given_back or status == "paused"):
            reason = " ".join(filter(None, (reason, self._given_back, self._would_pay())))
        return SpeculationStatus(status, reason)

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
            self._save()
            self.scheduler.drafter.close()
            self.engine.close()

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


def _is_embedded(draft: Path) -> bool:
    """Whether a draft is Foredraft's own: so small that nothing is won by giving it back."""
    from foredraft import demo

    return draft == demo.draft_path()


def _predicted(text: str, encode: Callable[..., Sequence[int]]) -> tuple[int, ...]:
    """The tokens of a prediction. One that is too long to be encoded is refused under its own name."""
    try:
        return tuple(encode(text, add_special=False))
    except ParameterError as error:
        raise ParameterError("prediction", error.value, error.allowed) from error


_ONLY_SINGLE_STEPS = (
    "in exact numerics only single steps of this file are exact on this machine: a pass of two tokens already rounds "
    "differently, so nothing may be guessed. With --numerics fast guesses are possible, and texts may part at near-ties"
)


def _cannot_go_back(info: ModelInfo) -> str:
    return f"{info.name} cannot take back rejected guesses (architecture {info.architecture})"


def _ways(engine: Engine) -> str:
    """What an engine's numerics made of its options, as far as times go."""
    options = getattr(engine, "options", None)
    if options is None:
        return ""
    back = "" if engine.rewind_limit.free else f" {engine.rewind_limit.way}"
    return f"{options.key_type} {options.value_type} {options.repack} {engine.exact_rows}{back}"


def _control_texts(engine: Engine) -> list[str]:
    """Texts of the end-of-generation tokens and their like: what a fallback template needs to know."""
    tokenizer = engine.tokenizer
    names = ("<|im_start|>", "<|im_end|>")
    return [name for name in names if len(tokenizer.encode(name, add_special=False)) == 1]
