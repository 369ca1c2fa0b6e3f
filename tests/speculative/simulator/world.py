"""The simulated world: texts, cost curves, a draft, and a round on a virtual clock.

A `Stream` says, position by position, how sure the draft is and whether its token is the target's; a `World` says what
passes and draft steps cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.rewind import FORK
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.controllers.adaptive import Adaptive
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.controllers.base import DraftController, LookAhead
from foredraft.speculative.drafters.arbiter import Arbiter
from foredraft.speculative.proposal import Proposal, Verification
from foredraft.speculative.record import Round
from foredraft.speculative.sequence import RunningSequence

T1 = 0.02
"""Seconds of a plain step in the simulated world."""
C = 0.1
"""Cost of a draft step, in plain steps."""

CATCH_UP = 0.25
"""Cost of each token more that a draft step reads, as a share of the step: a draft that rested must catch up."""

# v(1), v(2), … ; beyond the last entry the curve goes on with its last slope.
CURVES: dict[str, list[float]] = {
    # docs/concepts/algorithms.md §1.2
    "CPU": [1, 1.12, 1.22, 1.25, 1.47, 1.62, 1.75, 1.78, 2.02, 2.26, 2.50, 2.74, 2.98, 3.22, 3.46, 3.70, 3.94],
    "GPU": [1, 1.07, 1.12, 1.28, 1.28, 1.54, 1.61, 1.72, 3.88, 3.89, 3.91, 3.93, 3.95, 3.97, 3.99, 4.01, 4.03],
    "MoE": [1, 1.30, 1.41, 1.45, 1.56, 1.67, 1.76, 1.88, 2.00, 2.12, 2.24, 2.36, 2.48, 2.60, 2.72, 2.84, 2.96],
}
# docs/concepts/engine.md §1, measured on two-core machines: n -> v(n), the points between them in a line
MEASURED: dict[str, dict[int, float]] = {
    "47M-Q8": {1: 1, 2: 1.86, 3: 2.15, 4: 2.38, 5: 2.91, 6: 3.15, 8: 3.43, 12: 4.48, 16: 5.47},
    "10M-Q8": {1: 1, 2: 1.06, 3: 1.26, 4: 1.45, 5: 1.78, 6: 2.01, 8: 2.47, 12: 3.48, 16: 4.56},
    "1B-F16": {1: 1, 2: 1.24, 3: 1.30, 4: 1.33, 5: 1.46, 6: 1.59, 8: 2.18, 12: 2.74, 16: 3.43},
    "1B-Q4KM": {1: 1, 2: 1.6, 3: 2.4, 4: 2.8, 5: 3.5, 6: 4.2, 8: 5.7, 12: 7.5, 16: 7.0},
    "3B-Q8": {1: 1, 2: 1.0, 3: 0.96, 4: 1.10, 5: 1.30, 6: 1.96, 8: 1.91, 16: 3.28},
    "3B-Q4-0": {1: 1, 2: 1.28, 3: 1.60, 4: 1.07, 5: 1.57, 6: 1.79, 8: 1.87, 16: 3.4},
}
for _name, _points in MEASURED.items():
    CURVES[_name] = [float(x) for x in np.interp(range(1, 18), list(_points), list(_points.values()))]
JAGGED = tuple(MEASURED)


@dataclass
class Stream:
    """By position: the draft's confidence, the probability that its token stands, and whether it does."""

    confidence: list[float]
    chance: list[float]
    stands: list[bool]

    def __len__(self) -> int:
        return len(self.chance)


def _switching(rng: np.random.Generator, n: int, rate: float) -> np.ndarray:
    """Two regimes, changing at `rate` per token: 0, 0, 0, 1, 1, 0 …"""
    return np.cumsum(rng.random(n) < rate) % 2


