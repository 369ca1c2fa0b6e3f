"""Tables and sizes on the terminal. What one may want to copy is never cut or broken: what finds no room in a row
stands below it, with its column's name."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

from foredraft.cli.words import t

if TYPE_CHECKING:
    from rich.console import Console

NOTHING = ("", "–")
GAP = "  "
LEAST_PROSE = 24
"""Columns of the terminal below which a sentence is not squeezed into its column."""
_COUNTS = ((1e9, "cli.billions", 1), (1e6, "cli.millions", 1), (0.0, "cli.thousands", 0))


class Styled(str):
    """A cell whose row is in a style of Rich's."""

    __slots__ = ("style",)
    style: str

    def __new__(cls, text: str, style: str) -> Self:
        made = super().__new__(cls, text)
        made.style = style
        return made


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: frozenset[int] = frozenset(),
    prose: frozenset[int] = frozenset(),
) -> None:
    """Rows under column heads. `right` are the numbers of columns that are aligned at their right side, `prose` of
    those with sentences, which may go on in the next line. Plain columns of full width where a program reads."""
    clean = [[printable(cell) for cell in row] for row in rows]
    styles = [next((cell.style for cell in row if isinstance(cell, Styled)), "") for row in rows]
    if not sys.stdout.isatty():
        widths = _widths(columns, clean)
        for line in ([*columns], *clean):
            print(_row(line, range(len(columns)), widths, right).rstrip())
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    widths = _widths(columns, clean)
    shown, below = _placed(widths, prose, console.width)

    def put(line: str, style: str = "") -> None:
        console.print(Text(line.rstrip(), style=style), soft_wrap=True)

    put(_row(columns, shown, widths, right), "bold")
    put("─" * min(console.width, sum(widths[at] for at in shown) + len(GAP) * (len(shown) - 1)), "dim")
    for row, style in zip(clean, styles, strict=True):
        cells = [
            _lines(console, row[at], widths[at]) if at in prose and at in shown else [row[at]] for at in range(len(row))
        ]
        for number in range(max(len(cells[at]) for at in shown)):
            line = [cell[number] if number < len(cell) else "" for cell in cells]
            put(_row(line, shown, widths, right), style)
        for at in below:
            if row[at] not in NOTHING:
                put(f"{GAP * 2}{columns[at].lower()}: {row[at]}", style or "dim")


def _placed(widths: list[int], prose: frozenset[int], room: int) -> tuple[list[int], list[int]]:
    """Which columns stand in the row and which below it. The first one stays; the widest goes first. Sentences are
    narrowed (in `widths`) where that is enough."""
    shown = list(range(len(widths)))
    while True:
        over = sum(widths[at] for at in shown) + len(GAP) * (len(shown) - 1) - room
        if over <= 0 or len(shown) == 1:
            return shown, [at for at in range(len(widths)) if at not in shown]
        soft = next((at for at in shown if at in prose and widths[at] - over >= LEAST_PROSE), None)
        if soft is not None:
            widths[soft] -= over
            continue
        shown.remove(max(shown[1:], key=lambda at: widths[at]))


def _lines(console: Console, text: str, width: int) -> list[str]:
    """A sentence, broken between words where there are any."""
    from rich.text import Text

    return [line.plain.rstrip() for line in Text(text).wrap(console, width)] or [""]


def printable(text: str) -> str:
    """Text of files and servers for a terminal: without control characters, which could move its cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)


def size_words(size: int) -> str:
    """Bytes for people: "4.7 GB", "5.6 MB"."""
    return t()("cli.size", size=size)


def count_words(count: int) -> str:
    """Parameters for people: "7.6 B", "5.1 M"."""
    if not count:
        return "–"
    scale, key, digits = next(row for row in _COUNTS if count >= row[0])
    return t()(key, n=round(count / (scale or 1e3), digits))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(width_of(line[at]) for line in (columns, *rows)) for at in range(len(columns))]


def _row(line: Sequence[str], shown: Sequence[int], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = []
    for at in shown:
        space = " " * (widths[at] - width_of(line[at]))
        cells.append(space + line[at] if at in right else line[at] + space)
    return GAP.join(cells)


def width_of(text: str) -> int:
    """Columns a text takes: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)
