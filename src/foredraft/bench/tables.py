"""The tables of a report: rows of text, printed on the terminal or written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.bench import machine
from foredraft.bench.report import Report
from foredraft.bench.trials import Result


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
    if "auto" not in trials.modes or sum(mode.startswith("fixed:") for mode in trials.modes) < 2:
        return None
    rows = []
    for category in trials.categories:
        best = report.best_fixed(category, temperature)
        if best is None:
            continue
        fixed = trials.speedup(category, best, temperature)
        auto = trials.speedup(category, "auto", temperature)
        against = trials.speedup(category, "auto", temperature, best)
        rows.append((category, best, str(fixed), str(auto), str(against)))
    over = report.overall("auto", temperature, "fixed:3") if "fixed:3" in trials.modes else None
    if over is not None:
        rows.append(("mean, auto over fixed:3", "", "", "", str(over)))
    title = f"auto against the best fixed look-ahead, temperature {temperature:g}"
    return TextTable(title, ("category", "best fixed", "its speed-up", "auto's", "auto over best"), rows)


def _costs(report: Report) -> TextTable:
    """v(n) and what it allows."""
    rows = [(str(n), f"{v:.2f}", f"{n / v:.2f}") for n, v in report.costs.v.items()]
    return TextTable("A pass of n tokens, in plain steps", ("n", "v(n)", "n/v(n)"), rows)
