"""The measurements of a bench run, as they come, and the figures made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from foredraft.bench.categories import Prompt
from foredraft.bench.modes import PLAIN
from foredraft.bench.statistics import Interval, ratio
from foredraft.core.stats import GenerationStats


@dataclass(slots=True)
class Counts:
    """What the rounds of one mode brought, over all repeats."""

    tokens: int = 0
    rounds: int = 0
    accepted: int = 0
    rejected: int = 0
    tested_at: list[int] = field(default_factory=list)
    accepted_at: list[int] = field(default_factory=list)

    def add(self, stats: GenerationStats | Counts) -> None:
        self.tokens += stats.tokens
        self.rounds += stats.rounds
        self.accepted += stats.accepted
        self.rejected += stats.rejected
        for mine, theirs in ((self.tested_at, stats.tested_at), (self.accepted_at, stats.accepted_at)):
            mine += [0] * (len(theirs) - len(mine))
            for i, count in enumerate(theirs):
                mine[i] += count

    @property
    def acceptance(self) -> float | None:
        """accepted ÷ tested; None when nothing was tested."""
        tested = self.accepted + self.rejected
        return self.accepted / tested if tested else None

    @property
    def tokens_per_round(self) -> float:
        return self.tokens / self.rounds if self.rounds else 0.0


@dataclass(slots=True)
class Trial:
    """One prompt at one temperature, answered in every mode, several times over."""

    prompt: Prompt
    temperature: float
    tokens: int = 0
    """Of the plain answer: the weight of this prompt."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Seconds a token by mode, plain too; one entry a repeat, in the same order for all modes."""
    counts: dict[str, Counts] = field(default_factory=dict)

    def answer_s(self, mode: str) -> list[float]:
        """Seconds for as many tokens as the plain answer has, by repeat (the texts are the same, but for near-ties)."""
        return [s * self.tokens for s in self.seconds[mode]]


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the table: a category in one mode at one temperature, against plain decoding."""

    category: str
    mode: str
    temperature: float
    prompts: int
    plain_tps: float
    """Tokens a second; reading the prompt is not counted."""
    tps: float
    speedup: Interval
    acceptance: float | None
    """Accepted ÷ tested guesses; None when nothing was guessed."""
    tokens_per_round: float
    saved_s: float
    """Seconds that one answer to each of the prompts took less than plain (negative: more)."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "category": self.category,
            "mode": self.mode,
            "temperature": self.temperature,
            "prompts": self.prompts,
            "plain_tps": round(self.plain_tps, 3),
            "tps": round(self.tps, 3),
            "speedup": round(self.speedup.value, 4),
            "speedup_low": round(self.speedup.low, 4),
            "speedup_high": round(self.speedup.high, 4),
            "acceptance": None if self.acceptance is None else round(self.acceptance, 4),
            "tokens_per_round": round(self.tokens_per_round, 4),
            "saved_s": round(self.saved_s, 6),
        }


class Trials:
    """All trials of a run. A trial counts once it has one complete repeat."""

    def __init__(self, modes: Sequence[str], temperatures: Sequence[float]) -> None:
        self.modes = tuple(modes)
        self.temperatures = tuple(temperatures)
        self._trials: list[Trial] = []

    def add(self, trial: Trial) -> None:
        self._trials.append(trial)

    def of(self, category: str, temperature: float) -> list[Trial]:
        return [t for t in self.measured if t.prompt.category == category and t.temperature == temperature]

    @property
    def measured(self) -> list[Trial]:
        return [trial for trial in self._trials if trial.seconds]

    @property
    def categories(self) -> list[str]:
        """Those with something measured, in the order of measuring."""
        return list(dict.fromkeys(t.prompt.category for t in self.measured))

    def results(self) -> list[Result]:
        """Every line there is something to say about."""
        return [
            result
            for mode in self.modes
            for temperature in self.temperatures
            for category in self.categories
            if (result := self.result(category, mode, temperature)) is not None
        ]

    def result(self, category: str, mode: str, temperature: float) -> Result | None:
        """One line; None without a measurement."""
        trials = self.of(category, temperature)
        speedup = self.speedup(category, mode, temperature)
        if speedup is None:
            return None
        tokens = sum(t.tokens for t in trials)
        plain_s = sum(median(t.answer_s(PLAIN)) for t in trials)
        mode_s = sum(median(t.answer_s(mode)) for t in trials)
        counts = self.counts(category, mode, temperature)
        return Result(
            category,
            mode,
            temperature,
            prompts=len(trials),
            plain_tps=tokens / plain_s,
            tps=tokens / mode_s,
            speedup=speedup,
            acceptance=counts.acceptance,
            tokens_per_round=counts.tokens_per_round,
            saved_s=plain_s - mode_s,
        )

    def speedup(self, category: str, mode: str, temperature: float, against: str = PLAIN) -> Interval | None:
        """How much faster `mode` is than another mode, in one category; None without a measurement."""
        trials = self.of(category, temperature)
        if not trials:
            return None
        return ratio([t.answer_s(against) for t in trials], [t.answer_s(mode) for t in trials])

    def counts(self, category: str, mode: str, temperature: float) -> Counts:
        total = Counts()
        for trial in self.of(category, temperature):
            total.add(trial.counts[mode])
        return total
