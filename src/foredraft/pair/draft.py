"""The draft of a loaded pair: choosing, opening, changing it, and giving back one that cannot pay."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from foredraft.config.folders import cache_folder, data_folder
from foredraft.config.load_settings import LoadSettings
from foredraft.config.shelf import auto_draft, locate_draft, open_shelf
from foredraft.core.errors import EngineDiedError, ForedraftError, IncompatibleDraftError
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Numbers, Reason, as_reason, sentences
from foredraft.demo import is_embedded
from foredraft.engines.base import Engine, ModelInfo
from foredraft.pair.files import check_pair, load_options, open_own, opens_own, share_of
from foredraft.pair.opening import Isolation, isolation, open_draft
from foredraft.pair.speculation import Controller, Tuning, measures, tune, written_off
from foredraft.pair.stream import Progress
from foredraft.scheduling.request import SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import Arbiter, Drafter, HeadDrafter, ModelDrafter, NoDrafter


class PairDraft:
    """What guesses for one main model. It puts drafter and controller into the scheduler, and knows what became of the
    draft that was wanted. Not for several threads: `LLM` takes turns."""

    def __init__(
        self,
        scheduler: Scheduler,
        settings: LoadSettings,
        notes: list[Reason],
        *,
        main_isolation: tuple[Isolation, ...] = (),
        unavailable: Reason | None = None,
        own: Drafter | None = None,
        controller: Controller | None = None,
    ) -> None:
        """`notes` receives what is decided here. `main_isolation`: where the main model lies, if it was
        loaded from a file. `unavailable` says why there is no draft, where one was wanted. `own` is the caller's own
        source of guesses, beside the others; `controller` the caller's own, None is that of the settings."""
        self._scheduler = scheduler
        self._engine: Engine = scheduler.engine
        self._settings = settings
        self.notes = notes
        self.main_isolation = main_isolation
        self.unavailable = unavailable
        drafter = scheduler.drafter
        self.info: ModelInfo | None = drafter.engine.info if isinstance(drafter, ModelDrafter) else None
        """The draft model, if there is one."""
        self.isolation: tuple[Isolation, ...] = ()
        """Where it lies, as far as it was loaded from a file."""
        self._own = own
        self._controller = controller
        self._tuning: Tuning | None = None
        self._may_give_back = False
        self._given_back: Reason | None = None
        """Which draft is not kept in memory because it cannot pay, and why."""
        self._skip: list[Path] = []
        """Drafts that are not to be tried in the change that is going on."""
        self._unpaying: Path | None = None
        """The file of a draft that cannot pay, given back or not."""
        self._advice: list[Reason] | None = None

    @property
    def model(self) -> ModelDrafter | None:
        """The draft model among the sources of guesses."""
        drafter = self._scheduler.drafter
        sources = drafter.sources.values() if isinstance(drafter, Arbiter) else (drafter,)
        return next((source for source in sources if isinstance(source, ModelDrafter)), None)

    @property
    def died(self) -> EngineDiedError | None:
        """Why the draft's process has ended, where it had one of its own."""
        model = self.model
        return getattr(model.engine, "died", None) if model is not None else None

    @property
    def status(self) -> SpeculationStatus:
        """What the draft is doing now, and why."""
        died = self.died
        if self.unavailable or died is not None:
            failed = None if died is None else Reason("draft_failed", {"error": died.reason_or_words})
            return SpeculationStatus("unavailable", self.unavailable or failed)
        drafter = self._scheduler.drafter
        if isinstance(drafter, NoDrafter):
            return SpeculationStatus("off", Reason("no_draft"))
        parked = drafter.parked if isinstance(drafter, Arbiter) else {}
        failure = parked.get("model") or getattr(drafter, "failure", None)
        if failure:
            return SpeculationStatus("unavailable", as_reason(failure))
        status, said = self._scheduler.controller.status
        reason = as_reason(said) if said else None
        if self._unpaying is not None and (self._given_back or status == "paused"):
            reason = sentences(reason, self._given_back, *self._would_pay())
        return SpeculationStatus(status, reason)

    def change(
        self,
        draft: str | Path | None,
        *,
        required: bool,
        force: bool,
        device: str | None,
        progress: Progress | None,
    ) -> None:
        """See `LLM.set_draft`. Nothing may be running."""
        if device is not None:
            self._settings = dataclasses.replace(self._settings, draft_device=device)
        wanted = draft is not None and str(draft) not in ("off", "")
        before, self._given_back, self._may_give_back = self._given_back, None, False
        skip, self._skip = self._skip, []
        self._unpaying = self._advice = None
        drafter: ModelDrafter | None = None
        where: tuple[Isolation, ...] = ()
        unavailable: Reason | None = None
        try:
            # opened before the old one is closed: a draft that is refused costs nobody the one there is
            if draft is not None and wanted:
                self._require_guesses()
                drafter, where = self._open_draft(draft, force, progress, skip)
        except ForedraftError as error:
            if required:
                self._given_back = before
                raise
            unavailable = sentences(error.reason_or_words, error.hint_why)
            self.notes.append(sentences(Reason("without_draft"), unavailable))
        self.save()
        self._scheduler.drafter.close()
        self._scheduler.drafter, self._scheduler.controller, self._scheduler.on_finish = NoDrafter(), Fixed(), None
        self.unavailable, self._tuning = unavailable, None
        self.info = drafter.engine.info if drafter is not None else None
        self.isolation = where
        guesses = wanted or self._own is not None
        if guesses and self._engine.rewind_limit.possible and self._engine.exact_rows != 1:
            try:
                given_back = self._tune(drafter, lookups=wanted)
            except BaseException:  # one of the two cannot compute, or has died
                if drafter is not None:
                    drafter.close()
                self.info, self.isolation = None, ()
                raise
            if given_back == Path(BUILTIN) and str(draft) == "auto":
                # the one inside cost little to try: now the best of those outside
                self._skip = [Path(BUILTIN)]
                self.change(draft, required=required, force=force, device=None, progress=progress)

    def _require_guesses(self) -> None:
        """Raises `IncompatibleDraftError` for a main model before which nothing can be guessed: it cannot take rejected
        guesses back, or in exact numerics only its single steps are exact."""
        if not self._engine.rewind_limit.possible:
            raise IncompatibleDraftError(_cannot_go_back(self._engine.info))
        if self._engine.exact_rows == 1:
            raise IncompatibleDraftError(Reason("exact_single"))

    def _open_draft(
        self, draft: str | Path, force: bool, progress: Progress | None, skip: Sequence[Path]
    ) -> tuple[ModelDrafter | None, tuple[Isolation, ...]]:
        main = self._engine.info
        own = opens_own(Path(main.path), self._settings.engine)
        if str(draft) == "auto":
            chosen = None if own else self._choose_draft(skip)  # the shelf knows GGUF files only
            if chosen is None:
                return None, ()
            draft = chosen
        path = locate_draft(draft)
        if own or opens_own(path):
            return self._open_own(path), (Isolation(False),)
        advice, reads_hidden = check_pair(Path(main.path), path, force=force)
        if advice:
            self.notes.append(Reason("gain_unlikely", {"why": advice}))
        settings = dataclasses.replace(self._settings, context=main.n_ctx)
        if reads_hidden:
            return self._open_head(path, settings), self.main_isolation
        options, quantisation = load_options(path, settings, "draft", self.notes)
        ways = getattr(self._engine, "options", None)
        if ways is not None:
            # the way to attend that is the quickest for the main model is so for the draft
            options = dataclasses.replace(options, key_type=ways.key_type, value_type=ways.value_type)
        where = isolation(path, options, settings.isolation)
        engine = open_draft(path, options, where=where, progress=share_of(progress, "draft"))
        if not engine.rewind_limit.possible:
            engine.close()
            raise IncompatibleDraftError(_cannot_go_back(engine.info))
        engine.info = dataclasses.replace(engine.info, quantisation=quantisation or engine.info.quantisation)
        return ModelDrafter(engine, main.n_vocab), (where,)

    def _open_own(self, path: Path) -> ModelDrafter:
        """A draft of an engine with files of its own; it must have the main model's vocabulary."""
        settings = dataclasses.replace(self._settings, context=self._engine.info.n_ctx)
        engine, size = open_own(path, settings, "draft"), self._engine.info.n_vocab
        if engine.info.n_vocab != size:
            numbers = {"a": engine.info.n_vocab, "b": size}
            engine.close()
            raise IncompatibleDraftError(Reason("vocab_size", numbers))
        return ModelDrafter(engine, size)

    def _open_head(self, path: Path, settings: LoadSettings) -> HeadDrafter:
        """A draft that reads the main model's hidden rows lies where that does, and is opened by its engine."""
        from foredraft.models.facts import read_facts

        opener = getattr(self._engine, "open_head", None)
        if opener is None:
            why = Reason("offers_no_rows", {"model": self._engine.info.name})
            raise IncompatibleDraftError(Reason("head_unusable", {"why": why}))
        began = time.perf_counter()
        if path == Path(BUILTIN):
            options = dataclasses.replace(self._engine.options)  # type: ignore[attr-defined]
            options = dataclasses.replace(options, n_threads=settings.draft_threads or options.n_threads)
            head = opener(None, options)
        else:
            options = load_options(path, settings, "draft", self.notes)[0]
            head = opener(path, options, read_facts(path).heads.layers)
        numbers: Numbers = {
            "draft": head.info.name,
            "size": head.memory_bytes,
            "s": round(time.perf_counter() - began, 1),
        }
        self.notes.append(Reason("head_ready", numbers))
        return HeadDrafter(head, head.source, self._engine.info.n_vocab)

    def _choose_draft(self, skip_too: Sequence[Path] = ()) -> Path | None:
        """The best draft there is of those that are not known to be useless here; said in `notes`."""
        main, wish = self._engine.info, self._settings
        skip = list(skip_too)
        while True:
            chosen, why = auto_draft(
                Path(main.path), context=main.n_ctx, kv_type=wish.kv_type, slots=wish.slots, skip=skip
            )
            self.notes.append(why)
            if chosen is None:
                return None
            self._may_give_back = measures(self._controller or wish.controller) and not is_embedded(chosen)
            reason: Reason | None = None
            if self._may_give_back:
                reason = written_off(self._engine, chosen, self._tuning_folder, conditions=self._conditions)
            if not reason:
                self._given_back, self._unpaying = None, None
                return chosen
            self._give_back(chosen, Reason("draft_not_loaded", {"draft": chosen.stem, "why": reason}))
            skip.append(chosen)

    def _tune(self, drafter: ModelDrafter | None, *, lookups: bool) -> Path | None:
        """Give the scheduler its sources of guesses and its controller. Returns which draft was given back, if any."""
        settings = self._settings
        tuning = tune(
            self._engine,
            drafter,
            controller=self._controller or settings.controller,
            own=self._own,
            lookups=lookups,
            gamma=settings.fixed_look_ahead,
            promise=settings.promise,
            keep_draft=not self._may_give_back,
            folder=self._tuning_folder,
            past_folder=data_folder() / "answers" if settings.remember_answers else None,
            conditions=self._conditions,
        )
        if drafter is not None and tuning.hopeless:
            self._hopeless(drafter, tuning.hopeless)
        self.notes += [note for note in tuning.notes if note not in self.notes]
        self._scheduler.on_finish = tuning.remember
        self._tuning = tuning
        self._scheduler.drafter, self._scheduler.controller = tuning.drafter, tuning.controller
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
            "ways": _ways(self._engine),
        }

    def _hopeless(self, drafter: ModelDrafter, reason: Reason) -> None:
        """What becomes of a draft that cannot pay: it is kept where it was named, else given back; said either way."""
        path, name = Path(drafter.engine.info.path), drafter.engine.info.name
        if self._may_give_back:
            self._give_back(path, Reason("draft_given_back", {"draft": name, "why": reason}))
            drafter.close()
            self.info = None
        elif not is_embedded(path):
            self._unpaying = path
            stays = Reason("draft_stays", {"draft": name, "why": reason})
            self.notes.append(sentences(stays, *self._would_pay()))

    def _give_back(self, path: Path, what: Reason) -> None:
        """Say that a draft nobody named is not kept in memory."""
        self._unpaying, self._advice = path, None
        self._given_back = what
        self.notes.append(sentences(what, Reason("name_it_to_load"), *self._would_pay()))

    def _would_pay(self) -> list[Reason]:
        """What would pay here, where the draft cannot, if that is known; the shelf is asked once for each draft."""
        if self._advice is None:
            from foredraft.pair.what_pays import advice

            found = advice(Path(self._engine.info.path), self._unpaying, open_shelf(), self._tuning_folder)
            self._advice = [found] if found is not None else []
        return self._advice

    def save(self) -> None:
        """Keep what was learned about the pair."""
        if self._tuning is not None:
            self._tuning.save()

    def close(self) -> None:
        """Close the sources of guesses, the caller's own with them."""
        self._scheduler.drafter.close()
        if self._own is not None:
            self._own.close()


def _cannot_go_back(info: ModelInfo) -> Reason:
    return Reason("no_rewind", {"model": info.name, "architecture": info.architecture})


def _ways(engine: Engine) -> str:
    """What an engine's numerics made of its options, as far as times go."""
    options = getattr(engine, "options", None)
    if options is None:
        return ""
    back = "" if engine.rewind_limit.free else f" {engine.rewind_limit.way}"
    return f"{options.key_type} {options.value_type} {options.repack} {engine.exact_rows}{back}"
