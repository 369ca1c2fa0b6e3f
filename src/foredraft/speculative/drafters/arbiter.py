"""Several sources of guesses, and for each round the one that promises most.

Sources that find their guesses (in the prompt, the answer, a prediction) cost next to nothing and are asked first.
Their guesses have a price only in the target's pass, which the look-ahead weighs (`keep`). A source that must draw
them, the draft model, is run only where it promises more than what was found (docs/concepts/algorithms.md §4.2).

Under rejection and block the choice is made before the model draws its first token, and what it has drawn goes before
the target whole: dropping a token after looking at it would bend the law (§1.6). Under `match`, and for deterministic
guesses, any choice at any time is lossless: there a drawn guess may be cut, or give way to a found one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import ParamSpec, TypeVar

from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk
from foredraft.speculative.controllers.base import MODEL, LookAhead
from foredraft.speculative.controllers.fixed import NO_LOOKAHEAD
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.drafters.none import NoDrafter
from foredraft.speculative.proposal import Proposal
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

P = ParamSpec("P")
T = TypeVar("T")


class CappedLookAhead:
    """A look-ahead as one source sees it: with a limit of its own."""

    __slots__ = ("go_on", "keep", "limit", "offer", "wants_confidence")

    def __init__(self, plan: LookAhead, limit: int) -> None:
        self.limit = limit
        self.wants_confidence = plan.wants_confidence
        self.go_on, self.offer, self.keep = plan.go_on, plan.offer, plan.keep


class Arbiter:
    """A drafter made of several. A source that fails is parked with its reason, and the answers go on without it."""

    name = "auto"

    def __init__(
        self,
        sources: Sequence[Drafter] = (),
        *,
        on_park: Callable[[str, Reason | str], None] | None = None,
        lent: Collection[str] = (),
    ) -> None:
        """`sources`: those that find guesses, in the order of preference among equals, and the one that draws them.
        `on_park(source, reason)` is told once when a source has failed. Sources of the names `lent` are somebody
        else's to close."""
        self.sources = {source.name: source for source in sources if not isinstance(source, NoDrafter)}
        self.parked: dict[str, Reason | str] = {}
        """Why sources have stopped guessing for good, by name."""
        self._finders = [source for name, source in self.sources.items() if name != MODEL]
        self._drawer = self.sources.get(MODEL)
        self._on_park = on_park
        self._lent = frozenset(lent)

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        best = [Proposal() for _ in sequences]
        if all(plan is NO_LOOKAHEAD for plan in plans):
            return best
        gains = [0.0] * len(sequences)
        for finder in self._finders:
            self._find(finder, sequences, plans, best, gains)
        if self._drawer is not None and MODEL not in self.parked:
            self._draw(self._drawer, sequences, plans, best, gains)
        return best

    def target_read(self, chunks: Sequence[Chunk]) -> None:
        if self._drawer is not None and MODEL not in self.parked:
            self._guarded(self._drawer, self._drawer.target_read, chunks)

    def prefill(self, chunks: Sequence[Chunk]) -> None:
        for source in self._working():
            self._guarded(source, source.prefill, chunks)

    def observe(self, record: Round) -> None:
        """Sources look back on rounds in which somebody guessed; of the others they see in the text what came."""
        if not any(x.tokens or x.rivals for x in record.proposals):
            return
        for source in self._working():
            self._guarded(source, source.observe, record)

    def forget(self, slot: int) -> None:
        for source in self.sources.values():
            source.forget(slot)

    def close(self) -> None:
        for name, source in self.sources.items():
            if name not in self._lent:
                source.close()

    def _find(
        self,
        finder: Drafter,
        sequences: Sequence[RunningSequence],
        plans: Sequence[LookAhead],
        best: list[Proposal],
        gains: list[float],
    ) -> None:
        """Let one source look for guesses, and keep those that promise more than what is there."""
        name = finder.name
        if name in self.parked:
            return
        limits = [
            plan.offer(name)[0] if sequence.request.speculation.method in ("auto", name) else 0
            for sequence, plan in zip(sequences, plans, strict=True)
        ]
        if not any(limits):
            return
        found = self._ask(finder, sequences, plans, limits)
        for i, guess in enumerate(found):
            if not guess.tokens:
                continue
            k, gain = plans[i].keep(name, guess.confidence)
            if k and gain > gains[i]:
                best[i], gains[i] = _instead(_cut(guess, k), best[i]), gain
            else:
                best[i].rivals.append(guess)

    def _draw(
        self,
        drawer: Drafter,
        sequences: Sequence[RunningSequence],
        plans: Sequence[LookAhead],
        best: list[Proposal],
        gains: list[float],
    ) -> None:
        """Run the draft model for the answers where it promises more than what was found."""
        limits = []
        for sequence, plan, gain in zip(sequences, plans, gains, strict=True):
            limit, hoped = plan.offer(MODEL) if sequence.request.speculation.method in ("auto", MODEL) else (0, 0.0)
            limits.append(limit if hoped > gain else 0)
        if not any(limits):
            return
        for i, guess in enumerate(self._ask(drawer, sequences, plans, limits)):
            if not guess.tokens:
                continue
            if guess.dists is not None:
                best[i] = _instead(guess, best[i])
                continue
            k, gain = plans[i].keep(MODEL, guess.confidence)
            if k and gain >= gains[i]:
                best[i] = _instead(_cut(guess, k), best[i])
            else:
                best[i].rivals.append(guess)

    def _ask(
        self,
        source: Drafter,
        sequences: Sequence[RunningSequence],
        plans: Sequence[LookAhead],
        limits: Sequence[int],
    ) -> list[Proposal]:
        capped = [
            CappedLookAhead(plan, limit) if limit else NO_LOOKAHEAD for plan, limit in zip(plans, limits, strict=True)
        ]
        return self._guarded(source, source.propose, sequences, capped) or []

    def _working(self) -> list[Drafter]:
        return [source for name, source in self.sources.items() if name not in self.parked]

    def _guarded(self, source: Drafter, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Let a source act; if it fails, park it: speculation may end, the answers may not."""
        result = None
        try:
            result = act(*args, **kwargs)
        except ForedraftError as error:
            self._park(source, error.message)
        failure = getattr(source, "failure", None)
        if failure:
            self._park(source, failure)
        return result

    def _park(self, source: Drafter, reason: Reason | str) -> None:
        if source.name not in self.parked:
            self.parked[source.name] = reason
            if self._on_park is not None:
                self._on_park(source.name, reason)


def _cut(guess: Proposal, k: int) -> Proposal:
    """The first k tokens of a guess, which remembers the rest."""
    if k < len(guess.tokens):
        guess.whole = guess.tokens
        guess.tokens = guess.tokens[:k]
    return guess


def _instead(chosen: Proposal, loser: Proposal) -> Proposal:
    """A guess takes the place of another, which becomes its rival."""
    chosen.rivals += loser.rivals
    if loser.tokens:
        loser.rivals = []
        chosen.rivals.append(loser)
    return chosen
