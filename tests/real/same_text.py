"""The claim on trained files: in exact numerics every text is what plain decoding writes, whatever the draft, the
look-ahead, the cache and the neighbours do; in fast numerics every first difference is a near-tie.

    python -m tests.real.same_text MAIN.gguf [DRAFT.gguf] --numerics exact --prompts 100 --tokens 24

For each prompt and temperature 0 and 0.8: plain once, then fixed:3, fixed:7 and auto, each with an empty cache, with
the prompt in the cache, and four prompts at once. Guesses come from the draft, if any, and from a prediction:
the plain answer with every sixth token replaced, so that passes of all sizes occur and guesses are turned down at all
places. Prompts are those of MT-bench, GSM8K and HumanEval where they are at hand
(`../shared/data/prompts`), and Japanese and English ones of our own. `--weights file` leaves the weights as they lie in
the file, whose kernels limit exact passes on some processors.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from foredraft.config.load_settings import LoadSettings
from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.llamacpp import LoadOptions, exactness
from foredraft.pair.llm import LLM
from foredraft.pair.verification import first_difference
from foredraft.scheduling.request import ScheduledRequest

OURS = (
    "日本で一番高い山は何ですか?その高さも教えてください。",
    "二次方程式の解の公式を説明して、例を一つ挙げてください。",
    "「春が来た」で始まる短い物語を書いてください。",
    "次の文を英語に訳してください:昨日は図書館で三時間勉強しました。",
    "東京から大阪まで新幹線で行くとき、どのくらい時間がかかりますか?",
    "配列を昇順に並べ替えるPythonの関数を書いてください。",
    "犬と猫の違いを三つ挙げてください。",
    "Write a Python function that returns the n-th Fibonacci number.",
    "What is the quadratic equation formula?",
    "Write a short story about a lighthouse keeper.",
    'Return JSON with the keys "name" and "age" for Ada, who is 36.',
    "Translate into German: The train is late again.",
    "Repeat this list and add one city: Paris, Rome, Oslo, Paris, Rome, Oslo.",
    "Why is the sky blue?",
    "Explain recursion to a child.",
    "List the planets of the solar system, one a line.",
)
MODES = {
    "fixed:3": SpeculationParams(adapt=False, max_draft=3),
    "fixed:7": SpeculationParams(adapt=False, max_draft=7),
    "auto": SpeculationParams(),
}
TEMPERATURES = (0.0, 0.8)
AT_ONCE = 4


def prompts(count: int, folder: Path | None) -> list[str]:
    """Prompts of all kinds in turns; short ones first within each, for reading them takes most of the time."""
    kinds: list[Sequence[str]] = [OURS]
    if folder is not None and folder.is_dir():
        for file, key in (("mt_bench.jsonl", "turns"), ("gsm8k_test.jsonl", "question"), ("humaneval.jsonl", "prompt")):
            lines = (folder / file).read_text(encoding="utf-8").splitlines()
            texts = [json.loads(line)[key] for line in lines]
            kinds.append(sorted((text[0] if key == "turns" else text for text in texts), key=len))
    turns = itertools.chain.from_iterable(itertools.zip_longest(*kinds))
    return list(itertools.islice((text for text in turns if text is not None), count))


@dataclasses.dataclass
class Tally:
    """What came of the comparisons."""

    answers: int = 0
    same: int = 0
    near_ties: int = 0
    defects: list[str] = dataclasses.field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    parted_by: Counter[str] = dataclasses.field(default_factory=Counter)

    def __str__(self) -> str:
        share = f"{self.accepted} of {self.drafted} guesses accepted"
        parted = ", ".join(f"{how} {n}" for how, n in sorted(self.parted_by.items()))
        words = f"{self.same} of {self.answers} answers identical to plain, {self.near_ties} parted at near-ties, "
        return words + f"{len(self.defects)} defects; {share}" + (f"; parted: {parted}" if parted else "")


def compare(llm: LLM, texts: Sequence[str], *, tokens: int) -> Iterator[Tally]:
    """All comparisons, four prompts at a time; yields the tally after each four."""
    tally = Tally()
    chat = llm.info.chat_template is not None
    for first in range(0, len(texts), AT_ONCE):
        for temperature in TEMPERATURES:
            requests = [
                Request(
                    tuple(llm.engine.tokenizer.encode(llm.render(text) if chat else text)),
                    SamplingParams(temperature=temperature, seed=first + i),
                    SpeculationParams(enabled=False),
                    max_tokens=tokens,
                )
                for i, text in enumerate(texts[first : first + AT_ONCE])
            ]
            plain = []
            for request in requests:
                llm.scheduler.slots.clear()
                plain.append(_write(llm, [request])[0])
            for mode, speculation in MODES.items():
                drafted = [
                    dataclasses.replace(request, speculation=speculation, prediction=_faulty(answer.tokens))
                    for request, answer in zip(requests, plain, strict=True)
                ]
                for request, expected in zip(drafted, plain, strict=True):
                    llm.scheduler.slots.clear()
                    for how in ("fresh", "cached"):
                        _judge(llm, request, expected, _write(llm, [request])[0], f"{mode} {how}", tally)
                llm.scheduler.slots.clear()
                for request, expected, answer in zip(drafted, plain, _write(llm, drafted), strict=True):
                    _judge(llm, request, expected, answer, f"{mode} four at once", tally)
        yield tally


def _faulty(tokens: Sequence[int]) -> tuple[int, ...]:
    return tuple(tokens[0] if i % 6 == 5 else token for i, token in enumerate(tokens))


def _write(llm: LLM, requests: Sequence[Request]) -> list[ScheduledRequest]:
    answers = [llm.scheduler.submit(request) for request in requests]
    while llm.scheduler.busy:
        llm.scheduler.step()
    for answer in answers:
        if answer.error is not None:
            raise answer.error
    return answers


def _judge(
    llm: LLM, request: Request, plain: ScheduledRequest, answer: ScheduledRequest, how: str, tally: Tally
) -> None:
    tally.answers += 1
    tally.drafted += answer.stats.drafted
    tally.accepted += answer.stats.accepted
    if answer.tokens == plain.tokens:
        tally.same += 1
        return
    tally.parted_by[how] += 1
    difference = first_difference(llm, request, llm.generation(plain, []), llm.generation(answer, []))
    llm.scheduler.slots.clear()
    assert difference is not None
    if difference.near_tie:
        tally.near_ties += 1
    else:
        tally.defects.append(f"{how}: {difference}")


def load(
    main: Path, draft: Path | str | None, numerics: str, *, threads: int | None = None, isolation: str = "off"
) -> LLM:
    """The pair with four slots."""
    return LLM.load(
        main,
        draft,
        settings=LoadSettings(numerics=numerics, slots=AT_ONCE, context=4096, threads=threads, isolation=isolation),
        force=True,
    )


Ways = Callable[[LoadOptions], list[LoadOptions]]


def as_in_the_file(attentions: Ways) -> Ways:
    """The exact ways to attend with the weights left as they lie in the file."""

    def ways(options: LoadOptions) -> list[LoadOptions]:
        return [dataclasses.replace(way, repack=False) for way in attentions(options)]

    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("main", type=Path)
    parser.add_argument("draft", type=Path, nargs="?")
    parser.add_argument("--numerics", default="exact", choices=("exact", "fast", "auto"))
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--weights", choices=("repacked", "file"), default="repacked")
    parser.add_argument("--isolation", choices=("off", "on"), default="off", help="with --weights repacked")
    given = parser.parse_args()
    if given.weights == "file":
        exactness.attentions = as_in_the_file(exactness.attentions)
    shared = Path(__file__).parents[3] / "shared" / "data" / "prompts"
    llm = load(given.main, given.draft or "auto", given.numerics, threads=given.threads, isolation=given.isolation)
    print(llm.info.name, llm.numerics, llm.notes, flush=True)
    began, defects = time.time(), list[str]()
    for tally in compare(llm, prompts(given.prompts, shared), tokens=given.tokens):
        print(f"{time.time() - began:.0f} s: {tally}", flush=True)
        defects = tally.defects
    llm.close()
    for defect in defects:
        print(defect)
    raise SystemExit(bool(defects))


if __name__ == "__main__":
    main()
