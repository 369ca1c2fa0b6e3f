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
from foredraft.bench.statistics import Interval, ratio
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.llamacpp import LoadOptions
from foredraft.llm import LLM, LoadSettings
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import ModelDrafter
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import Sequence as RunningSequence

STACK_BAR = 0.97
GAMMA = 3
ROUND_BARS = {(8_192, True): 0.10, (151_936, True): 0.30, (8_192, False): 0.4, (151_936, False): 2.0}
"""Milliseconds of one round by vocabulary and greedy or sampled (temperature 0.8, top-k 40, top-p 0.95)."""
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
    path: Path, *, turns: int = 12, tokens: int = 16, clock: Callable[[], float] = time.perf_counter
) -> Iterator[tuple[float, Stack | None]]:
    """Yields (share done, None) and at the end (1, the result). Both loops read the same prompt and write the same
    tokens, in turns."""
    settings = LoadSettings(context=512, probe=False)
    with LLM.load(path, None, settings=settings) as llm:
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
                        bare_s.append(sum(bare.run(prompt, tokens).seconds))
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
    """Milliseconds of our own work in one round of γ = 3, all guesses accepted; `low` and `high` hold the middle half
    of the rounds."""

    n_vocab: int
    greedy: bool
    ms: float
    low: float
    high: float
    bar: float


def rounds(
    *, count: int = 400, sizes: Sequence[int] = (8_192, 151_936), clock: Callable[[], float] = time.perf_counter
) -> Iterator[RoundCost]:
    """The cost of a round for each vocabulary, greedy and sampled."""
    for n_vocab in sizes:
        for greedy in (True, False):
            times = _round_times(n_vocab, greedy, count, clock)
            low, _, high = quantiles(times, n=4)
            yield RoundCost(n_vocab, greedy, median(times), low, high, ROUND_BARS.get((n_vocab, greedy), math.inf))


def _round_times(n_vocab: int, greedy: bool, count: int, clock: Callable[[], float]) -> list[float]:
    """Milliseconds of rounds through `run_round`, on engines that need no time."""
    target, draft = InstantEngine(n_vocab), InstantEngine(n_vocab)
    drafter, controller = ModelDrafter(draft, n_vocab), Fixed(GAMMA)
    sampling = SamplingParams(temperature=0.0 if greedy else 0.8, top_k=40, top_p=0.95, min_p=0.0, seed=1)
    request = Request((1, 2, 3), sampling, SpeculationParams(method="model"), ignore_eos=True)
    times = []
    sequence: RunningSequence | None = None
    for number in range(count + 20):
        if sequence is None or len(sequence.tokens) > 400:
            target.rewind(0, 0)
            target.read(0, len(request.prompt) - 1)
            sampler = Sampler(sampling, request.prompt, n_vocab=n_vocab)
            rule = RULES["match"]()
            sequence = RunningSequence(request, 0, sampler, rule, eog=(), n_ctx=1024, n_read=len(request.prompt) - 1)
        began = clock()
        run_round([sequence], target, drafter, controller)
        if number >= 20:  # the first ones warm caches up
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
