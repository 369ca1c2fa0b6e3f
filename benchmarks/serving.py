"""What several requests on one pair cost and bring, and what HTTP costs: the server's bars, row by row.

    python -m benchmarks.serving [--main MAIN.gguf --draft DRAFT.gguf | --inflate 1b] [--clock cpu] [--row NAME …]

Without a model it is the embedded pair. The two sides of a ratio take turns, and the row is the median of the ratios
with the smallest and the largest. `--clock cpu` counts the processor time of the thread that runs the models, one
thread each: what wall time would be if nothing else ran on this machine. Rows over HTTP always count wall time, on an
engine that waits 20 ms a pass (`over_http.py`); the row of isolation counts both times (`isolation.py`).
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import isolation, over_http
from foredraft.bench.categories import Prompt, prompts
from foredraft.bench.inflated import inflated
from foredraft.bench.machine import in_words, machine
from foredraft.bench.modes import CLOCKS, PLAIN, Stage, parse, stage
from foredraft.config.load_settings import LoadSettings
from foredraft.config.shelf import locate
from foredraft.core.params import Request, SamplingParams
from foredraft.demo import draft_path, main_path
from foredraft.engines.base import Chunk
from foredraft.pair.llm import LLM
from foredraft.scheduling.packing import PREFILL_BESIDE_OTHERS
from foredraft.scheduling.request import ScheduledRequest

DISCRETE = ("facts", "code", "json")
"""Categories with one right answer: where a draft guesses well."""
PARALLEL = (1, 4, 8)
LONG = 4000
"""Tokens of the prompt that arrives while others are being answered."""
CHAT = 2000
"""Tokens of the conversation whose second turn is looked at."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and its bar. `low` and `high` are the smallest and the largest of the repeats."""

    name: str
    value: float
    low: float
    high: float
    bar: str = ""
    """Such as "≥ 0.98"; empty where there is none."""

    @property
    def met(self) -> bool | None:
        if not self.bar:
            return None
        sign, number = self.bar.split()
        return self.value >= float(number) if sign == "≥" else self.value <= float(number)

    def __str__(self) -> str:
        verdict = {None: "", True: "met", False: "MISSED"}[self.met]
        return f"{self.name:58} {self.value:8.3f}  ({self.low:.3f} to {self.high:.3f})  {self.bar:8} {verdict}".rstrip()


def row(name: str, found: Sequence[float], bar: str = "") -> Row:
    """The median of some repeats."""
    return Row(name, statistics.median(found), min(found), max(found), bar)


def paired(ours: Callable[[int], float], theirs: Callable[[int], float], repeats: int) -> list[float]:
    """ours ÷ theirs, side by side; they take turns in beginning. Both get the number of the repeat; 0 warms up."""
    found = []
    for number in range(repeats + 1):
        pair = (ours(number), theirs(number)) if number % 2 else (theirs(number), ours(number))[::-1]
        found.append(pair[0] / pair[1])
    return found[1:]


class Load:
    """Requests on a loaded pair, stepped on this thread so that its processor time can be counted."""

    def __init__(self, of: Stage, texts: Sequence[Prompt], tokens: int) -> None:
        self.of = of
        self.to_the_end = False
        """Whether answers end where they end, and not all at the same length, past their end."""
        self.llm = of.llm
        encode = self.llm.engine.tokenizer.encode
        self.prompts = [tuple(encode(self.llm.render(prompt.text))) for prompt in texts]
        self.tokens = tokens

    def request(self, number: int, tokens: int | None = None) -> Request:
        prompt = self.prompts[number % len(self.prompts)]
        return Request(
            prompt, SamplingParams(temperature=0.0), max_tokens=tokens or self.tokens, ignore_eos=not self.to_the_end
        )

    def speed(self, mode: str, groups: Sequence[Sequence[int]]) -> float:
        """Tokens a second of requests by number: those of a group at once, one group after the other. Prompts are read
        anew."""
        self.of.set(parse(mode))
        self.llm.scheduler.slots.clear()
        began, written = self.of.clock(), 0
        for group in groups:
            answers = [self.llm.scheduler.submit(self.request(number)) for number in group]
            self.finish()
            written += sum(answer.stats.tokens for answer in answers)
        return written / (self.of.clock() - began)

    def flow(self, mode: str, numbers: Sequence[int], most: int) -> float:
        """Tokens a second where the next request comes as soon as one of `most` has ended."""
        self.of.set(parse(mode))
        scheduler = self.llm.scheduler
        scheduler.slots.clear()
        began, written, waiting = self.of.clock(), 0, list(numbers)
        running: list[ScheduledRequest] = []
        while waiting or running:
            while waiting and len(running) < most:
                running.append(scheduler.submit(self.request(waiting.pop(0))))
            scheduler.step()
            written += sum(answer.stats.tokens for answer in running if answer.done)
            running = [answer for answer in running if not answer.done]
        return written / (self.of.clock() - began)

    def finish(self) -> None:
        while self.llm.scheduler.busy:
            self.llm.scheduler.step()


