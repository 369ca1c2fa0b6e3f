"""A managed model: one loaded model, its queue, its users and its idle timeout."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from foredraft.core.errors import EngineDiedError
from foredraft.core.params import Request
from foredraft.core.reasons import Reason
from foredraft.engines.base import Engine, ModelInfo, Numerics
from foredraft.runtime.embedder import Embedder, Embeddings
from foredraft.runtime.handle import RequestHandle
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.request import Generation, ScheduledRequest, SpeculationStatus
from foredraft.scheduling.scheduler import Scheduler
from foredraft.scheduling.stream import Piece

Progress = Callable[[str, float], None]
"""Called with what is being loaded ("main", "draft") and the share done, 0 to 1."""

DEFAULT_TTL_S = 3600.0
NOT_LOADED = SpeculationStatus("off", Reason("not_loaded"))


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What to load. `model` and `draft` are paths or names of the shelf, whatever the loader understands."""

    model: str = ""
    """Empty: the embedded pair."""
    draft: str | None = "auto"
    """A path or name, "auto" (the best on the shelf) or None (no draft)."""
    id: str = ""
    """The name under which it is asked for; empty takes the model's own name."""
    kind: str = "text"
    """text, or embedding for a model that turns texts into vectors."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The loader's own: context, slots, gpu_layers …"""
    draft_required: bool = False
    """Fail rather than go on without the draft."""
    force: bool = False
    """Take a draft whose vocabulary only looks different."""
    ttl_s: float | None = DEFAULT_TTL_S
    """Seconds without a request after which it is unloaded; None keeps it."""
    on_demand: bool = False
    """Loaded because a request named it: leaves when another of its kind is asked for (auto-evict)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lies: in a process of its own, or (`pid` None) in the program's; and why there."""

    pid: int | None = None
    reason: Reason | None = None

    @property
    def described(self) -> Reason:
        """All of it as one reason."""
        where = Reason("place_here") if self.pid is None else Reason("place_own", {"pid": self.pid})
        return where if self.reason is None else Reason("place_because", {"place": where, "why": self.reason})


class LoadedModel(Protocol):
    """What a loader returns for a model that writes; `foredraft.LLM` is one. Called by one thread at a time."""

    @property
    def engine(self) -> Engine:
        """The main model's."""

    @property
    def scheduler(self) -> Scheduler: ...
    @property
    def info(self) -> ModelInfo: ...
    @property
    def draft_info(self) -> ModelInfo | None: ...
    @property
    def numerics(self) -> Numerics | None: ...
    @property
    def speculation(self) -> SpeculationStatus: ...
    @property
    def notes(self) -> list[Reason]: ...
    @property
    def places(self) -> tuple[Place, ...]:
        """Where the main model and the draft lie, as far as that is known."""

    @property
    def died(self) -> EngineDiedError | None:
        """Why the main model's process has ended; None while it lives, and where it has none of its own."""

    @property
    def draft_died(self) -> EngineDiedError | None:
        """The same of the draft's."""

    def set_draft(
        self,
        draft: str | None,
        *,
        required: bool = False,
        force: bool = False,
        device: str | None = None,
        progress: Progress | None = None,
    ) -> None: ...
    def generation(self, answer: ScheduledRequest, pieces: list[Piece]) -> Generation: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Death:
    """The process of a model has ended. What it was writing has ended with `error`."""

    model: str
    part: str
    """main or draft."""
    error: EngineDiedError
    again: bool
    """It is loaded again."""

    def __str__(self) -> str:
        if self.part == "draft":
            then = "Answers go on without guesses; it is loaded again" if self.again else "It is not loaded again"
            return f"The draft of {self.model} died. {self.error.message} {then}."
        then = "loaded again" if self.again else "not loaded again: it died too often in a short while"
        return f"{self.model} died. {self.error.message} It is {then}."


Loader = Callable[[LoadSpec, Progress], LoadedModel | Embedder]


@dataclass(slots=True)
class Totals:
    """What a loaded model has done since it was loaded."""

    answers: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    tokens: int = 0
    rounds: int = 0
    drafted: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: int = 0
    generation_s: float = 0.0
    saved_s: float = 0.0

    def add(self, outcome: Generation | Embeddings) -> None:
        if isinstance(outcome, Embeddings):
            self.answers += 1
            self.prompt_tokens += outcome.tokens
            return
        generation, stats = outcome, outcome.stats
        self.answers += 1
        self.cancelled += generation.stop_reason == "cancelled"
        for name in (
            "prompt_tokens",
            "cached_tokens",
            "tokens",
            "rounds",
            "drafted",
            "accepted",
            "rejected",
            "ignored",
            "generation_s",
        ):
            setattr(self, name, getattr(self, name) + getattr(stats, name))
        self.saved_s += stats.saved_s or 0.0

    @property
    def acceptance(self) -> float | None:
        """accepted ÷ tested; None when nothing was tested."""
        tested = self.accepted + self.rejected
        return self.accepted / tested if tested else None


