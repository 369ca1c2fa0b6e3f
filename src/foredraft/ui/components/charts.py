"""Small charts as SVG, each with its numbers in a table behind it. No library: bars, one line, one stack."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nicegui import ui

from foredraft.ui.components.elements import Tag, table

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 130, 34, 18, 10


def bars(title: str, labels: Sequence[str], shares: Sequence[float], *, show: str, head: tuple[str, str]) -> None:
    """Shares of 1 as columns."""
    plot = HEIGHT - BOTTOM - TOP
    step = (WIDTH - LEFT) / max(1, len(shares))
    parts = [_grid([(0.0, "0%"), (0.5, "50%"), (1.0, "100%")])]
    for number, share in enumerate(shares):
        height, width = plot * min(1.0, share), min(36.0, step * 0.65)
        x = LEFT + step * (number + 0.5)
        parts.append(
            f'<rect class="bar" x="{x - width / 2:.1f}" y="{TOP + plot - height:.1f}" width="{width:.1f}"'
            f' height="{height:.1f}" rx="2"/>'
            f'<text x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(labels[number])}</text>'
        )
    _figure(title, parts, show, head, [(label, f"{share:.0%}") for label, share in zip(labels, shares, strict=True)])


def rows(
    title: str, labels: Sequence[str], shares: Sequence[float | None], *, show: str, head: tuple[str, str]
) -> None:
    """Shares of 1 as lying bars, for labels that are words; None is a share of nothing."""
    left, right, step = 78, 34, 15
    parts = []
    for number, share in enumerate(shares):
        y = step * number
        width = (WIDTH - left - right) * min(1.0, share or 0.0)
        parts.append(
            f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{escape(labels[number])}</text>'
            f'<rect class="bar" x="{left}" y="{y + 2}" width="{width:.1f}" height="{step - 5}" rx="2"/>'
            f'<text x="{left + width + 5:.1f}" y="{y + 11}">{_percent(share)}</text>'
        )
    table_rows = [(label, _percent(share)) for label, share in zip(labels, shares, strict=True)]
    _figure(title, parts, show, head, table_rows, height=step * max(1, len(shares)))


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def line(
    title: str, points: Sequence[tuple[float, float]], *, show: str, head: tuple[str, str], unit: str = "s"
) -> None:
    """Values over time."""
    plot = HEIGHT - BOTTOM - TOP
    longest, highest = max(x for x, _ in points) or 1.0, max(y for _, y in points) or 1.0
    places = [(LEFT + (WIDTH - LEFT - 8) * x / longest, TOP + plot * (1 - y / highest)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    floor = TOP + plot
    parts = [
        _grid([(0.0, "0"), (0.5, f"{highest / 2:.3g}"), (1.0, f"{highest:.3g}")]),
        f'<polygon class="area" points="{places[0][0]:.1f},{floor} {path} {places[-1][0]:.1f},{floor}"/>',
        f'<polyline class="path" points="{path}"/>',
        f'<text x="{LEFT}" y="{HEIGHT - 4}">0</text>',
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">{longest:.3g} {escape(unit)}</text>',
    ]
    _figure(title, parts, show, head, [(f"{x:.2f}", f"{y:.3g}") for x, y in points])


def stack(title: str, parts_of: Sequence[tuple[str, float]], *, show: str, head: tuple[str, str]) -> None:
    """Shares of a whole in one bar, with words below."""
    whole = sum(value for _, value in parts_of) or 1.0
    x, parts = 0.0, []
    for (_, value), name in zip(parts_of, ("alt", "bar", "rest"), strict=False):
        width = WIDTH * value / whole
        parts.append(f'<rect class="{name}" x="{x:.1f}" y="0" width="{max(0.0, width - 1):.1f}" height="14"/>')
        x += width
    rows = [(label, f"{value:.2f} s · {value / whole:.0%}") for label, value in parts_of]
    _figure(title, parts, show, head, rows, height=14, opened=True)


def _grid(lines: Sequence[tuple[float, str]]) -> str:
    plot = HEIGHT - BOTTOM - TOP
    return "".join(
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{LEFT - 4}" y="{y + 3:.1f}" text-anchor="end">{escape(text)}</text>'
        for y, text in ((TOP + plot * (1 - at), text) for at, text in lines)
    )


def _figure(
    title: str,
    parts: Sequence[str],
    show: str,
    head: tuple[str, str],
    rows: Sequence[tuple[str, str]],
    *,
    height: int = HEIGHT,
    opened: bool = False,
) -> None:
    with Tag("figure", "").classes("fd-chart"):
        Tag("figcaption", title)
        svg = "".join(parts)
        # Only numbers and escaped words of our own are in it.
        ui.html(f'<svg viewBox="0 0 {WIDTH} {height}" aria-hidden="true">{svg}</svg>', sanitize=False)
        with Tag("details", "", open=opened):
            Tag("summary", show)
            table(head, rows, caption=title)
