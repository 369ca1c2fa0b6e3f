"""What a pair needs to guess well: its sources, its controller, and what is learned about it between starts.

Costs (what a pass takes on this machine) and calibration (what gets accepted) are measured at the first load, corrected
in use, and kept in the user's cache folder under a key that changes with the files, the machine, the threads and the
library: another pair never sees them. Costs bear a date. Each load looks whether they still hold; where they do not, as
they were measured on a busy machine or are old, they are measured anew.
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from foredraft.core import json_cache
from foredraft.core.errors import ForedraftError
from foredraft.core.json_cache import Key
from foredraft.core.params import BUILTIN
from foredraft.core.reasons import Reason, as_reason
from foredraft.core.registry import made, wanted
from foredraft.core.tables import ALONE, TOGETHER
from foredraft.engines import processor
from foredraft.engines.base import Engine
from foredraft.scheduling.request import ScheduledRequest
from foredraft.speculative.controllers import CONTROLLERS, Adaptive, DraftController
from foredraft.speculative.controllers.adaptive.acceptance import Calibration
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.adaptive.measure import drift, measure
from foredraft.speculative.drafters import (
    DRAFTERS,
    Arbiter,
    Drafter,
    ModelDrafter,
    NoDrafter,
    SuffixStore,
    lookup_drafters,
)

KEPT_S = 7 * 86_400.0
"""Seconds after which costs are measured anew however well they seem to hold: a draft that was measured at a bad moment
and is not loaded for that is looked at again within a week."""
Clock = Callable[[], float]
Controller = str | DraftController | type[DraftController]
"""Which controller: by its name in `CONTROLLERS`, one that is there already, or a class that is made with what it names
among its parameters (`core/tables.py: CONTROLLERS`)."""
NOTHING: Key = {}


@dataclass(slots=True)
class Tuning:
    """The drafter and the controller of one pair, and where their memory lies."""

    drafter: Drafter
    controller: DraftController
    folder: Path | None = None
    costs_key: Key = field(default_factory=dict)
    pair_key: Key = field(default_factory=dict)
    notes: list[Reason] = field(default_factory=list)
    costs: CostModel | None = None
    """What passes cost, where the controller asked for it; it goes on learning."""
    calibration: Calibration | None = None
    """What gets accepted, likewise."""
    past: SuffixStore | None = None
    """Past answers on this machine, where the user asked to keep them."""
    hopeless: Reason | None = None
    """Why the draft cannot pay, not even if every guess stood; None where it can."""

    def remember(self, answer: ScheduledRequest) -> None:
        """Keep an answer that has ended, where answers are kept and its request allows it."""
        if self.past is not None and answer.request.speculation.remember:
            self.past.add(answer.tokens)

    def save(self) -> None:
        """Keep what was learned. Failing to is noted, never an error."""
        if self.costs is not None:
            json_cache.write(self.folder, "costs", self.costs_key, self.costs.to_dict(), self.notes)
        if self.calibration is not None:
            json_cache.write(self.folder, "calibration", self.pair_key, self.calibration.to_dict(), self.notes)
        if self.past is not None:
            try:
                self.past.save()
            except ForedraftError as error:
                self.notes.append(error.reason_or_words)


def measures(controller: Controller) -> bool:
    """Whether a controller wants to know what passes cost, so that they are measured as the pair is loaded."""
    part = CONTROLLERS[controller] if isinstance(controller, str) else controller
    return isinstance(controller, (str, type)) and "costs" in wanted(part)  # type: ignore[arg-type]


def tune(
    target: Engine,
    draft: ModelDrafter | None,
    *,
    controller: Controller = "adaptive",
    own: Drafter | None = None,
    lookups: bool = True,
    gamma: int | None = None,
    promise: str = "standard",
    keep_draft: bool = True,
    folder: Path | None = None,
    past_folder: Path | None = None,
    clock: Clock = time.perf_counter,
    now: Clock = time.time,
    conditions: Key = NOTHING,
) -> Tuning:
    """The sources of guesses for a main model, with a draft model or without, and the controller that weighs them.

    `own` is a source of the caller's, which goes before all others; without `lookups` those of `DRAFTERS` are left out.
    Measures what a pass costs, where the controller wants to know that, unless it is known from an earlier start and
    still holds. `conditions`: see `costs_key`. Without `keep_draft` a draft that cannot pay (`Tuning.hopeless`) is left
    out, and may be closed. `folder` None keeps nothing. `past_folder` keeps the answers themselves, to guess from
    later: off unless the user asks for it. `clock` times passes, `now` (Unix seconds) dates what is measured.
    """
    notes: list[Reason] = []
    engine = None if draft is None else draft.engine
    pair_key: Key = {"main": identity(target), "draft": None if engine is None else identity(engine)}
    key = costs_key(target, pair_key["draft"], conditions)
    costs, calibration, hopeless = None, None, None
    if measures(controller):
        costs = _costs(target, engine, keep_draft, folder, key, notes, clock, now)
        hopeless = cannot_pay(costs)
        if hopeless and not keep_draft:
            draft, costs = None, costs.beside(None)
            pair_key = {**pair_key, "draft": None}
            key = {**key, "draft": None}
        calibration = json_cache.load(folder, "calibration", pair_key, notes, Calibration.from_dict) or Calibration()
    chosen, kind = _controller(controller, costs=costs, calibration=calibration, promise=promise, gamma=gamma)
    if kind == ALONE and own is None:
        return Tuning(draft or NoDrafter(), chosen)
    past = None
    if past_folder is not None:
        # Token ids mean something in one vocabulary only: the file is named after the model's.
        words = hashlib.sha256(
            "\0".join(map(target.tokenizer.text, range(target.info.n_vocab))).encode("utf-8", "replace")
        )
        name = words.hexdigest()[:16]
        past = SuffixStore(past_folder / f"{name}.txt", vocabulary=name)
        notes += [past.note] if past.note is not None else []
        notes.append(Reason("answers_kept", {"folder": str(past_folder)}))
    sources: list[Drafter] = [] if own is None else [own]
    if lookups and kind != ALONE:
        sources += [source for source in lookup_drafters(past) if own is None or source.name != own.name]
        notes += map(as_reason, DRAFTERS.notes)
    if draft is not None:
        if costs is not None:
            draft.window = costs.window
        sources.append(draft)
    arbiter = Arbiter(sources, on_park=getattr(chosen, "park", None), lent=() if own is None else (own.name,))
    return Tuning(arbiter, chosen, folder, key, pair_key, notes, costs, calibration, past, hopeless)


def _controller(wish: Controller, **offered: object) -> tuple[DraftController, str]:
    """(the controller, its kind); what is not given (None) is the controller's own default."""
    given = {name: value for name, value in offered.items() if value is not None}
    if isinstance(wish, str):
        return made(CONTROLLERS[wish], **given), CONTROLLERS.entries[wish].kind
    return (made(wish, **given) if isinstance(wish, type) else wish), TOGETHER


