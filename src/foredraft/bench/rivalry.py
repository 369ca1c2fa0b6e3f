"""What two programs took for the same requests, and the figures made of it.

Every ratio is of speeds, ours ÷ theirs: above 1 we are faster. It is the median of the repeats, with the smallest and
the largest.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.bench.modes import PLAIN
from foredraft.bench.tables import TextTable

WRITING_BAR, READING_BAR, SPECULATION_BAR = 0.98, 0.97, 1.0
BEST = "best"
"""Stands for the fastest of the other program's settings, category by category."""
TOKENS, FIRST = "tok/s", "ms"
"""What a row counts: tokens a second, or milliseconds to the first one."""
_SIDES = ("ours", "theirs")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one request took on both clocks, and the tokens that came."""

    wall_s: float
    cpu_s: float
    tokens: tuple[int, ...] = ()

    def __add__(self, more: Taken) -> Taken:
        """Both, one after the other."""
        return Taken(self.wall_s + more.wall_s, self.cpu_s + more.cpu_s, (*self.tokens, *more.tokens))


@dataclass(frozen=True, slots=True)
class Pair:
    """The same request on both sides, side by side."""

    what: str
    mode: str
    """Ours."""
    setting: str
    """Theirs."""
    repeat: int
    prompt: int
    """Its number within `what`."""
    ours: Taken
    theirs: Taken
    reads: int = 0
    """Tokens read, where that is what counts; 0 where tokens were written."""
    unit: str = TOKENS


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of the repeats, the smallest and the largest."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Sequence[float]) -> Spread:
        return cls(statistics.median(found), min(found), max(found))

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"

    def as_dict(self) -> dict[str, float]:
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: a mode of ours against a setting of theirs."""

    what: str
    mode: str
    setting: str
    ours: float
    theirs: float
    unit: str
    wall: Spread
    """Our speed ÷ theirs."""
    cpu: Spread | None
    """The same in processor time; None where more than one thread ran."""
    same: int
    compared: int
    """Texts that are token for token the same, of those compared."""
    bar: float | None

    def ratio(self, clock: str) -> Spread:
        return self.cpu if clock == "cpu" and self.cpu is not None else self.wall

    def verdict(self, clock: str) -> str:
        """The bar and whether it is met; empty where there is none."""
        if self.bar is None:
            return ""
        found = self.ratio(clock)
        word = "met" if found.value >= self.bar else "MISSED"
        # the repeats lie on both sides of the bar, or there was only one
        certain = found.low < found.high and (found.low >= self.bar or found.high < self.bar)
        return f"≥ {self.bar:.2f} {word}{'' if certain else ', not certain'}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "ours": self.mode,
            "theirs": self.setting,
            "unit": self.unit,
            "ours_value": round(self.ours, 3),
            "theirs_value": round(self.theirs, 3),
            "wall": self.wall.as_dict(),
            "cpu": None if self.cpu is None else self.cpu.as_dict(),
            "same_texts": self.same,
            "compared_texts": self.compared,
            "bar": self.bar,
        }


def rows(pairs: Sequence[Pair], *, clock: str, cpu: bool) -> list[Row]:
    """The figures, in the order of measuring; after each category the best setting of theirs once more.

    `clock` (wall or cpu) is what speeds are counted in and what chooses the best; `cpu`: processor time counts, too.
    """
    grouped: dict[tuple[str, str, str], list[Pair]] = {}
    for pair in pairs:
        grouped.setdefault((pair.what, pair.mode, pair.setting), []).append(pair)
    found = [_row(group, clock, cpu) for group in grouped.values()]
    made = []
    for what in dict.fromkeys(row.what for row in found):
        of_this = [row for row in found if row.what == what]
        made += of_this
        for mode in dict.fromkeys(row.mode for row in of_this if row.mode != PLAIN):
            best = _best([row for row in of_this if row.mode == mode], clock)
            made += [best] if best is not None else []
    return made


def table(found: Sequence[Row], clock: str) -> TextTable:
    """For the terminal and for Markdown."""
    header = (
        "",
        "ours",
        "theirs",
        "ours: speed",
        "theirs: speed",
        "times, wall",
        "times, processor",
        "bar",
        "same texts",
    )
    lines = [
        (
            row.what,
            row.mode,
            row.setting,
            f"{row.ours:,.1f} {row.unit}",
            f"{row.theirs:,.1f} {row.unit}",
            str(row.wall),
            "–" if row.cpu is None else str(row.cpu),
            row.verdict(clock),
            f"{row.same} of {row.compared}" if row.compared else "–",
        )
        for row in found
    ]
    return TextTable("Our speed ÷ llama-server's (median of the repeats, smallest and largest)", header, lines)


def _row(pairs: Sequence[Pair], clock: str, cpu: bool) -> Row:
    first = pairs[0]
    repeats: dict[int, list[Pair]] = {}
    for pair in pairs:
        repeats.setdefault(pair.repeat, []).append(pair)
    by_repeat = list(repeats.values())
    seconds = "cpu_s" if clock == "cpu" and cpu else "wall_s"
    ours, theirs = (statistics.median(_speed(group, side, seconds) for group in by_repeat) for side in _SIDES)
    texts = {pair.prompt: pair.ours.tokens == pair.theirs.tokens for pair in pairs if pair.ours.tokens}
    bar = None
    if first.unit == TOKENS and first.mode == first.setting == PLAIN:
        bar = READING_BAR if first.reads else WRITING_BAR
    return Row(
        first.what,
        first.mode,
        first.setting,
        1e3 / ours if first.unit == FIRST else ours,
        1e3 / theirs if first.unit == FIRST else theirs,
        first.unit,
        Spread.of([_ratio(group, "wall_s") for group in by_repeat]),
        Spread.of([_ratio(group, "cpu_s") for group in by_repeat]) if cpu else None,
        sum(texts.values()),
        len(texts),
        bar,
    )


def _best(found: Sequence[Row], clock: str) -> Row | None:
    """Against the setting of theirs that does best here; None where there is nothing to choose from."""
    if len(found) < 2:
        return None
    least = min(found, key=lambda row: row.ratio(clock).value)
    return dataclasses.replace(least, setting=f"{BEST}: {least.setting}", bar=SPECULATION_BAR)


def _count(pair: Pair, side: str) -> int:
    """What the seconds of one side brought."""
    taken: Taken = getattr(pair, side)
    return pair.reads or max(1, len(taken.tokens))


def _seconds(pair: Pair, side: str, clock: str) -> float:
    return max(float(getattr(getattr(pair, side), clock)), 1e-9)


def _speed(pairs: Sequence[Pair], side: str, clock: str) -> float:
    return sum(_count(pair, side) for pair in pairs) / sum(_seconds(pair, side, clock) for pair in pairs)


def _ratio(pairs: Sequence[Pair], clock: str) -> float:
    """Over the prompts of one repeat: their seconds for as many tokens as our answers have, ÷ ours."""
    ours = sum(_seconds(pair, "ours", clock) for pair in pairs)
    theirs = sum(_seconds(pair, "theirs", clock) / _count(pair, "theirs") * _count(pair, "ours") for pair in pairs)
    return theirs / ours
