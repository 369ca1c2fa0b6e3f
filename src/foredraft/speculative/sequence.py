"""One running answer: its tokens, its slot, its sampler, and the rules that end it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from foredraft.core.errors import ForedraftError
from foredraft.core.params import Request
from foredraft.core.stats import GenerationStats
from foredraft.engines.base import Chunk
from foredraft.sampling.sampler import Laws, Sampler
from foredraft.speculative.proposal import Proposal, Verification

if TYPE_CHECKING:
    from foredraft.speculative.acceptance.base import AcceptanceRule


class StopWatch(Protocol):
    """Looks for stop strings. Lives above the heart, because it needs text."""

    def feed(self, token: int) -> bool:
        """Add one emitted token; True when the text now contains a stop string, which ends the answer."""


class Observer(Protocol):
    """Sees each verdict while the rows of logits are still alive (for log probabilities)."""

    def __call__(self, laws: Laws, proposal: Proposal, verdict: Verification, emitted: list[int]) -> None: ...


@dataclass(eq=False)
class RunningSequence:
    """One running answer.

    Invariant between rounds: the target has read every token of a sequence but the last (`tokens[:-1]`), so the last
    token is the first input of the next pass. Before the first round more of the prompt may be left: it is read in that
    pass.
    """

    request: Request
    slot: int
    sampler: Sampler
    rule: AcceptanceRule
    eog: Collection[int]
    """Tokens that end a generation."""
    n_ctx: int
    """Tokens the slot can hold."""
    stopwatch: StopWatch | None = None
    observer: Observer | None = None
    tokens: list[int] = field(default_factory=list)
    """Prompt and answer."""
    n_prompt: int = 0
    n_read: int = 0
    """Tokens the target has read; the prompt is being read while this is below n_prompt - 1."""
    owed: int = 0
    """Tokens of it that the next pass reads again (`Engine.owed`)."""
    ceiling: int | None = None
    """Most tokens that may be guessed in the coming round, whatever anyone wishes: what the engine can take back, and
    what is left of a pass in exact numerics. None is any number."""
    stop_reason: str | None = None
    """eos, stop, length, context, cancelled or error, once the answer has ended."""
    error: ForedraftError | None = None
    stats: GenerationStats = field(default_factory=GenerationStats)

    def __post_init__(self) -> None:
        if not self.tokens:
            self.tokens = list(self.request.prompt)
            self.n_prompt = len(self.tokens)
        if self.request.max_tokens == 0:
            self.stop_reason = "length"

    def fail(self, error: ForedraftError) -> None:
        """End the answer with an error."""
        self.stop_reason, self.error = "error", error

    @property
    def done(self) -> bool:
        return self.stop_reason is not None

    @property
    def wants_guesses(self) -> bool:
        """Whether the request allows guesses at all."""
        speculation = self.request.speculation
        return speculation.enabled and speculation.method != "off" and speculation.max_draft != 0

    @property
    def n_emitted(self) -> int:
        return len(self.tokens) - self.n_prompt

    @property
    def room(self) -> int:
        """Tokens the answer may still grow by, from `max_tokens` and the context. A round emits at most this many, so
        the look-ahead is never more than `room - 1`."""
        room = self.n_ctx - len(self.tokens)
        if self.request.max_tokens is not None:
            room = min(room, self.request.max_tokens - self.n_emitted)
        return max(room, 0)

    def look_ahead(self, wish: int) -> int:
        """The most tokens it makes sense to guess now, given a wish: what the request allows, never above `ceiling`,
        and never past `max_tokens` or the context (a round emits one token more than it guesses). 0 where that is less
        than `min_draft`: so short a draft is not sent."""
        if not self.wants_guesses:
            return 0
        speculation = self.request.speculation
        if speculation.max_draft is not None:
            wish = min(wish, speculation.max_draft)
        if self.ceiling is not None:
            wish = min(wish, self.ceiling)
        most = max(0, min(wish, self.room - 1))
        return most if most >= speculation.min_draft else 0

    @property
    def law_bound(self) -> bool:
        """Whether a guess that has been drawn must be tested: its rule needs the laws, and nothing of what was drawn
        may decide whether it is (non-anticipation)."""
        return self.rule.needs_laws and not self.sampler.greedy

    def sent(self, proposal: Proposal) -> Proposal:
        """What of a guess is put before the target: all of it, or nothing where it is shorter than `min_draft`. One
        that a law binds is sent as it is; its drafter was asked for `min_draft` tokens at least."""
        least = self.request.speculation.min_draft
        if not 0 < len(proposal) < least or (proposal.dists is not None and self.law_bound):
            return proposal
        rivals, proposal.rivals = proposal.rivals, []
        return Proposal(rivals=[proposal, *rivals])

    def verify_chunk(self, proposal: Proposal) -> Chunk:
        """What the target reads in a round: what is left of the text, and the guesses. A row is wanted for the last
        token and for each guess."""
        tokens = [*self.tokens[self.n_read :], *proposal.tokens]
        return Chunk(self.slot, self.n_read, tokens, want=1 + len(proposal), guesses=len(proposal))

    def extend(self, tokens: list[int]) -> list[int]:
        """Grow by the tokens of one round; returns those kept. The answer may end among them: at an end-of-generation
        token (kept, it adds no text), at a stop string, at `max_tokens` or at the end of the context."""
        kept: list[int] = []
        for token in tokens:
            self.tokens.append(token)
            kept.append(token)
            if token in self.eog and not self.request.ignore_eos:
                self.stop_reason = "eos"
            elif self.stopwatch is not None and self.stopwatch.feed(token):
                self.stop_reason = "stop"
            elif self.request.max_tokens is not None and self.n_emitted >= self.request.max_tokens:
                self.stop_reason = "length"
            elif len(self.tokens) >= self.n_ctx:
                self.stop_reason = "context"
            if self.stop_reason is not None:
                break
        return kept
