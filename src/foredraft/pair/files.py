"""From settings and a file's header to the options of its load, and whether a draft fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from foredraft.config.folders import cache_folder
from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import IncompatibleDraftError, UnsupportedModelError
from foredraft.core.params import BUILTIN, MAX_DRAFT
from foredraft.core.reasons import Reason
from foredraft.core.registry import made as called
from foredraft.core.tables import OWN, engine_of
from foredraft.engines import ENGINES
from foredraft.engines.base import Engine
from foredraft.models.head_fit import own_head
from foredraft.pair.opening import Isolation, isolation, open_main
from foredraft.pair.stream import Progress

if TYPE_CHECKING:
    from foredraft.engines.llamacpp import LoadOptions

SMALL_MODEL_BYTES = 32 << 20
"""Models below this size run on one thread unless told otherwise: handing work over costs about as much as the work
(measured: 5 MB at 1,900 tok/s on one thread, 2,200 on two of an idle machine, and 20 to 900 on two of a busy one)."""

ADVICE = frozenset({"too_large", "same_model"})
"""Verdicts about speed alone: a draft that was named is taken all the same, and the note says what to expect."""


def check_pair(main: Path, draft: Path, *, force: bool) -> tuple[Reason | None, bool]:
    """What to expect of a pair (None: nothing special), and whether the draft reads hidden rows. Raises
    `IncompatibleDraftError` where it cannot be used."""
    from foredraft.models.facts import inside, read_facts
    from foredraft.models.pairing import pair

    facts = read_facts(main)
    own = inside(facts) if draft == Path(BUILTIN) else None
    if draft == Path(BUILTIN) and own is None:
        why = Reason("no_own_draft", {"model": main.name})
        raise IncompatibleDraftError(Reason("head_unusable", {"why": why}))
    verdict = pair(facts, own or draft, force=force)
    if verdict.usable:
        return None, verdict.code == "head_fits"
    if verdict.code in ADVICE:
        return verdict.why, False
    raise IncompatibleDraftError(verdict.reason)


def open_main_file(
    path: Path, settings: LoadSettings, notes: list[Reason], progress: Progress | None
) -> tuple[Engine, Isolation]:
    """The main model in the numerics that the settings ask for. `notes` receives what could not be done."""
    from foredraft.models.facts import read_facts

    if opens_own(path, settings.engine):
        return open_own(path, settings), Isolation(False)
    options, quantisation = load_options(path, settings, "main", notes)
    where = isolation(path, options, settings.isolation)
    try:
        engine = open_main(
            path,
            options,
            notes,
            numerics=settings.numerics if settings.probe else None,
            folder=cache_folder() / "numerics",
            keep=settings.remember,
            where=where,
            progress=share_of(progress, "main"),
        )
    except UnsupportedModelError as error:
        if not read_facts(path).heads.missing:
            raise
        raise UnsupportedModelError(
            Reason("heads_unloadable", {"path": str(path), "error": error.reason_or_words}),
            path=str(path),
            hint=Reason("hint_heads_unloadable"),
        ) from error
    engine.info = dataclasses.replace(engine.info, quantisation=quantisation or engine.info.quantisation)
    return engine, where


def opens_own(path: Path, engine: str = "auto") -> bool:
    """Whether a file is of an engine that has files of its own: no GGUF."""
    return ENGINES.has(engine_of(path, engine), OWN)


def open_own(path: Path, settings: LoadSettings, role: str = "main") -> Engine:
    """Such a file, main model or draft."""
    draft = role == "draft"
    engine = ENGINES[engine_of(path, "auto" if draft else settings.engine)]
    return called(
        engine,
        path=path,
        context=settings.context,
        slots=settings.slots,
        batch=settings.batch,
        threads=settings.draft_threads if draft else settings.threads,
    )


def share_of(progress: Progress | None, part: str) -> Callable[[float], None] | None:
    return None if progress is None else (lambda share: progress(part, share))


def load_options(path: Path, settings: LoadSettings, role: str, notes: list[Reason]) -> tuple[LoadOptions, str]:
    """How to open a file, and the shelf's word for its quantisation ("" where it has none): the library has another way
    of writing, and believes a header that is plainly wrong. `notes` receives what memory is short for. Raises what a
    damaged header or too little memory raise."""
    from foredraft.engines.llamacpp import LoadOptions
    from foredraft.models.facts import read_facts
    from foredraft.models.memory import LoadPlan, require_fit
    from foredraft.models.states import ROLLBACK

    facts = read_facts(path)  # refuses damaged headers with a typed error; some would end the process in the library
    device = settings.draft_device if role == "draft" else ""
    gpu_layers = settings.draft_gpu_layers if role == "draft" else settings.gpu_layers
    if device == "cpu":
        gpu_layers = 0
    plan = LoadPlan(
        settings.context,
        settings.kv_type,
        settings.slots,
        gpu_layers,
        batch=settings.batch,
        flash_attention=settings.flash_attention,
        snapshots=_furthest(settings),
    )
    made = require_fit(facts, plan=plan, guardrail=settings.guardrail)
    if role == "main" and facts.architecture in ROLLBACK and made.snapshots < plan.snapshots:
        what = Reason("snapshots_few", {"n": made.snapshots}) if made.snapshots else Reason("snapshots_none")
        notes.append(Reason("snapshots_short", {"architecture": facts.architecture, "what": what}))
    threads = settings.draft_threads if role == "draft" else settings.threads
    if threads is None and path.is_file() and path.stat().st_size < SMALL_MODEL_BYTES:
        threads = 1
    options = LoadOptions(
        device=device,
        n_ctx=settings.context,
        n_slots=settings.slots,
        n_batch=settings.batch,
        n_threads=threads,
        gpu_layers=gpu_layers,
        kv_type=settings.kv_type,
        flash_attention=settings.flash_attention,
        ordered=role == "main",
        heads=role == "main" and bool(facts.heads.said) and not own_head(facts),
        use_mmap=settings.mmap,
        # a draft reads its guesses one by one: the states behind them would be those of one token each
        snapshots=made.snapshots if role == "main" else 0,
        probe=False,  # `numerics.load` knows what an earlier start has found
    )
    return options, facts.quantisation or ""


def _furthest(settings: LoadSettings) -> int:
    """Tokens that will be guessed at once, at most."""
    fixed = settings.fixed_look_ahead if settings.controller == "fixed" else None
    return MAX_DRAFT if fixed is None else min(fixed, MAX_DRAFT)
