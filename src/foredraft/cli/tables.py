"""Tables and sizes on the terminal: drawn with Rich where a person looks, plain columns where a program reads."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence

Cell = str
NUMBER = "right"


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: frozenset[int] = frozenset(), title: str = ""
) -> None:
    """Rows under column heads. `right` are the numbers of columns that are aligned at their right side."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _print_plain(columns, clean, right)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", title=title or None, title_justify="left", pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place in right else "left", no_wrap=place == 0, overflow="fold")
    for row in clean:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    Console(no_color=bool(os.environ.get("NO_COLOR"))).print(table)


def printable(text: str) -> str:
    """Text of files and servers for a terminal: without control characters, which could move its cursor."""
    return "".join(character if character.isprintable() else "�" for character in text)


def size_words(size: int) -> str:
    """Bytes for people: "4.7 GB", "5.6 MB"."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def count_words(count: int) -> str:
    """Parameters for people: "7.6 B", "5.1 M"."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} B"
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k" if count else "–"


def _print_plain(columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: frozenset[int]) -> None:
    lines = [list(columns), *rows]
    widths = [max(_width(line[place]) for line in lines) for place in range(len(columns))]
    for line in lines:
        cells = []
        for place, cell in enumerate(line):
            space = " " * (widths[place] - _width(cell))
            cells.append(space + cell if place in right else cell + space)
        print("  ".join(cells).rstrip())


def _width(text: str) -> int:
    """Columns a text takes: Japanese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _style(cell: str) -> str:
    if cell.startswith(("Recommended", "おすすめ")):
        return "green"
    if cell.startswith(("Not usable", "使用不可")):
        return "dim"
    return ""
