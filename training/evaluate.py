"""What the pair can do, by prompts that training never saw.

    python -m training.evaluate --main main.gguf --draft draft.gguf --out evaluation.json

Everything is asked through llama.cpp with the files as they ship. Prompts use wordings and
combinations that the corpus generator keeps apart (``corpus.source``). Answers are compared with
the reference exactly, unless a measure says otherwise: code is run, JSON is parsed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions

from . import corpus, tokenizer
from .answers import Answer, Writer
from .corpus import Document, Language, Source, Turn, arithmetic, stories
from .corpus.source import held_combination

SEED = 20
LIMIT = 300
"""An answer that has not ended after so many tokens does not end by itself."""
COUNTS = {
    "sums": 600,
    "facts": 300,
    "calendar": 120,
    "code": 120,
    "structure": 300,
    "copying": 400,
    "talk": 240,
    "language": 160,
    "follow-up": 160,
    "system": 160,
    "stories": 60,
    "long chat": 60,
}
_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]{2,}")


@dataclass(slots=True)
class Asked:
    """A prompt with the main model's greedy answer."""

    builder: str
    document: Document
    answer: Answer
    text: str

    @property
    def right(self) -> bool:
        if not self.answer.ended:
            return False
        if self.document.check is not None and self.document.check[0] == "python":
            return runs(self.text, self.document.check[1])
        if self.document.check is not None and self.document.check[0] == "json":
            return same_json(self.text, self.document.check[1])
        return self.text.strip() == self.document.answer.strip()


def runs(text: str, check: str) -> bool:
    """Whether the code block of an answer passes its check, in a process of its own."""
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    if block is None:
        return False
    program = f"{block.group(1)}\nassert {check}\n"
    try:
        done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def same_json(text: str, wanted: str) -> bool:
    try:
        return bool(json.loads(text) == json.loads(wanted))
    except ValueError:
        return False


def prompt_text(document: Document) -> str:
    return tokenizer.render(document.turns[:-1], answer=True)


def decode(writer: Writer, tokens: Sequence[int]) -> str:
    return b"".join(writer.tokenizer.piece(t) for t in tokens).decode("utf-8", "replace")


def ask_all(writer: Writer, counts: dict[str, int]) -> list[Asked]:
    """Greedy answers to held-out prompts of every builder."""
    todo = [(name, d) for name, count in counts.items() for d in corpus.prompts(SEED, name, count)]
    prompts = [writer.tokenizer.encode(prompt_text(d)) for _, d in todo]
    answers = writer.answers(prompts, LIMIT)
    return [Asked(name, d, a, decode(writer, a.tokens)) for (name, d), a in zip(todo, answers, strict=True)]


def numbers_alone(writer: Writer, count: int) -> dict[str, dict[str, float]]:
    """Held-out pairs of numbers in wordings of the training: tells arithmetic from understanding.

    No bar is measured by it.
    """
    out = {}
    tasks = (("sums", arithmetic.SUM, "+", arithmetic.sum_steps),
             ("differences", arithmetic.DIFFERENCE, "-", arithmetic.difference_steps))  # fmt: skip
    for name, wordings, sign, steps in tasks:
        rng = random.Random(SEED)
        asked: list[tuple[str, str]] = []
        while len(asked) < count:
            a, b = rng.randrange(100), rng.randrange(100)
            if held_combination(sign, a, b) and (sign == "+" or a >= b):
                asked.append((Source(rng, rng.choice(("en", "ja"))).say(wordings, a=a, b=b), steps(a, b)))
        prompts = [writer.tokenizer.encode(tokenizer.render([Turn("user", q)], answer=True)) for q, _ in asked]
        answers = writer.answers(prompts, LIMIT)
        out[name] = share(decode(writer, x.tokens) == wanted for x, (_, wanted) in zip(answers, asked, strict=True))
    return out


def share(values: Iterable[bool]) -> dict[str, float]:
    """Share of true values, with their number and the half width of a 95 % interval (Wald)."""
    v = list(values)
    if not v:
        return {"share": float("nan"), "n": 0, "plus_minus": float("nan")}
    p = sum(v) / len(v)
    return {"share": round(p, 4), "n": len(v), "plus_minus": round(1.96 * (p * (1 - p) / len(v)) ** 0.5, 4)}


def language_right(asked: Asked) -> bool | None:
    """Whether the answer is in the language it should be in; None where the answer has none."""
    wanted = asked.document.answer
    if asked.builder in ("copying", "language") or asked.document.kind in ("json", "list", "table", "spell", "repeat"):
        return None
    if asked.document.language == "ja":
        return bool(_JAPANESE.search(asked.text)) if _JAPANESE.search(wanted) else None
    if _JAPANESE.search(wanted) or not _LATIN.search(wanted):
        return None
    return not _JAPANESE.search(asked.text)


