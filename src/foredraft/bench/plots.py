"""Three plots of a report, drawn as SVG: speed-up by category, v(n), acceptance by draft position.

Colours are those of Okabe & Ito, which most people can tell apart, and every line carries its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from foredraft.bench.modes import PLAIN
from foredraft.bench.report import Report

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000", "#F0E442")
_AUTO = "#D55E00"
"""The mode that users get keeps its colour, however many others stand beside it."""
_WIDTH, _HEIGHT = 860, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 160, 44, 56
_INK, _GRID = "#222", "#ddd"


class Canvas:
    """A plot's frame: values on the two axes to places on the page, grid, labels, legend."""

    def __init__(self, title: str, x_label: str, y_label: str, x: tuple[float, float], y: tuple[float, float]) -> None:
        self._x, self._y = x, y
        self._named = 0
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
            f"<title>{escape(title)}</title>",
            f'<g font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
            '<rect width="100%" height="100%" fill="#fff"/>',
        ]
        self.text(_LEFT, 24, title, size=15)
        self.text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 10, x_label, anchor="middle")
        self.text(_LEFT - 44, _TOP - 8, y_label)
        for value in _ticks(*y):
            at = self.y(value)
            self.line(_LEFT, at, _WIDTH - _RIGHT, at, _GRID)
            self.text(_LEFT - 8, at + 4, f"{value:g}", anchor="end")

    def x(self, value: float) -> float:
        low, high = self._x
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._y
        share = (min(max(value, low), high) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", size: int = 12) -> None:
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str, *, width: float = 1.0) -> None:
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'
        )

    def bar(self, x: float, width: float, value: float, colour: str) -> None:
        top = self.y(value)
        height = self.y(self._y[0]) - top
        self._parts.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def curve(self, points: Sequence[tuple[float, float]], colour: str, *, dashed: bool = False) -> None:
        places = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not dashed:
            self._parts += [
                f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points
            ]

    def tick(self, value: float, words: str) -> None:
        """A label under the x axis."""
        self.text(self.x(value), _HEIGHT - _BOTTOM + 18, words, anchor="middle")

    def name(self, words: str, colour: str) -> None:
        """A line of the legend."""
        y = _TOP + 18 * self._named
        self._named += 1
        self._parts.append(f'<rect x="{_WIDTH - _RIGHT + 14}" y="{y}" width="12" height="12" fill="{colour}"/>')
        self.text(_WIDTH - _RIGHT + 32, y + 10, words)

    def svg(self) -> str:
        return "\n".join([*self._parts, "</g>", "</svg>"]) + "\n"


def plots(report: Report) -> dict[str, str]:
    """File name to SVG, for everything that was measured."""
    found = {"costs.svg": _costs(report)}
    for temperature in report.trials.temperatures:
        name = f"{temperature:g}".replace(".", "_")
        if report.trials.categories:
            found[f"speedup-{name}.svg"] = _speedups(report, temperature)
        for mode in report.trials.modes:
            drawn = _acceptance(report, mode, temperature)
            if drawn:
                found[f"acceptance-{mode.replace(':', '-')}-{name}.svg"] = drawn
    return found


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write all plots; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, svg in plots(report).items():
        paths.append(folder / name)
        paths[-1].write_text(svg, encoding="utf-8")
    return paths


def _speedups(report: Report, temperature: float) -> str:
    results = [r for r in report.results if r.temperature == temperature]
    categories, modes = report.trials.categories, report.trials.modes
    top = max([1.2, *(r.speedup.high for r in results)]) * 1.05
    canvas = Canvas(
        f"Speed-up by category, temperature {temperature:g}", "category", "times plain", (0, len(categories)), (0, top)
    )
    wide = (canvas.x(1) - canvas.x(0)) * 0.8 / len(modes)
    others = [colour for colour in COLOURS if colour != _AUTO]
    for j, mode in enumerate(modes):
        colour = _AUTO if mode == "auto" else others[j % len(others)]
        canvas.name(mode, colour)
        for r in results:
            if r.mode == mode:
                left = canvas.x(categories.index(r.category) + 0.1) + j * wide
                canvas.bar(left, wide * 0.92, r.speedup.value, colour)
                middle = left + wide * 0.46
                canvas.line(middle, canvas.y(r.speedup.low), middle, canvas.y(r.speedup.high), _INK)
    canvas.line(_LEFT, canvas.y(1), _WIDTH - _RIGHT, canvas.y(1), _INK, width=1.5)
    canvas.name(PLAIN, _INK)
    for i, category in enumerate(categories):
        canvas.tick(i + 0.5, category)
    return canvas.svg()


def _costs(report: Report) -> str:
    v = report.costs.v
    most = max(v)
    canvas = Canvas(
        f"What a pass of n tokens costs: bound {report.costs.bound:.2f}",
        "n, tokens in one pass",
        "plain steps",
        (0, most),
        (0, max(*v.values(), 1.0) * 1.1),
    )
    canvas.curve(sorted(v.items()), COLOURS[0])
    canvas.name("v(n), measured", COLOURS[0])
    canvas.curve([(0, 0), (most, most)], COLOURS[5], dashed=True)
    canvas.name("n single steps", COLOURS[5])
    for n in v:
        canvas.tick(n, str(n))
    return canvas.svg()


def _acceptance(report: Report, mode: str, temperature: float) -> str:
    """Empty where the mode guessed nothing."""
    curves = {}
    for category in report.trials.categories:
        counts = report.trials.counts(category, mode, temperature)
        points = [
            (i + 1.0, a / t)
            for i, (a, t) in enumerate(zip(counts.accepted_at, counts.tested_at, strict=True))
            if t >= 5
        ]
        if points:
            curves[category] = points
    if not curves:
        return ""
    longest = int(max(points[-1][0] for points in curves.values()))
    canvas = Canvas(
        f"Acceptance by draft position: {mode}, temperature {temperature:g}",
        "position in the draft",
        "share of tested guesses",
        (0.5, longest + 0.5),
        (0, 1),
    )
    for j, (category, points) in enumerate(curves.items()):
        canvas.curve(points, COLOURS[j % len(COLOURS)])
        canvas.name(category, COLOURS[j % len(COLOURS)])
    for n in range(1, longest + 1):
        canvas.tick(n, str(n))
    return canvas.svg()


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round values."""
    span = high - low
    step = next(s for s in (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0, 100.0, 1e3, 1e6, 1e9) if span / s <= 9)
    return [round(low + i * step, 6) for i in range(int(span / step + 1e-9) + 1)]