def speculation(load: Load, repeats: int) -> Iterator[Row]:
    """As users get it against plain decoding, with 1, 4 and 8 requests at once; answers end where they end."""
    load.to_the_end = True
    for count in PARALLEL:

        def speed(mode: str, number: int, count: int = count) -> float:
            return load.speed(mode, [range(number, number + count)])

        found = paired(lambda i: speed("auto", i), lambda i: speed(PLAIN, i), repeats)
        yield row(f"{count} at once, speculation on ÷ off", found, "≥ 1.15" if count == 1 else "≥ 0.98")
    load.to_the_end = False


def together(load: Load, repeats: int) -> Iterator[Row]:
    """Four requests at once against the same four one after another. Answers of equal length end at different times, as
    guesses stand more often in some: so also a flow of requests, four in flight."""
    for mode, name, bar in ((PLAIN, "plain", ""), ("auto", "with the draft", "≥ 1.5")):

        def at_once(i: int, mode: str = mode) -> float:
            return load.speed(mode, [range(i, i + 4)])

        def in_turn(i: int, mode: str = mode) -> float:
            return load.speed(mode, [[k] for k in range(i, i + 4)])

        yield row(f"4 at once ÷ one after another, {name}", paired(at_once, in_turn, repeats), bar)

    def flowing(i: int) -> float:
        return load.flow("auto", range(i, i + 8), 4)

    def each(i: int) -> float:
        return load.flow("auto", range(i, i + 8), 1)

    yield row("8 requests, 4 in flight ÷ one after another, with the draft", paired(flowing, each, repeats))


def second_turn(load: Load) -> Iterator[Row]:
    """Tokens of a conversation that its second turn reads again, though they have been read or written before."""
    load.of.set(parse("auto"))
    llm, size = load.llm, 0
    turns: list[dict[str, str]] = []
    texts = [prompt.text for of in prompts().values() for prompt in of]
    while size < CHAT:
        turns += [
            {"role": "user", "content": texts[len(turns) % len(texts)]},
            {"role": "assistant", "content": " ".join(texts[len(turns) : len(turns) + 3]) or "Yes."},
        ]
        size = len(llm.engine.tokenizer.encode(llm.render([*turns, {"role": "user", "content": texts[0]}])))
    turns.append({"role": "user", "content": texts[0]})
    answer = llm.generate(llm.request(llm.render(turns), temperature=0.0, max_tokens=40))
    turns += [{"role": "assistant", "content": answer.text}, {"role": "user", "content": texts[1]}]
    again = llm.generate(llm.request(llm.render(turns), temperature=0.0, max_tokens=4))
    # the last token of an answer is written, but has not been read
    known = answer.stats.prompt_tokens + len(answer.tokens) - 1
    repeated = known - again.stats.cached_tokens
    yield row(f"second turn of {size:,} tokens: tokens read again", [float(max(0, repeated))], "≤ 0")
    yield row("second turn: tokens read", [float(again.stats.prompt_tokens - again.stats.cached_tokens)])