# --- the draft against the main model -----------------------------------------------------------


class Pair:
    """Both models on one text: rows of logits for the answer's tokens."""

    def __init__(self, main: Path, draft: Path, threads: int) -> None:
        options = LoadOptions(n_ctx=1024, n_batch=1024, max_rows=512, n_threads=threads, probe=False)
        self.main, self.draft = LlamaCppEngine(main, options), LlamaCppEngine(draft, options)

    def rows(self, answer: Answer) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]:
        """(n, V) of main and draft at the n answer tokens (its end included where it ended), and these."""
        end = [self.main.tokenizer.eos] if answer.ended else []
        tokens = [*answer.tokens, *(t for t in end if t is not None)]
        text = [*answer.prompt, *tokens]
        out = []
        for engine in (self.main, self.draft):
            engine.rewind(0, 0)
            out.append(engine.forward([Chunk(0, 0, text[:-1], len(tokens))])[0].copy())
        return out[0], out[1], tokens

    def close(self) -> None:
        self.main.close()
        self.draft.close()


def agreement(pair: Pair, asked: Sequence[Asked]) -> dict[str, dict[str, float]]:
    """Share of the main model's greedy tokens that the draft's most likely token equals."""
    hits: dict[str, list[bool]] = defaultdict(list)
    groups = {"sums": "discrete", "facts": "discrete", "calendar": "discrete"}
    for a in asked:
        if not a.answer.tokens or len(a.answer.prompt) + len(a.answer.tokens) > 500:
            continue
        p, q, _ = pair.rows(a.answer)
        same = (p.argmax(1) == q.argmax(1)).tolist()
        hits[a.builder] += same
        if a.builder in groups:
            hits[groups[a.builder]] += same
        if a.builder == "facts" and a.document.kind == "formula":
            hits["formula"] += same
    return {name: share(v) for name, v in sorted(hits.items())}


