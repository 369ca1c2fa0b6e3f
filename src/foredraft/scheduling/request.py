"""One request on its way through the scheduler, and what came of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from foredraft.core.errors import ForedraftError
from foredraft.core.params import Request
from foredraft.core.reasons import Reason, as_reason
from foredraft.core.stats import GenerationStats
from foredraft.engines.base import Numerics
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.logprobs import PromptLogprobs, TokenLogprob
from foredraft.scheduling.notebook import coloured, short
from foredraft.scheduling.stream import Piece, TextStream
from foredraft.speculative.sequence import Observer, RunningSequence


@dataclass(frozen=True, slots=True)
class SpeculationStatus:
    """What the draft is doing, and why: never silent. `status` is active, off, paused or unavailable."""

    status: str
    reason: Reason | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the API and `--json`: `reason` is English, `why` the same as code and numbers."""
        reason = self.reason
        return {
            "status": self.status,
            "reason": reason.message if reason is not None else "",
            "why": reason.told() if reason is not None else None,
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> SpeculationStatus:
        """What `as_dict` of another process says; older ones knew no `why`."""
        why, words = said.get("why"), said.get("reason") or ""
        reason = Reason.from_dict(why) if why else as_reason(words) if words else None
        return cls(said.get("status", "off"), reason)


@dataclass(eq=False, slots=True)
class ScheduledRequest:
    """The handle of a submitted request. `pieces` fills as text becomes sure; `done` once nothing more will come."""

    request: Request
    stream: TextStream
    submitted: float
    """Clock time in seconds."""
    constraint: Constraint | None = None
    observer: Observer | None = None
    prompt_logprobs: PromptLogprobs | None = None
    """Where those of the prompt's own tokens were asked for."""
    sequence: RunningSequence | None = None
    """None while it waits for a slot."""
    pieces: deque[Piece] = field(default_factory=deque)
    cancelled: bool = False
    on_cancel: Callable[[], None] | None = None
    """Ends a pass that nobody waits for any more; from any thread."""
    done: bool = False
    stop_reason: str | None = None
    error: ForedraftError | None = None
    stops: list[int] = field(default_factory=list)
    """Lengths of the prompt, rising, at which the engine is to keep its state (`checkpoints.py`)."""
    parked: bool = False
    """It gave its cells of a full cache back and will read its text again when there is room."""
    admitted_at: float = 0.0
    prefilled_at: float | None = None
    last_round: float = 0.0
    last_read: int = 0
    """The number of the pass in which a piece of its prompt was read last, in exact numerics."""
    text: str = ""
    seed: int = 0
    tokens: list[int] = field(default_factory=list)
    stats: GenerationStats = field(default_factory=GenerationStats)

    def cancel(self) -> None:
        """Ask it to end with what it has: at the next step, or in the middle of a pass that is made for nobody else.
        From any thread."""
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    @property
    def scoring(self) -> bool:
        """Rows of its prompt's own tokens are still wanted."""
        return self.prompt_logprobs is not None and not self.prompt_logprobs.done

    @property
    def prompt_progress(self) -> tuple[int, int]:
        """(prompt tokens read, prompt tokens)."""
        total = len(self.request.prompt)
        return (min(self.sequence.n_read + 1, total) if self.sequence is not None else 0), total


@dataclass(frozen=True, slots=True)
class Generation:
    """A finished answer: text, tokens and everything counted about it."""

    text: str
    tokens: list[int]
    stop_reason: str
    """eos, stop, length, context or cancelled."""
    model: str
    draft: str | None
    seed: int
    speculation: SpeculationStatus
    numerics: Numerics | None
    stats: GenerationStats
    pieces: list[Piece] = field(default_factory=list)
    stop_string: str = ""
    """The one that was found, where `stop_reason` is stop."""
    prompt_logprobs: list[TokenLogprob] | None = None
    """Of every token of the prompt but the first, where they were asked for."""
    end_logprob: TokenLogprob | None = None
    """Of the token that ended it, which is in no piece, where log probabilities were asked for."""

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({short(self.text)}, {self._counted()})"

    def _repr_html_(self) -> str:
        """What notebooks show: the tokens in colour."""
        with_draft = f" with {self.draft}" if self.draft is not None else ""
        return coloured(self.pieces, self.text, f"{self.model}{with_draft}: {self._counted()}")

    def _counted(self) -> str:
        stats = self.stats
        drafted = f", {stats.accepted} of {stats.drafted} draft tokens accepted" if stats.drafted else ""
        return f"{stats.tokens} tokens, ended by {self.stop_reason}{drafted}"

    def as_dict(self) -> dict[str, Any]:
        """The object of `foredraft run --json`."""
        exact = self.numerics
        return {
            "text": self.text,
            "tokens": self.tokens,
            "stop_reason": self.stop_reason,
            "model": self.model,
            "draft": self.draft,
            "seed": self.seed,
            "speculation": self.speculation.as_dict(),
            "numerics": None if exact is None else exact.as_dict(),
            "stats": self.stats.as_dict(),
        }