@dataclass(frozen=True, slots=True)
class ModelState:
    """A loaded (or loading) model at one moment: what `ps`, the API and the app show. Times are Unix seconds."""

    id: str
    spec: LoadSpec
    status: str
    """loading, ready, changing (its draft) or leaving."""
    part: str = ""
    """What is being loaded now: main or draft."""
    progress: float = 0.0
    info: ModelInfo | None = None
    draft_info: ModelInfo | None = None
    numerics: Numerics | None = None
    speculation: SpeculationStatus = NOT_LOADED
    notes: tuple[Reason, ...] = ()
    running: int = 0
    waiting: int = 0
    slots: int = 0
    loaded_at: float = 0.0
    load_s: float = 0.0
    last_used: float = 0.0
    expires_at: float | None = None
    totals: Totals = field(default_factory=Totals)
    places: tuple[Place, ...] = ()
    """Where the main model and the draft lie."""
    deaths: int = 0
    """How often its process has died and it was loaded again."""
    last_death: str = ""

    @property
    def kind(self) -> str:
        """text or embedding."""
        return self.spec.kind


@dataclass(slots=True)
class Submission:
    """A request on its way to the scheduler."""

    running: RequestHandle
    request: Request
    constraint: Constraint | None
    top_logprobs: int | None
    prompt_logprobs: int | None


@dataclass(slots=True)
class ExclusiveJob:
    """Work that needs the model to itself: a change of draft, closing."""

    work: Callable[[LoadedModel | Embedder], None]
    done: Future[None]
    status: str


class ManagedModel:
    """The runtime's record of one model. Only the model thread changes it, but for `leases` and when it was used."""

    def __init__(self, model_id: str, spec: LoadSpec) -> None:
        self.id = model_id
        self.spec = spec
        self.status = "loading"
        self.part, self.progress = "main", 0.0
        self.model: LoadedModel | Embedder | None = None
        self.pending: deque[Submission | ExclusiveJob] = deque()
        self.live: dict[ScheduledRequest, RequestHandle] = {}
        self.leases = 0
        self.handed_over = False
        """The loader thread has it: the model thread keeps its hands off."""
        self.gone: Future[None] = Future()
        """Done when it is in no list any more."""
        self.loaded_at = 0.0
        self.load_s = 0.0
        self._used = time.monotonic()
        """The clock on the wall may jump; it is only asked when somebody wants to read it."""
        self.ttl_s = spec.ttl_s
        self.totals = Totals()
        self.speculation = NOT_LOADED
        self.running = 0
        """Answers that were being written when the watchers were told last."""
        self.answer_s = 1.0
        """How long an answer has its slot here, a running mean: for `Retry-After`."""
        self.refused = 0
        """Requests that found the queue full since an answer ended last."""
        self.deaths = 0
        self.last_death: EngineDiedError | None = None
        self.dead_draft: EngineDiedError | None = None
        """The death of a draft that has been seen to."""

    def reborn(self, died: EngineDiedError) -> ManagedModel:
        """The record with which it is loaded again."""
        managed = ManagedModel(self.id, self.spec)
        managed.ttl_s, managed.totals, managed.answer_s = self.ttl_s, self.totals, self.answer_s
        managed.deaths, managed.last_death = self.deaths + 1, died
        return managed

    def turn_away(self, slots: int) -> int:
        """One more request finds the queue full; in about how many seconds there is a place for it. An answer ends, and
        makes one, every `answer_s / slots`; those who are refused in a row are told one such place after the other.
        At most a minute: OpenAI's clients take no longer time for meant."""
        self.refused += 1
        return max(1, min(60, math.ceil(self.refused * self.answer_s / max(1, slots))))

    @property
    def working(self) -> bool:
        """Its model has passes to make."""
        model = self.model
        if model is None or self.handed_over:
            return False
        return model.busy if isinstance(model, Embedder) else model.scheduler.busy

    @property
    def idle(self) -> bool:
        return not (self.pending or self.live or self.leases or self.handed_over) and self.status == "ready"

    @property
    def expires_in(self) -> float | None:
        """Seconds until it may go, if nobody asks; None where it stays."""
        if self.ttl_s is None or self.status != "ready":
            return None
        return self.ttl_s - self.idle_s

    @property
    def idle_s(self) -> float:
        return time.monotonic() - self._used

    def touch(self) -> None:
        self._used = time.monotonic()

    def state(self) -> ModelState:
        model = self.model
        draft, numerics, running, waiting = None, None, 0, len(self.pending)
        places: tuple[Place, ...] = ()
        now, left = time.time(), self.expires_in
        if isinstance(model, Embedder):
            running, places = model.waiting, (Place(model.pid, model.place_reason),)
        elif model is not None:
            draft, numerics, places = model.draft_info, model.numerics, model.places
            running = len(model.scheduler.running)
            waiting += len(model.scheduler.waiting)
        return ModelState(
            id=self.id,
            spec=self.spec,
            status=self.status,
            part=self.part,
            progress=self.progress,
            info=model.info if model is not None else None,
            draft_info=draft,
            numerics=numerics,
            speculation=self.speculation,
            notes=tuple(model.notes) if model is not None else (),
            running=running,
            waiting=waiting,
            slots=model.info.n_slots if model is not None else 0,
            loaded_at=self.loaded_at,
            load_s=self.load_s,
            last_used=now - self.idle_s,
            expires_at=None if left is None else now + left,
            totals=self.totals,
            places=places,
            deaths=self.deaths,
            last_death=self.last_death.message if self.last_death is not None else "",
        )
