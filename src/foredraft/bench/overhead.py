"""What Foredraft itself costs, beside the models: three measurements with their bars.

- `stack`: plain decoding through all layers against the bare loop of `llama_decode` and argmax, side by side;
- `round`: one round on engines that answer at once, so that only our own work is left;
- `memory`: whether the process grows while it answers the same requests again and again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import numpy as np
import psutil

from foredraft.bench.baseline import BareLoop
from foredraft.bench.instant import InstantEngine
from foredraft.bench.modes import PLAIN, parse, stage
from foredraft.bench.statistics import Interval, ratio
from foredraft.core.params import Request, SamplingParams
from foredraft.engines.llamacpp import LoadOptions
from foredraft.engines.toy.engine import ToyClock
from foredraft.pair.llm import LLM
from foredraft.pair.load_settings import LoadSettings
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers import Adaptive, DraftController, Fixed
from foredraft.speculative.controllers.costs import CostModel
from foredraft.speculative.drafters import Arbiter, Drafter, ModelDrafter, lookup_drafters
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import Sequence as RunningSequence

STACK_BAR = 0.97
GAMMA = 3
ROUND_BARS = {(8_192, True): 0.10, (151_936, True): 0.30, (8_192, False): 0.4, (151_936, False): 2.0}
"""Milliseconds of one round by vocabulary and greedy or sampled (temperature 0.8, top-k 40, top-p 0.95)."""
AUTO_BAR = 0.06
"""Milliseconds that controller, calibration, sources and arbiter may take together."""
_PROMPT = (1, 2, 3)
_WARM_UP = 40
MEMORY_TOKENS = 10_000


@dataclass(frozen=True, slots=True)
class Stack:
    """Plain decoding through the whole stack against the bare loop: `share` of its speed, seconds a token of both."""

    share: Interval
    bare_s: float
    stack_s: float
    tokens: int
    same_text: bool


def stack(
    path: Path,
    *,
    turns: int = 12,
    tokens: int = 8,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[tuple[float, Stack | None]]:
    """Yields (share done, None) and at the end (1, the result). Both loops read the same prompt and write the same
    tokens, in turns. `clock` may be processor time where `threads` is 1."""
    settings = LoadSettings(context=512, probe=False, threads=threads, remember=False)
    with LLM.load(path, None, settings=settings) as llm, stage(llm, clock) as of:
        of.set(parse(PLAIN))
        options = getattr(llm.engine, "options", LoadOptions(n_ctx=512))
        bare = BareLoop(path, options)
        try:
            prompt = np.random.default_rng(3).integers(300, llm.info.n_vocab, size=32).tolist()
            request = llm.request(prompt, temperature=0.0, max_tokens=tokens, ignore_eos=True)
            same = bare.run(prompt, tokens).tokens == llm.generate(request).tokens  # and both are warm now
            bare_s: list[float] = []
            stack_s: list[float] = []
            for turn in range(turns):
                for which in ("bare", "stack") if turn % 2 else ("stack", "bare"):
                    if which == "bare":
                        bare_s.append(sum(bare.run(prompt, tokens, clock).seconds))
                    else:
                        stack_s.append(llm.generate(request).stats.generation_s)
                yield (turn + 1) / turns, None
        finally:
            bare.close()
    # every turn is a pair of its own: its ratio is what the noise of the minute leaves untouched
    share = ratio([bare_s], [stack_s])
    yield 1.0, Stack(share, median(bare_s) / tokens, median(stack_s) / tokens, turns * tokens, same)


@dataclass(frozen=True, slots=True)
class RoundCost:
    """Milliseconds of our own work in one round; `low` and `high` hold the middle half of the rounds."""

    name: str
    ms: float
    low: float
    high: float
    bar: float


def rounds(
    *, count: int = 400, sizes: Sequence[int] = (8_192, 151_936), clock: Callable[[], float] = time.perf_counter
) -> Iterator[RoundCost]:
    """The cost of a round of γ = 3, all guesses accepted, for each vocabulary, greedy and sampled; and what the
    adaptive controller and the sources of guesses add to a round in which nothing is guessed."""
    for n_vocab in sizes:
        for greedy in (True, False):
            name = f"one round, {'greedy' if greedy else 'sampled'}, {n_vocab:,} tokens of vocabulary"
            times = _round_times(InstantPair(n_vocab, greedy=greedy), Fixed(GAMMA), count, clock)
            yield _cost(name, times, ROUND_BARS.get((n_vocab, greedy), math.inf))
    pair = InstantPair(sizes[0], greedy=False, useless=True)
    plain = _round_times(pair, Fixed(0), count, clock)
    auto = _round_times(pair, Adaptive(CostModel({1: 0.02, 2: 0.04, 16: 0.32}, 0.01)), count, clock)
    base = median(plain)
    yield _cost("controller and sources, in a round without guesses", [t - base for t in auto], AUTO_BAR)


def _cost(name: str, times: Sequence[float], bar: float) -> RoundCost:
    low, _, high = quantiles(times, n=4)
    return RoundCost(name, median(times), low, high, bar)


class InstantPair:
    """A main model and a draft that answer at once, and a clock of their own on which a pass of n tokens takes
    n · 20 ms. A `useless` draft is never right."""

    def __init__(self, n_vocab: int, *, greedy: bool, useless: bool = False) -> None:
        self.clock = ToyClock()
        self.target = InstantEngine(n_vocab, spend=lambda n: self.clock.advance(0.02 * n))
        self.draft = InstantEngine(n_vocab, seed=6 if useless else 5, spend=lambda n: self.clock.advance(0.01 * n))
        self.sampling = SamplingParams(temperature=0.0 if greedy else 0.8, top_k=40, top_p=0.95, min_p=0.0, seed=1)

    def sequence(self, prompt: Sequence[int]) -> RunningSequence:
        """An answer that has just begun."""
        self.target.rewind(0, len(prompt) - 1)
        request = Request(tuple(prompt), self.sampling, ignore_eos=True)
        sampler = Sampler(self.sampling, prompt, n_vocab=self.target.info.n_vocab)
        return RunningSequence(request, 0, sampler, rule=RULES["match"](), eog=(), n_ctx=1024, n_read=len(prompt) - 1)


def _round_times(pair: InstantPair, controller: DraftController, count: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of rounds through `run_round`, with all sources of guesses where the controller is the adaptive."""
    drafter: Drafter = ModelDrafter(pair.draft, pair.target.info.n_vocab, pair.clock)
    if isinstance(controller, Adaptive):
        drafter = Arbiter([*lookup_drafters(), drafter])
    times: list[float] = []
    sequence = pair.sequence(_PROMPT)
    for number in range(count + _WARM_UP):
        if len(sequence.tokens) > 400:
            drafter.forget(0)
            sequence = pair.sequence(_PROMPT)
        began = clock()
        run_round([sequence], pair.target, drafter, controller, clock=pair.clock)
        if number >= _WARM_UP:
            times.append((clock() - began) * 1e3)
    return times


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory in bytes, after a warm-up of a tenth of the tokens and at the end."""

    before: int
    after: int
    tokens: int
    requests: int

    @property
    def growth(self) -> int:
        return self.after - self.before


def memory(llm: LLM, prompts: Sequence[str], *, tokens: int = MEMORY_TOKENS) -> Iterator[tuple[float, Memory | None]]:
    """Answer the prompts again and again until `tokens` have been written. Yields (share done, None), at the end the
    result."""
    process = psutil.Process()
    warm_up = max(1, tokens // 10)
    before = written = requests = 0
    while written < tokens + warm_up:
        if not before and written >= warm_up:
            before = process.memory_info().rss
        temperature = 0.8 if requests % 2 else 0.0
        prompt = prompts[requests % len(prompts)]
        left = tokens + warm_up - written
        answer = llm.generate(prompt, temperature=temperature, seed=requests, max_tokens=min(64, left), ignore_eos=True)
        written += max(1, len(answer.tokens))
        requests += 1
        yield min(1.0, written / (tokens + warm_up)), None
    after = process.memory_info().rss
    yield 1.0, Memory(before or after, after, written - warm_up, requests)