def _costs(
    target: Engine,
    draft: Engine | None,
    keep_draft: bool,
    folder: Path | None,
    key: Key,
    notes: list[Reason],
    clock: Clock,
    now: Clock,
) -> CostModel:
    """What passes cost: as an earlier start found, or measured."""
    costs = json_cache.load(folder, "costs", key, notes, CostModel.from_dict)
    stale = None if costs is None else _stale(costs, target, draft, clock, now)
    if stale:
        notes.append(Reason("costs_stale", {"why": stale}))
    if costs is None or stale:
        costs = measure(target, draft, clock=clock)
        if not keep_draft and cannot_pay(costs):  # nobody is sent away for one bad moment
            again = measure(target, draft, clock=clock)
            costs = costs if cannot_pay(again) else again
        costs.measured_at = now()
        json_cache.write(folder, "costs", key, costs.to_dict(), notes)
        notes += costs.notes
    return costs


def costs_key(target: Engine, draft: str | int | float | None, conditions: Key) -> Key:
    """What costs are valid for: both files (`draft`: its `file_identity`), the machine, the library, and the settings
    that decide how passes are computed (`conditions`: threads, kv_type, draft_device …)."""
    return {
        "main": identity(target),
        "draft": draft,
        "machine": machine(),
        "context": target.info.n_ctx,
        "library": library_version(),
        **conditions,
    }


def cannot_pay(costs: CostModel) -> Reason | None:
    """Why a pair's draft cannot pay, not even if every guess stood; None where it can or there is none."""
    return Adaptive(costs).hopeless


def written_off(
    target: Engine,
    draft: Path,
    folder: Path | None,
    *,
    clock: Clock = time.perf_counter,
    now: Clock = time.time,
    conditions: Key = NOTHING,
) -> Reason | None:
    """Why a draft need not even be opened: costs of an earlier start, which still hold as far as the main
    model tells, say that it cannot pay. None where it may, or where nothing is known."""
    key = costs_key(target, file_identity(draft), conditions)
    costs = json_cache.load(folder, "costs", key, [], CostModel.from_dict)
    reason = None if costs is None else cannot_pay(costs)
    if costs is None or not reason or _stale(costs, target, None, clock, now):
        return None
    return Reason("measured_on", {"why": reason, "day": time.strftime("%Y-%m-%d", time.localtime(costs.measured_at))})


def _stale(costs: CostModel, target: Engine, draft: Engine | None, clock: Clock, now: Clock) -> Reason | None:
    """Why stored costs do not hold any more; None where they do."""
    age = now() - costs.measured_at
    if not 0.0 <= age <= KEPT_S:
        return Reason("costs_old", {"n": round(age / 86_400.0)})
    return drift(costs, target, draft, clock=clock)


def identity(engine: Engine) -> str:
    """The file of an engine; its name and size where there is no file. The draft inside a file has no other name."""
    if engine.info.path == BUILTIN:
        return BUILTIN
    try:
        return file_identity(Path(engine.info.path))
    except OSError:
        return f"{engine.info.name} {engine.info.size_bytes}"


def file_identity(path: Path) -> str:
    """A file, as far as its costs and its words go: name, size and time of change. Raises `OSError`."""
    if path == Path(BUILTIN):
        return BUILTIN
    stat = path.stat()
    return f"{path.name} {stat.st_size} {stat.st_mtime_ns}"


def machine() -> str:
    """This computer, as far as costs go. Not its name on the network, which changes with the network, and in containers
    at every start."""
    return f"{platform.machine()} {processor.name()} {os.cpu_count()}"


def library_version() -> str:
    """Of llama.cpp's bindings; "" where they are not installed."""
    try:
        return version("llama-cpp-python")
    except PackageNotFoundError:
        return ""
