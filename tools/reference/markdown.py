"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or an empty text where there are no rows."""
    lines = [_row(cells) for cells in rows]
    return "\n".join([_row(header), "|" + "---|" * len(header), *lines, ""]) if lines else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def code(value: object) -> str:
    """As code, also where it holds a backtick; an empty text stays one."""
    said = str(value)
    fence = "``" if "`" in said else "`"
    return f"{fence}{said}{fence}" if said else ""