def law(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    x = logits.astype(np.float64) / temperature
    x = np.exp(x - x.max(1, keepdims=True))
    return np.asarray(x / x.sum(1, keepdims=True))


def acceptance(pair: Pair, answers: Sequence[Answer], temperature: float, seed: int = 0) -> dict[str, float]:
    """Expected acceptance at this temperature on texts that the main model sampled.

    ``argmax``: the draft proposes its most likely token, kept with probability p of it.
    ``coupled``: both draw with the same Gumbel noise and must agree (mean of 8 draws a token).
    ``rejection``: the draft samples, Σ min(p, q).
    """
    rng = np.random.default_rng(seed)
    top, coupled, overlap, entropy = [], [], [], []
    for answer in answers:
        if not answer.tokens:
            continue
        a, b, _ = pair.rows(answer)
        p, q = law(a, temperature), law(b, temperature)
        top += p[np.arange(len(p)), b.argmax(1)].tolist()
        overlap += np.minimum(p, q).sum(1).tolist()
        entropy += (-(p * np.log(p + 1e-30)).sum(1)).tolist()
        for _ in range(8):
            noise = -np.log(rng.exponential(size=a.shape))
            same = (a / temperature + noise).argmax(1) == (b / temperature + noise).argmax(1)
            coupled += same.tolist()
    return {
        "argmax": round(statistics.fmean(top), 4),
        "coupled": round(statistics.fmean(coupled), 4),
        "rejection": round(statistics.fmean(overlap), 4),
        "entropy_nats": round(statistics.fmean(entropy), 4),
        "tokens": len(top),
    }


def sampled_stories(writer: Writer, language: Language, count: int, temperature: float) -> list[Answer]:
    """Answers to the example prompt, sampled."""
    text = (
        "Write a story that begins: 'The door creaked open...'"
        if language == "en"
        else "『ドアがギシギシと開いた…』で始まる物語を書いてください。"
    )
    prompt = writer.tokenizer.encode(tokenizer.render([Turn("user", text)], answer=True))
    return writer.answers([prompt] * count, LIMIT, temperature, seed=SEED)


def distinct_openings(writer: Writer, answers: Sequence[Answer], language: Language) -> int:
    """Different continuations (8 tokens) after the given opening."""
    opening = len(writer.tokenizer.encode(f"{stories.EXAMPLE_OPENING[language]}", add_special=False))
    return len({tuple(a.tokens[opening : opening + 9]) for a in answers})


def speed(main: Path, draft: Path, threads: int) -> dict[str, Any]:
    """Time of one token (ms, median), and of n tokens in one pass as a ratio, in turns."""
    out: dict[str, Any] = {"threads_main": threads, "threads_draft": 1}
    engines = {
        "main": LlamaCppEngine(main, LoadOptions(n_ctx=512, n_threads=threads, probe=False)),
        "draft": LlamaCppEngine(draft, LoadOptions(n_ctx=512, n_threads=1, probe=False)),
    }
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for engine in engines.values():
        engine.forward([Chunk(0, 0, list(range(10, 138)), 1)])
    for _ in range(60):
        for name, n in [("main", n) for n in (1, 2, 3, 4, 5, 6, 8)] + [("draft", 1)]:
            for repeat in range(3):  # the first pass of three warms the caches
                begun = time.perf_counter()
                engines[name].forward([Chunk(0, 128, list(range(200, 200 + n)), n)])
                if repeat:
                    times[name, n].append(time.perf_counter() - begun)
                engines[name].rewind(0, 128)
    one = statistics.median(times["main", 1])
    out["main_ms"] = round(1000 * one, 3)
    out["draft_ms"] = round(1000 * statistics.median(times["draft", 1]), 3)
    out["c"] = round(out["draft_ms"] / out["main_ms"], 3)
    out["v"] = {n: round(statistics.median(times["main", n]) / one, 2) for n in (2, 3, 4, 5, 6, 8)}
    for engine in engines.values():
        engine.close()
    return out


# --- all together --------------------------------------------------------------------------------


def evaluate(
    main: Path, draft: Path, *, threads: int = 2, scale: float = 1.0, say: Callable[[str], None] = print
) -> dict[str, Any]:
    """All measures; ``scale`` below 1 asks fewer prompts (for a quick look)."""
    counts = {name: max(8, int(n * scale)) for name, n in COUNTS.items()}
    writer = Writer(main, slots=32, threads=threads, context=768)
    say("greedy answers")
    asked = ask_all(writer, counts)
    with ThreadPoolExecutor(2) as pool:
        right = list(pool.map(lambda a: a.right, asked))
    exact: dict[str, list[bool]] = defaultdict(list)
    by_wording: dict[str, list[bool]] = defaultdict(list)
    for a, ok in zip(asked, right, strict=True):
        if not a.document.free:
            exact[f"{a.builder}: {a.document.kind.split()[0]}"].append(ok)
            by_wording[a.builder].append(ok)
    alone = numbers_alone(writer, max(8, int(300 * scale)))
    say("sampled answers")
    rng = random.Random(SEED)
    some = rng.sample(asked, min(len(asked), int(300 * scale) + 10))
    warm = writer.answers([a.answer.prompt for a in some], LIMIT, 0.8, seed=SEED)
    languages = [ok for a in asked if (ok := language_right(a)) is not None]
    both: tuple[Language, ...] = ("en", "ja")
    told = {language: sampled_stories(writer, language, 50, 0.9) for language in both}
    openings = {language: distinct_openings(writer, told[language], language) for language in told}
    formulas = [a for a in asked if a.builder == "facts" and a.document.kind == "formula"]
    formula_answers = writer.answers([a.answer.prompt for a in formulas], LIMIT, 0.9, seed=SEED)
    example = {language: decode(writer, told[language][0].tokens) for language in told}
    writer.close()
    say("draft")
    pair = Pair(main, draft, threads)
    result: dict[str, Any] = {
        "exact": {name: share(v) for name, v in sorted(exact.items())},
        "by_builder": {name: share(v) for name, v in sorted(by_wording.items())},
        "held numbers in known wordings": alone,
        "ends": {"greedy": share(a.answer.ended for a in asked), "t0.8": share(a.ended for a in warm)},
        "language": share(languages),
        "openings_of_50": openings,
        "agreement": agreement(pair, asked),
        "acceptance_t0.9": {
            **{f"stories {language}": acceptance(pair, told[language][:25], 0.9) for language in told},
            "formulas": acceptance(pair, formula_answers, 0.9),
        },
        "example_stories": example,
    }
    pair.close()
    say("speed")
    result["speed"] = speed(main, draft, threads)
    result["sizes"] = {"main_bytes": main.stat().st_size, "draft_bytes": draft.stat().st_size}
    result["wrong"] = [
        {
            "kind": f"{a.builder}: {a.document.kind}",
            "asked": a.document.turns[-2].text,
            "wanted": a.document.answer,
            "said": a.text,
        }
        for a, ok in zip(asked, right, strict=True)
        if not ok and not a.document.free
    ][:400]
    return result


@dataclass(frozen=True, slots=True)
class Bar:
    """One line of the table: what is measured, what is wanted, what was reached."""

    measure: str
    bar: str
    value: float
    met: bool | None
    n: int | None = None


def bars(result: dict[str, Any]) -> list[Bar]:
    """The bars of the project, in the order of its table."""
    exact, ends = result["exact"], result["ends"]

    def line(measure: str, key: str, least: float | None, where: dict[str, Any] = exact) -> Bar:
        value = where.get(key, {"share": float("nan"), "n": 0})
        met = None if least is None else bool(value["share"] >= least)
        return Bar(
            measure, "reported" if least is None else f"≥ {100 * least:.0f} %", value["share"], met, int(value["n"])
        )

    taken = result["acceptance_t0.9"]
    formula = taken["formulas"]["coupled"]
    out = [
        line("sums, exact", "sums: sum", 0.95),
        line("one-digit products, exact", "sums: product", 0.95),
        line("differences, exact", "sums: difference", 0.85),
        line("facts and formulas, unseen wordings, exact", "facts", 0.95, result["by_builder"]),
        line("generated code parses and passes its check", "code: write", 0.95),
        line("JSON parses and holds the right values", "structure: json", 0.97),
        line("lists, exact", "structure: list", 0.85),
        line("tables, exact", "structure: table", 0.85),
        line("copying: repeat", "copying: repeat", 0.90),
        line("copying: rename", "copying: rename", 0.90),
        line("copying: replace a word", "copying: replace", 0.75),
        line("sorting (3-4 items)", "copying: sort", None),
        line("follow-up questions", "follow-up", None, result["by_builder"]),
        line("system prompts", "system", None, result["by_builder"]),
        line("translation of simple sentences", "language: translate", None),
        line("summary of a short text", "language: summary", None),
        line("calendar, units, spelling", "calendar", None, result["by_builder"]),
        line("ends by itself within 300 tokens, greedy", "greedy", 0.99, ends),
        line("ends by itself, T = 0.8", "t0.8", 0.99, ends),
        Bar(
            "Japanese in Japanese, English in English",
            "≥ 99 %",
            result["language"]["share"],
            result["language"]["share"] >= 0.99,
            int(result["language"]["n"]),
        ),
    ]
    for language, name in (("en", "English"), ("ja", "Japanese")):
        found = result["openings_of_50"][language]
        out.append(Bar(f"stories at T = 0.9, distinct openings of 50, {name}", "≥ 45", found, found >= 45))
    out += [
        line(f"draft's greedy agreement, {group}", group, 0.88, result["agreement"])
        for group in ("discrete", "code", "structure")
    ]
    for language, name in (("en", "English"), ("ja", "Japanese")):
        story = taken[f"stories {language}"]
        out.append(
            Bar(
                f"stories at T = 0.9, draft's most likely token accepted, {name}",
                "≤ 0.70",
                story["argmax"],
                story["argmax"] <= 0.70,
            )
        )
        out.append(
            Bar(
                f"the same with coupled sampling, {name} (formulas: {formula:.2f})",
                "≥ 0.05 below",
                story["coupled"],
                story["coupled"] <= formula - 0.05,
            )
        )
    return out


def table(result: dict[str, Any]) -> str:
    """The bars as a Markdown table."""
    return "\n".join(["| measure | bar | reached | prompts | |", "|---|---|---|---|---|", *map(_line, bars(result))])


def _line(bar: Bar) -> str:
    counted = "distinct" in bar.measure
    percent = bar.bar.endswith("%") or bar.bar == "reported"
    value = f"{bar.value:.0f}" if counted else f"{100 * bar.value:.1f} %" if percent else f"{bar.value:.2f}"
    mark = "" if bar.met is None else "yes" if bar.met else "**no**"
    return f"| {bar.measure} | {bar.bar} | {value} | {bar.n or ''} | {mark} |"


def main() -> None:
    from foredraft import demo

    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__.split("\n")[0])
    parser.add_argument("--main", type=Path, default=None, help="the embedded one when left out")
    parser.add_argument("--draft", type=Path, default=None)
    parser.add_argument("--out", type=Path, default=Path("evaluation.json"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    a = parser.parse_args()
    result = evaluate(a.main or demo.main_path(), a.draft or demo.draft_path(), threads=a.threads, scale=a.scale)
    a.out.parent.mkdir(parents=True, exist_ok=True)
    a.out.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
