"""The tables of a report: rows of text, printed on the terminal or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.bench import machine
from foredraft.bench.modes import PLAIN
from foredraft.bench.report import BEST_FIXED, Report
from foredraft.bench.statistics import Interval, mean
from foredraft.bench.trials import Result

AUTO, THREE = "auto", "fixed:3"
PLAIN_BAR, BEST_FIXED_BAR, THREE_BAR = 0.98, 0.97, 1.10
"""What `auto` is held to: against plain and against the best fixed look-ahead in every category, fixed:3 on average."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """A table of ready-made texts; the first column is left-aligned, all others right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        line = "| " + " | ".join(self.header) + " |"
        rule = "|---|" + "---:|" * (len(self.header) - 1)
        return "\n".join([f"## {self.title}", "", line, rule, *("| " + " | ".join(row) + " |" for row in self.rows)])


def tables(report: Report) -> list[TextTable]:
    """All tables of a report, the most important one first."""
    found = [_speeds(report, temperature) for temperature in report.trials.temperatures]
    found += [table for t in report.trials.temperatures if (table := _sweep(report, t)) is not None]
    found += [table for table in (_bars(report),) if table is not None]
    found.append(_costs(report))
    return [table for table in found if table.rows]


def headline(report: Report) -> list[str]:
    """What to know before reading the tables."""
    costs = report.costs
    c = "" if costs.draft is None else f", a draft step {costs.draft:.2g} of that"
    return [
        f"{report.model}, draft {report.draft or 'none'}",
        machine.in_words(report.machine),
        f"A plain step takes {costs.plain_s * 1e3:.2f} ms{c}.",
        f"No speculation can be faster here than {costs.bound:.2f} times plain (max n/v(n)).",
        report.text_check(),
        *report.notes,
    ]


def markdown(report: Report, command: str) -> str:
    """The report as a Markdown page, with the command that made it."""
    parts = ["# Bench", "", f"    {command}", "", *(f"- {line}" for line in headline(report))]
    for table in tables(report):
        parts += ["", table.markdown()]
    return "\n".join(parts) + "\n"


def _speeds(report: Report, temperature: float) -> TextTable:
    rows: list[Sequence[str]] = []
    for mode in report.trials.modes:
        rows += [_line(r) for r in report.results if r.mode == mode and r.temperature == temperature]
        overall = report.overall(mode, temperature)
        if overall is not None:
            rows.append(("mean", mode, "", "", "", str(overall), "", "", ""))
    title = f"Times plain, temperature {temperature:g} (with 95 % interval)"
    header = (
        "category",
        "mode",
        "prompts",
        "plain tok/s",
        "tok/s",
        "speed-up",
        "accepted",
        "tokens a round",
        "saved s",
    )
    return TextTable(title, header, rows)


def _line(r: Result) -> Sequence[str]:
    return (
        r.category,
        r.mode,
        str(r.prompts),
        f"{r.plain_tps:,.1f}",
        f"{r.tps:,.1f}",
        str(r.speedup),
        "–" if r.acceptance is None else f"{r.acceptance:.2f}",
        f"{r.tokens_per_round:.2f}",
        f"{r.saved_s:+.3f}",
    )


def _sweep(report: Report, temperature: float) -> TextTable | None:
    """The best fixed look-ahead of each category beside `auto`; None when there is nothing to compare."""
    trials = report.trials
    if AUTO not in trials.modes or sum(mode.startswith("fixed:") for mode in trials.modes) < 2:
        return None
    auto = report.by_category(AUTO, temperature)
    over_best = report.by_category(AUTO, temperature, BEST_FIXED)
    over_three = report.by_category(AUTO, temperature, THREE)
    rows: list[Sequence[str]] = []
    of_best = []
    for category, over in over_best.items():
        best = report.best_fixed(category, temperature)
        fixed = trials.speedup(category, best, temperature) if best is not None else None
        if best is None or fixed is None:
            continue
        of_best.append(fixed)
        rows.append((category, best, str(fixed), str(auto[category]), str(over), str(over_three.get(category, "–"))))
    if rows:
        means = [mean(list(found)) for found in (of_best, auto.values(), over_best.values()) if found]
        three = str(mean(list(over_three.values()))) if over_three else "–"
        rows.append(("mean", "", *map(str, means), three))
    title = f"auto against the best fixed look-ahead, temperature {temperature:g} (with 95 % interval)"
    header = ("category", "best fixed", "its speed-up", "auto's", "auto over best", f"auto over {THREE}")
    return TextTable(title, header, rows)


def _bars(report: Report) -> TextTable | None:
    """`auto` against what it is held to; None where it was not measured."""
    if AUTO not in report.trials.modes:
        return None
    rows: list[Sequence[str]] = []

    def line(words: str, temperature: float, found: Interval, bar: float) -> None:
        rows.append((f"{words}, temperature {temperature:g}", str(found), f"≥ {bar:.2f}", verdict(found, bar)))

    for temperature in report.trials.temperatures:
        for against, bar in ((PLAIN, PLAIN_BAR), (BEST_FIXED, BEST_FIXED_BAR)):
            found = report.by_category(AUTO, temperature, against)
            if against == BEST_FIXED and sum(mode.startswith("fixed:") for mode in report.trials.modes) < 2:
                continue
            if found:
                least = min(found, key=lambda category: found[category].value)
                line(f"times {against}, least of all categories ({least})", temperature, found[least], bar)
        over_three = report.overall(AUTO, temperature, THREE)
        if over_three is not None:
            line(f"times {THREE}, mean of the categories", temperature, over_three, THREE_BAR)
    return TextTable("auto against its bars", ("auto", "measured", "bar", ""), rows)


def verdict(found: Interval, bar: float) -> str:
    """Whether a bar is met. The measurement cannot tell where the interval lies on both sides of it, or has no width
    because it rests on a single answer."""
    word = "met" if found.value >= bar else "missed"
    tells = found.low < found.high and (found.low >= bar or found.high < bar)
    return word if tells else f"{word}, not certain"


def _costs(report: Report) -> TextTable:
    """v(n) and what it allows."""
    rows = [(str(n), f"{v:.2f}", f"{n / v:.2f}") for n, v in report.costs.v.items()]
    return TextTable("A pass of n tokens, in plain steps", ("n", "v(n)", "n/v(n)"), rows)