def stream(kind: str, n: int, seed: int) -> Stream:
    """The streams of docs/concepts/algorithms.md §3.6."""
    rng = np.random.default_rng([seed, sum(map(ord, kind))])
    sure, unsure = rng.beta(9, 1, n), rng.beta(2, 2.5, n)
    if kind == "good":
        conf = rng.beta(20, 1, n)
        chance = 0.98 * conf**1.3
    elif kind == "mixed":
        conf = np.where(_switching(rng, n, 0.04) == 0, sure, unsure)
        chance = 0.98 * conf**1.3
    elif kind == "iid":
        conf = np.where(rng.random(n) < 0.5, sure, unsure)
        chance = 0.98 * conf**1.3
    elif kind == "turning":
        bad = _switching(rng, n, 1 / 400) == 1
        conf = np.where(_switching(rng, n, 0.04) == 0, sure, unsure)
        chance = np.where(bad, 0.25 * conf, 0.98 * conf**1.3)
    elif kind == "bad":
        conf = rng.beta(3, 2, n)
        chance = 0.25 * conf
    elif kind == "adversarial":
        conf = rng.beta(20, 1, n)
        chance = np.zeros(n)
    else:
        raise ValueError(kind)
    stands = rng.random(n) < chance
    return Stream(conf.tolist(), chance.tolist(), stands.tolist())


STREAMS = ("good", "mixed", "iid", "turning", "bad", "adversarial")


@dataclass
class World:
    """What time is made of: the cost curve, the draft, and noise on both."""

    curve: Sequence[float]
    c: float = C
    noise: float = 0.03
    spikes: Sequence[float] = ()
    """Extra factors on passes, one a round, cyclic: disturbances."""
    seed: int = 0
    rounds: int = 0
    fork: bool = False
    """The main model goes back by a fork: what stands of a rejected guess is read again with later passes."""

    def __post_init__(self) -> None:
        self.owed: dict[int, int] = {}  # by slot
        self._rng = np.random.default_rng(self.seed)
        self._noise = iter(())

    def v(self, n: int) -> float:
        if n <= len(self.curve):
            return self.curve[n - 1]
        return self.curve[-1] + (n - len(self.curve)) * (self.curve[-1] - self.curve[-2])

    def wobble(self) -> float:
        try:
            return next(self._noise)
        except StopIteration:
            self._noise = iter(np.exp(self.noise * self._rng.standard_normal(4096)).tolist())
            return next(self._noise)

    def pass_s(self, n: int) -> float:
        spike = self.spikes[self.rounds % len(self.spikes)] if self.spikes else 1.0
        self.rounds += 1
        return T1 * self.v(n) * self.wobble() * spike

    def catch_up(self, behind: int) -> float:
        """What a draft step costs more for reading `behind` tokens, at most the window of a draft of this cost."""
        window = min(max(int(0.5 / (self.c * CATCH_UP)), 16), 512)
        return self.c * CATCH_UP * min(behind - 1, window)

    def draft_s(self, steps: int, behind: int = 1) -> float:
        return T1 * (self.c * steps + self.catch_up(behind)) * self.wobble()

    def measured(self) -> CostModel:
        """The costs as a load would have measured them: a few noisy points."""
        points = {n: T1 * self.v(n) * self.wobble() for n in (1, 2, 4, 8)}
        costs = CostModel(points, T1 * self.c * self.wobble())
        costs.forked = self.fork
        return costs


