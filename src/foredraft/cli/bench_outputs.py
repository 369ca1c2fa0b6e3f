"""Where the bench's figures go: the terminal, and files as JSON, Markdown and SVG."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from foredraft.core.errors import ForedraftError

if TYPE_CHECKING:
    from foredraft.bench.report import Report
    from foredraft.bench.tables import TextTable

Show = Callable[[float, str], None]
"""Told the share done and what is going on."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where the report goes, besides the terminal."""

    json: Path | None
    markdown: Path | None
    plots: Path | None

    def check(self) -> None:
        """Refuse what cannot be written before minutes are spent. Raises `ForedraftError`."""
        for file in (self.json, self.markdown):
            if file is not None:
                check_file(file)
        if self.plots is not None:
            try:
                self.plots.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=self.plots):
                    pass
            except OSError as error:
                raise ForedraftError(f"{self.plots} cannot be made or written to: {error.strerror}.") from error

    def write(self, report: Report) -> None:
        """Write all of it. Raises `ForedraftError` after the others are written, where one cannot be any more."""
        from foredraft.bench.plots import write_plots
        from foredraft.bench.tables import markdown

        figures = json.dumps(report.as_dict(), ensure_ascii=False, indent=1) + "\n"
        page = markdown(report, shlex.join(["foredraft", *sys.argv[1:]]))
        problems = []
        for file, text in ((self.json, figures), (self.markdown, page)):
            if file is not None:
                try:
                    file.write_text(text, encoding="utf-8")
                except OSError as error:
                    problems.append(f"{file} cannot be written: {error.strerror}.")
        if self.plots is not None:
            try:
                write_plots(report, self.plots)
            except OSError as error:
                problems.append(f"The plots cannot be written to {self.plots}: {error.strerror}.")
        if problems:
            raise ForedraftError(" ".join(problems))


def check_file(file: Path) -> None:
    """Raises `ForedraftError` unless the file can be written; leaves it as it is. Tried, because nothing else tells on
    every system."""
    if file.is_dir():
        raise ForedraftError(f"{file} is a folder; a file is needed.")
    if not file.parent.is_dir():
        raise ForedraftError(f"{file} cannot be written: there is no folder {file.parent}.")
    there = file.exists()
    try:
        with file.open("ab"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise ForedraftError(f"{file} cannot be written: {error.strerror}.") from error


@contextmanager
def progress_bar() -> Iterator[Show]:
    """A bar on stderr, told (share done, what is going on); nothing where stderr is not a terminal."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Measuring", total=1.0)
        yield lambda share, words: progress.update(task, completed=share, description=words)


def stdout() -> Console:
    """The terminal, or wide lines into a file."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 140)


def print_table(console: Console, table: TextTable) -> None:
    shown = Table(title=table.title, title_justify="left", title_style="bold")
    for i, name in enumerate(table.header):
        shown.add_column(name, justify="right" if i else "left")
    for row in table.rows:
        shown.add_row(*row)
    console.print()
    console.print(shown)
