"""What Foredraft itself costs, beside the models: three measurements with their bars.

    python -m benchmarks.overhead [stack round memory] [--model FILE --draft FILE] [--clock cpu] [--json FILE]

The exit code is 1 where a bar is missed.

- `stack`: plain decoding through all layers against the bare loop of `llama_decode` and argmax, side by side;
- `round`: one round on engines that answer at once, so that only our own work is left;
- `memory`: whether the process grows while it answers the same requests again and again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import TypeVar

import numpy as np
import psutil

from benchmarks.baseline import BareLoop
from benchmarks.instant import InstantEngine
from benchmarks.random_model import SHAPES, write_random_model
from foredraft.bench.categories import prompts as bench_prompts
from foredraft.bench.modes import CLOCKS, PLAIN, parse, stage
from foredraft.bench.statistics import Interval, ratio
from foredraft.config.folders import cache_folder
from foredraft.config.load_settings import LoadSettings
from foredraft.core.params import Request, SamplingParams
from foredraft.engines.llamacpp import LoadOptions
from foredraft.engines.toy.engine import ToyClock
from foredraft.pair.llm import LLM
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers import Adaptive, DraftController, Fixed
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.drafters import Arbiter, Drafter, ModelDrafter, lookup_drafters
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import RunningSequence

T = TypeVar("T")
Reported = tuple[list[tuple[str, str, str, bool]], object]
"""Rows (what, measured, bar, met), and the figures as JSON."""
STACK_BAR = 0.97
GROWTH_BAR = 8 << 20
"""Bytes that `MEMORY_TOKENS` tokens may leave behind: allocators round up, models do not."""
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


def _report_round(asked: argparse.Namespace) -> Reported:
    costs = list(rounds(clock=CLOCKS[asked.clock]))
    rows = [(c.name, f"{c.ms:.3f} ms ({c.low:.3f}–{c.high:.3f})", f"≤ {c.bar:.2f} ms", c.ms <= c.bar) for c in costs]
    return rows, [asdict(cost) for cost in costs]


def _report_stack(asked: argparse.Namespace) -> Reported:
    path = asked.model or _random_model()
    threads = 1 if asked.clock == "cpu" else None
    found = _last(stack(path, threads=threads, clock=CLOCKS[asked.clock]), "stack")
    share = found.share
    value = f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]" + ("" if found.same_text else ", but another text")
    name = f"plain decoding against the bare loop, {found.bare_s * 1e3:.1f} ms a token"
    figures = {"share": share.value, "low": share.low, "high": share.high, "bare_s": found.bare_s}
    return [(name, value, f"≥ {STACK_BAR}", share.value >= STACK_BAR and found.same_text)], figures


def _report_memory(asked: argparse.Namespace) -> Reported:
    texts = [prompt.text for group in bench_prompts(count=3).values() for prompt in group]
    threads = 1 if asked.clock == "cpu" else None
    settings = LoadSettings(threads=threads, draft_threads=threads, remember=False)
    with LLM.load(asked.model, asked.draft, settings=settings) as llm:
        found = _last(memory(llm, texts), "memory")
    name = f"memory after {found.tokens:,} tokens in {found.requests} requests"
    value = f"{found.growth / 2**20:+.1f} MiB, from {found.before / 2**20:.0f} MiB"
    return [(name, value, f"≤ {GROWTH_BAR / 2**20:.0f} MiB", found.growth <= GROWTH_BAR)], asdict(found)


PARTS: dict[str, Callable[[argparse.Namespace], Reported]] = {
    "round": _report_round,
    "stack": _report_stack,
    "memory": _report_memory,
}


def _random_model() -> Path:
    """A model of 0.5 billion random parameters, in the cache: large enough for 20 ms a token on most machines."""
    path = cache_folder() / "random-0.5b-q8_0.gguf"
    if not path.is_file():
        print(f"Making {path}, once …", file=sys.stderr)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        write_random_model(unfinished, SHAPES["0.5b"], kind="q8_0")
        unfinished.replace(path)
    return path


def _last(steps: Iterator[tuple[float, T | None]], name: str) -> T:
    """The result at the end; the share done is shown on a terminal."""
    found: T | None = None
    for share, result in steps:
        found = result
        if sys.stderr.isatty():
            print(f"\r{name}: {share:.0%} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    assert found is not None
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all three")
    parser.add_argument("--model", type=Path, help="default: random weights for stack, the embedded pair for memory")
    parser.add_argument("--draft", default="auto")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args(arguments)
    if unknown := set(asked.part) - set(PARTS):
        parser.error(f"{', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    figures: dict[str, object] = {}
    all_met = True
    for name in asked.part or PARTS:
        rows, figures[name] = PARTS[name](asked)
        for what, measured, bar, met in rows:
            all_met = all_met and met
            print(f"{what}: {measured}  (bar {bar}: {'met' if met else 'MISSED'})", flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if all_met else 1


if __name__ == "__main__":
    sys.exit(main())