def long_prompt(load: Load, repeats: int) -> Iterator[Row]:
    """The longest gap of three running answers while a long prompt is read, in times of one piece of a prompt."""
    llm, clock = load.llm, load.of.clock
    words = [token for prompt in load.prompts for token in prompt]
    text = tuple((words * (LONG // len(words) + 1))[:LONG])
    found = []
    for number in range(repeats + 1):
        load.of.set(parse("auto"))
        llm.scheduler.slots.clear()
        piece = _slowest_piece(llm, text, clock)
        answers = [llm.scheduler.submit(load.request(number + i, 100_000)) for i in range(3)]
        while any(len(answer.text) < 40 for answer in answers):
            llm.scheduler.step()
        late = llm.scheduler.submit(Request(text, SamplingParams(temperature=0.0), max_tokens=1))
        found.append(_longest_gap(load, answers, late) / piece)
        for answer in answers:
            answer.cancelled = True
        load.finish()
    name = f"a prompt of {LONG:,} beside 3 answers: longest gap ÷ one piece"
    yield row(name, found[1:], "≤ 2")


def _slowest_piece(llm: LLM, text: Sequence[int], clock: Callable[[], float]) -> float:
    """Seconds of the slowest of the pieces in which a prompt is read when nothing else runs."""
    engine, slowest = llm.engine, 0.0
    for start in range(0, len(text), PREFILL_BESIDE_OTHERS):
        began = clock()
        engine.forward([Chunk(0, start, text[start : start + PREFILL_BESIDE_OTHERS])])
        slowest = max(slowest, clock() - began)
    engine.rewind(0, 0)
    return slowest


def _longest_gap(load: Load, answers: Sequence[ScheduledRequest], late: ScheduledRequest) -> float:
    """Step until `late` has ended; the longest time that one of the answers got nothing."""
    clock, gap = load.of.clock, 0.0
    last = dict.fromkeys(answers, clock())
    seen = {answer: answer.stats.tokens for answer in answers}
    while not late.done:
        load.llm.scheduler.step()
        now = clock()
        for answer in answers:
            if answer.stats.tokens > seen[answer]:
                gap = max(gap, now - last[answer])
                seen[answer], last[answer] = answer.stats.tokens, now
    return max(gap, *(clock() - at for at in last.values()))


ROWS: Mapping[str, Callable[[Load, int], Iterator[Row]]] = {
    "speculation": speculation,
    "together": together,
    "second-turn": lambda load, repeats: second_turn(load),
    "long-prompt": long_prompt,
}
"""Rows that need a pair."""
HTTP, ISOLATION = "http", "isolation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--main", default=None)
    parser.add_argument("--draft", default=None)
    parser.add_argument("--inflate", default=None, help="the main model at the cost of 0.5b, 1b, 3b or 8b")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--row", action="append", choices=(*ROWS, HTTP, ISOLATION), help="default: all")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    print(in_words(machine()))
    wanted = asked.row or (*ROWS, HTTP, ISOLATION)
    if HTTP in wanted:
        for found, name, bar in over_http.measure(asked.repeats):
            print(row(name, found, bar), flush=True)
    chosen = [ROWS[name] for name in wanted if name in ROWS]
    model = locate(asked.main) if asked.main else main_path()
    draft = locate(asked.draft) if asked.draft else draft_path()
    if asked.inflate:
        model = inflated(model, asked.inflate, print)
    threads = 1 if asked.clock == "cpu" else None
    if ISOLATION in wanted:
        rows = itertools.chain(
            isolation.crossing(asked.repeats), isolation.measure(model, asked.repeats, threads=threads)
        )
        for found, name, bar in rows:
            print(row(name, found, bar), flush=True)
    if not chosen:
        return
    settings = LoadSettings(slots=8, context=8192, threads=threads, draft_threads=threads, remember=False)
    texts = [prompt for of in zip(*prompts(DISCRETE).values(), strict=False) for prompt in of]
    with LLM.load(model, draft, settings=settings) as llm, stage(llm, CLOCKS[asked.clock]) as of:
        print(f"{model.name} with {draft.name}, {asked.clock} time, {asked.tokens} tokens an answer")
        load = Load(of, texts, asked.tokens)
        for of_pair in chosen:
            for made in of_pair(load, asked.repeats):
                print(made, flush=True)


if __name__ == "__main__":
    main()
