"""LLM: a main model with its draft, ready to answer. The one place where everything meets.

>>> from foredraft import LLM
>>> with LLM.load() as llm:                       # the embedded pair
...     print(llm.chat("What is 2 + 3?", temperature=0).text)
2 + 3 = 5
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import (
    EngineDiedError,
    ForedraftError,
)
from foredraft.core.reasons import Reason
from foredraft.engines.base import Engine, ModelInfo, Numerics
from foredraft.pair.answering import Answering, Rule
from foredraft.pair.draft import PairDraft
from foredraft.pair.fetching import draft_file, main_file
from foredraft.pair.files import open_main_file
from foredraft.pair.load_keywords import LoadKeywords, settings_of
from foredraft.pair.opening import Isolation
from foredraft.pair.speculation import Controller
from foredraft.pair.stream import Progress
from foredraft.runtime.managed_model import Place
from foredraft.scheduling.request import Generation, ScheduledRequest, SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece
from foredraft.speculative.controllers import DraftController, Fixed
from foredraft.speculative.drafters import Drafter, NoDrafter


class LLM(Answering):
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
        super().__init__(rule)
        self.engine = engine
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
        **fields: Unpack[LoadKeywords],
    ) -> LLM:
        """Load a main model and its draft from GGUF files.

        `main`: a path, a name on the shelf, or a repository of the hub ("OWNER/NAME", ":QUANT" behind it), which is
        fetched where it is not here yet and `download` allows that (a bar on a terminal; `progress` gets "download");
        None is the embedded pair. `draft`: the same, "builtin" (the one inside the main model's file), "auto" (the best
        there is, if any) or "off"/None. A draft that does not fit raises `IncompatibleDraftError` when
        `draft_required`, else it is left off and `speculation` and `notes` say why. `force` takes a draft whose
        vocabulary only looks different; ids the main model lacks are never proposed. How it is loaded is in `settings`,
        or in single `fields` of it (`slots=4`).

        `drafter`: a source of guesses of your own, which the arbiter asks first, beside the draft and what is found in
        the text (with `draft=None`: alone). `rule` judges the guesses of requests that say nothing of it: a name of
        `RULES`, an object, or a class. `controller`: a name of `CONTROLLERS`, an object, or a class, instead of
        `settings.controller`. None of the three may change the text, but a rule that says so.
        """
        settings = settings_of(settings, fields)
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