class SimulatedDraft:
    """The draft model of a stream: right where the stream says so. Token 0 is always right, token 1 never."""

    name = "model"

    def __init__(self, world: World, streams: dict[int, Stream]) -> None:
        self.world = world
        self.streams = streams
        self.read: dict[int, int] = {}

    def propose(self, sequences: Sequence[RunningSequence], plans: Sequence[LookAhead]) -> list[Proposal]:
        proposals, deepest, behind = [], 0, 1
        for sequence, plan in zip(sequences, plans, strict=True):
            x = Proposal()
            if plan.limit > 0:
                text, at = self.streams[sequence.slot], len(sequence.tokens) - sequence.n_prompt
                x.source = self.name
                while True:
                    i = min(at + len(x), len(text) - 1)
                    x.tokens.append(0 if text.stands[i] else 1)
                    x.confidence.append(text.confidence[i])
                    if len(x) >= plan.limit or not plan.go_on(len(x), x.confidence[-1]):
                        break
                deepest = max(deepest, len(x))
                n = len(sequence.tokens)
                behind = max(behind, n - self.read.get(sequence.slot, n - 1))
                right = next((j for j, token in enumerate(x.tokens) if token), len(x))
                self.read[sequence.slot] = n + min(right, len(x) - 1)
            proposals.append(x)
        drafting = [x for x in proposals if x.tokens]
        if drafting:
            first = self.world.draft_s(1, behind)
            spent = first + (self.world.draft_s(deepest - 1) if deepest > 1 else 0.0)
            for x in drafting:
                x.draft_s, x.first_s, x.behind = spent / len(drafting), first / len(drafting), behind
        return proposals

    def target_read(self, chunks: object) -> None: ...

    def prefill(self, chunks: object) -> None: ...
    def observe(self, record: Round) -> None: ...
    def forget(self, slot: int) -> None: ...
    def close(self) -> None: ...


def new_sequence(slot: int = 0, speculation: SpeculationParams | None = None) -> RunningSequence:
    request = Request((0, 0), SamplingParams(temperature=0.0), speculation or SpeculationParams())
    return RunningSequence(request, slot, Sampler(request.sampling), Match(), eog=(), n_ctx=1 << 30)


@dataclass
class Run:
    """What a run came to; times in plain steps."""

    tokens: int = 0
    time: float = 0.0
    trace: list[tuple[int, float]] = field(default_factory=list)
    """(tokens, time) of each round."""
    gammas: list[int] = field(default_factory=list)

    @property
    def speed(self) -> float:
        return self.tokens / self.time


def one_round(
    sequences: Sequence[RunningSequence], drafter: Arbiter, controller: DraftController, world: World
) -> Round:
    """A round as `run_round` does it, with time by the world and verdicts by the tokens: 0 is always right."""
    for sequence in sequences:
        sequence.owed = world.owed.get(sequence.slot, 0)
        sequence.ceiling = FORK.guesses(sequence.owed)
    plans = controller.plan(sequences)
    proposals = drafter.propose(sequences, plans)
    rows = sum(len(x) + 1 for x in proposals)
    replayed = sum(world.owed.values())
    verify_s = world.pass_s(rows + replayed)
    verdicts, grown = [], []
    for sequence, x in zip(sequences, proposals, strict=True):
        n = next((j for j, token in enumerate(x.tokens) if token), len(x))
        kind = "corrected" if n < len(x) else "bonus" if n else "plain"
        verdicts.append(Verification(n, 0, kind, tested=min(n + 1, len(x))))
        sequence.tokens.extend([0] * (n + 1))
        grown.append(n + 1)
        if world.fork:
            world.owed[sequence.slot] = world.owed.get(sequence.slot, 0) + n + 1 if n < len(x) else 0
    draft_s = sum(x.draft_s for x in proposals) + sum(y.draft_s for x in proposals for y in x.rivals)
    record = Round(
        sequences, proposals, verdicts, grown, draft_s, verify_s, draft_s + verify_s, rows, replayed=replayed
    )
    drafter.observe(record)
    controller.observe(record)
    return record


def simulate(
    text: Stream, world: World, controller: DraftController | None = None, speculation: SpeculationParams | None = None
) -> Run:
    """Write one stream with the production controller and arbiter."""
    controller = controller or Adaptive(world.measured())
    drafter = Arbiter([SimulatedDraft(world, {0: text})])
    sequence = new_sequence(speculation=speculation)
    run = Run()
    while run.tokens < len(text):
        record = one_round([sequence], drafter, controller, world)
        run.tokens += record.emitted[0]
        run.time += record.total_s / T1
        run.trace.append((record.emitted[0], record.total_s / T1))
        run.gammas.append(len(record.proposals[0]))
    return run
