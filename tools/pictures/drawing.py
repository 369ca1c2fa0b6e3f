"""Small drawings as SVG: rectangles, lines, words, and panels with two axes.

Each drawing has its own paper, so that it reads on a light page and on a dark one. Colours are those of Okabe & Ito,
which most people can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

PAPER, INK, MUTED, GRID = "#fcfbf8", "#1f2430", "#666c78", "#e3e0d8"
BLUE, GREEN, RED, ORANGE, PURPLE = "#0072B2", "#00795a", "#C2410C", "#B86E00", "#9C4A83"
PALE_BLUE, PALE_GREEN, PALE_RED, PALE = "#e3f0f8", "#e0f3ec", "#fbe9e1", "#f0eee8"
SANS = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Consolas, 'DejaVu Sans Mono', monospace"


class Drawing:
    """A sheet of paper, in pixels from its upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """`title` is what a screen reader says."""
        size = f'viewBox="0 0 {width} {height}"'
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{SANS}" font-size="13">',
            f"<title>{escape(title)}</title>",
            f'<rect x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="10" fill="{PAPER}" stroke="{GRID}"/>',
        ]

    def words(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: int = 13,
        colour: str = INK,
        anchor: str = "start",
        bold: bool = False,
        mono: bool = False,
    ) -> None:
        look = f' font-family="{MONO}"' if mono else ""
        look += ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{look}>'
            f"{escape(text)}</text>"
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: str = INK, *, width: float = 1.0, dash: str = ""
    ) -> None:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{style}/>'
        )

    def arrow(self, x1: float, y1: float, x2: float, y2: float, colour: str = MUTED) -> None:
        """Downwards."""
        self.line(x1, y1, x2, y2 - 5, colour, width=1.4)
        self._parts.append(f'<path d="M{x2 - 4:.1f} {y2 - 7:.1f}h8l-4 7z" fill="{colour}"/>')

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, stroke: str = "none", *, dash: str = ""
    ) -> None:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        self._parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="4" fill="{fill}" '
            f'stroke="{stroke}"{style}/>'
        )

    def token(self, x: float, y: float, text: str, fill: str, stroke: str, *, width: float, dash: str = "") -> None:
        """A token in its box; a space is shown as a low dot."""
        self.box(x, y, width, 28, fill, stroke, dash=dash)
        self.words(x + width / 2, y + 19, shown(text), anchor="middle", mono=True)

    def curve(self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 2.0, dash: str = "") -> None:
        style = f' stroke-dasharray="{dash}"' if dash else ""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._parts.append(
            f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-linejoin="round"{style}/>'
        )

    def dot(self, x: float, y: float, colour: str, radius: float = 3.0) -> None:
        self._parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>')

    def write(self, path: Path) -> None:
        path.write_text("\n".join([*self._parts, "</svg>"]) + "\n", encoding="utf-8")


class Panel:
    """Axes on a drawing: values to places."""

    def __init__(
        self,
        on: Drawing,
        place: tuple[float, float, float, float],
        x: tuple[float, float],
        y: tuple[float, float],
    ) -> None:
        """`place` is left, top, width and height of the area inside the axes."""
        self.on = on
        self.left, self.top, self.width, self.height = place
        self._x, self._y = x, y

    def x(self, value: float) -> float:
        low, high = self._x
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        """Values beyond the axis stay on its edge."""
        low, high = self._y
        return self.top + (high - min(max(value, low), high)) / (high - low) * self.height

    def grid(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        for value in ys:
            self.on.line(self.left, self.y(value), self.left + self.width, self.y(value), GRID)
            words = f"{value:g}".replace("-", "−")
            self.on.words(self.left - 7, self.y(value) + 4, words, size=12, colour=MUTED, anchor="end")
        for value in xs:
            self.on.words(
                self.x(value), self.top + self.height + 18, f"{value:,g}", size=12, colour=MUTED, anchor="middle"
            )

    def curve(self, points: Sequence[tuple[float, float]], colour: str, *, width: float = 2.0, dash: str = "") -> None:
        """Cut off where it leaves the axes for good."""
        low, high = self._y
        inside = [i for i, (_, value) in enumerate(points) if low <= value <= high]
        if inside:
            shown_points = points[: inside[-1] + 2]
            self.on.curve([(self.x(x), self.y(y)) for x, y in shown_points], colour, width=width, dash=dash)


def shown(text: str) -> str:
    """A token's text with its spaces and line ends made visible."""
    return text.replace(" ", "␣").replace("\n", "⏎")
