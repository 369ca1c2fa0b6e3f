"""`foredraft bench`: what speculation is worth on this machine."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from typer import Option

from foredraft.cli import terminal
from foredraft.core.errors import ForedraftError, ParameterError

if TYPE_CHECKING:
    from foredraft.bench.categories import Prompt
    from foredraft.bench.modes import Mode
    from foredraft.bench.report import Report
    from foredraft.bench.tables import TextTable
    from foredraft.pair.llm import LLM

Show = Callable[[float, str], None]
"""Told the share done and what is going on."""

ITSELF = "self"
"""The main model as its own draft: it can gain nothing, and what it costs is what `auto` is held to."""
QUICK_S = 45.0
_MINUTES = 10.0
_QUICK_PROMPTS = 3
_QUICK_END_S = 3.0
"""Of the quick run's time, what is left for writing the report."""


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


def bench(
    model: Annotated[str | None, Option("--model", "-m", help="Main model. Default: the embedded one.")] = None,
    draft: Annotated[
        str,
        Option(
            "--draft",
            "-d",
            help="Draft model; auto takes the best that fits; off: none; self: the main model once more, so as slow "
            "as itself.",
        ),
    ] = "auto",
    inflate: Annotated[
        str | None, Option("--inflate", help="The same text at the cost of a model of 0.5b, 1b, 3b or 8b.")
    ] = None,
    mode: Annotated[
        list[str] | None, Option("--mode", help="off, fixed:γ, model, suffix, ngram or auto (may be given again).")
    ] = None,
    category: Annotated[
        list[str] | None, Option("--category", help="Only this kind of prompt (may be given again).")
    ] = None,
    temperature: Annotated[list[float] | None, Option("--temperature", "-t", help="Default: 0 and 0.8.")] = None,
    prompts: Annotated[int | None, Option("--prompts", help="Most prompts a category. Default: all.")] = None,
    repeats: Annotated[
        int | None, Option("--repeats", help="Answers a prompt. Default: 1 to 7, by the model's speed.")
    ] = None,
    max_tokens: Annotated[
        int | None, Option("--max-tokens", "-n", help="Most tokens of an answer. Default: 128; 64 with --against.")
    ] = None,
    minutes: Annotated[
        float | None,
        Option("--minutes", help="Stop after so long, with what there is. Default: 10; 45 s with --quick."),
    ] = None,
    quick: Annotated[bool, Option("--quick", help="A first look: three prompts a category, at most 45 s.")] = False,
    sweep: Annotated[bool, Option("--sweep", help="Find the best fixed look-ahead of each category too.")] = False,
    against: Annotated[
        str | None, Option("--against", help="A llama-server: the same files and prompts on both, in turns.")
    ] = None,
    rival: Annotated[
        list[str] | None,
        Option("--rival", help="With --against: plain, draft:N, ngram-simple or ngram-mod (may be given again)."),
    ] = None,
    part: Annotated[
        list[str] | None,
        Option("--part", help="With --against: plain, speculation or first-token alone (may be given again)."),
    ] = None,
    json_file: Annotated[Path | None, Option("--json", help="Write the figures as JSON.")] = None,
    markdown_file: Annotated[Path | None, Option("--markdown", help="Write the tables as Markdown.")] = None,
    plots: Annotated[Path | None, Option("--plots", help="Write SVG plots into this folder.")] = None,
    context: Annotated[int | None, Option("--context", "-c", help="Context in tokens.")] = None,
    threads: Annotated[int | None, Option("--threads", help="Threads of the main model.")] = None,
    draft_threads: Annotated[int | None, Option("--draft-threads", help="Threads of the draft model.")] = None,
    gpu_layers: Annotated[int, Option("--gpu-layers", help="Layers on the GPU; -1 is all.")] = -1,
    draft_device: Annotated[
        str, Option("--draft-device", help="Where the draft runs: cpu, gpu0 … Default: as the main model.")
    ] = "",
    kv_type: Annotated[str, Option("--kv-type", help="Number type of the KV cache.")] = "f16",
    flash_attention: Annotated[
        str, Option("--flash-attention", help="auto, on or off (attention as a matrix product).")
    ] = "auto",
    numerics: Annotated[str, Option("--numerics", help="auto, exact or fast.")] = "auto",
    clock: Annotated[
        str, Option("--clock", help="wall, or cpu: processor time, for busy machines; the models get one thread each.")
    ] = "wall",
    force: Annotated[bool, Option("--force", help="Take a draft whose vocabulary only looks different.")] = False,
) -> None:
    """Measure speculation against plain decoding, in turns, with intervals; the texts are compared on the way.

    Ctrl-C ends it with what has been measured.
    """
    began = time.perf_counter()
    _check_against(against, sweep=sweep, plots=plots, temperature=temperature, alone={"rival": rival, "part": part})
    tokens = 128 if max_tokens is None else max_tokens
    threads, draft_threads = _threads(clock, threads, draft_threads)
    from foredraft.config.load_settings import LoadSettings
    from foredraft.pair.llm import LLM

    settings = LoadSettings(
        context=context,
        threads=threads,
        draft_threads=draft_threads,
        gpu_layers=gpu_layers,
        draft_device=draft_device,
        kv_type=kv_type,
        flash_attention=flash_attention,
        numerics=numerics,
        controller="adaptive",
        remember=False,  # every run begins alike, and leaves nothing that it learned under these conditions
    )

    def load() -> LLM:
        main, guesses = _files(model, draft, inflate)
        with terminal.LoadProgress() as progress:
            return LLM.load(main, guesses, settings=settings, force=force, progress=progress)

    outputs = Outputs(json_file, markdown_file, plots)
    outputs.check()
    if against is not None:
        from foredraft.cli import bench_against

        _check_numbers((), repeats, tokens, minutes)
        wish = bench_against.Wish(
            binary=against,
            rivals=rival,
            parts=part,
            modes=mode,
            categories=category,
            prompts=prompts,
            repeats=repeats,
            max_tokens=max_tokens,
            limit_s=_limit_s(minutes, quick=quick),
            quick=quick,
            clock=clock,
            force=force,
        )
        raise typer.Exit(bench_against.run(wish, load, settings, json_file, markdown_file))
    temperatures = tuple(dict.fromkeys(temperature or (0.0, 0.8)))
    modes = _modes(mode, quick=quick, sweep=sweep)
    _check_numbers(temperatures, repeats, tokens, minutes)

    from foredraft.bench.categories import CATEGORIES
    from foredraft.bench.categories import prompts as read_prompts

    limit_s = _limit_s(minutes, quick=quick)
    chosen = read_prompts(category or CATEGORIES, prompts or (_QUICK_PROMPTS if quick else None))
    with load() as llm:
        report, interrupted = _measure(
            llm,
            chosen,
            modes,
            temperatures,
            repeats,
            tokens,
            limit_s=max(1.0, limit_s - _QUICK_END_S - (time.perf_counter() - began)) if quick else limit_s,
            clock=clock,
            quick=quick,
        )
    _print(report)
    outputs.write(report)
    if interrupted:
        raise typer.Exit(130)
    if any(not parted.difference.near_tie for parted in report.parted):
        raise typer.Exit(1)


def _measure(
    llm: LLM,
    chosen: dict[str, list[Prompt]],
    modes: tuple[Mode, ...],
    temperatures: tuple[float, ...],
    repeats: int | None,
    max_tokens: int,
    *,
    limit_s: float,
    clock: str,
    quick: bool,
) -> tuple[Report, bool]:
    """The report of a run, and whether Ctrl-C ended it."""
    from foredraft.bench.costs import measure_costs
    from foredraft.bench.machine import busy, machine
    from foredraft.bench.modes import CLOCKS, stage
    from foredraft.bench.report import Report
    from foredraft.bench.runner import Plan, Run

    began = time.perf_counter()
    notes = [*getattr(llm.engine, "notes", []), *llm.notes]
    if clock == "cpu":
        notes.append("Times are processor time, with one thread for each model.")
    elif warning := busy(machine()):
        notes.append(warning)
    with stage(llm, CLOCKS[clock]) as of:
        costs = measure_costs(llm, of.draft_model, seconds=3.0 if quick else 8.0, clock=of.clock)
        left = max(1.0, limit_s - (time.perf_counter() - began))
        plan = Plan(chosen, modes, temperatures, repeats, max_tokens, left)
        run = Run(of, plan, costs.plain_s)
        interrupted = False
        with progress_bar() as show:
            try:
                for step in run:
                    show(step.share, step.what)
            except KeyboardInterrupt:
                interrupted = True
                run.notes.append("Interrupted: these are the figures until then.")
    return Report.of(llm, costs, run, notes), interrupted


def _files(model: str | None, draft: str, inflate: str | None) -> tuple[Path | str | None, str | Path | None]:
    """Main model and draft to load; the main one inflated if asked for, and what `self` stands for."""
    if inflate is None and draft != ITSELF:
        return model, draft
    from foredraft.bench.inflated import inflated
    from foredraft.config.shelf import locate

    guesses: str | Path = draft
    if model is None:
        from foredraft import demo

        source = demo.main_path()
        if draft == "auto":
            guesses = demo.draft_path()
    else:
        source = locate(model)
    main = source
    if inflate is not None:
        main = inflated(source, inflate, lambda words: terminal.errors().print(words, style="dim", markup=False))
    return main, main if draft == ITSELF else guesses


def _modes(names: list[str] | None, *, quick: bool, sweep: bool) -> tuple[Mode, ...]:
    from foredraft.bench.modes import SWEEP, parse

    if not names:
        names = ["auto"] if quick else ["fixed:3", "auto"]
    if sweep:
        names = [*(f"fixed:{gamma}" for gamma in SWEEP), *(name for name in names if not name.startswith("fixed:"))]
    return tuple(parse(name) for name in dict.fromkeys(names))


def _threads(clock: str, threads: int | None, draft_threads: int | None) -> tuple[int | None, int | None]:
    """Threads of both models. Processor time of one thread says nothing about the work of several."""
    from foredraft.bench.modes import CLOCKS

    if clock not in CLOCKS:
        raise ParameterError("clock", clock, f"one of {', '.join(CLOCKS)}")
    if clock == "wall":
        return threads, draft_threads
    for name, value in (("threads", threads), ("draft_threads", draft_threads)):
        if value not in (None, 1):
            raise ParameterError(name, value, "1 with --clock cpu")
    return 1, 1


def _check_against(
    against: str | None,
    *,
    sweep: bool,
    plots: Path | None,
    temperature: list[float] | None,
    alone: dict[str, list[str] | None],
) -> None:
    """Refuse options that say nothing with, or without, --against. Raises `ParameterError`."""
    if against is None:
        for name, value in alone.items():
            if value:
                raise ParameterError(name, value, "left out, or given with --against")
        return
    for name, given, wrong in (
        ("sweep", sweep, sweep),
        ("plots", plots, plots is not None),
        ("temperature", temperature, bool(temperature) and any(temperature or ())),
    ):
        if wrong:
            raise ParameterError(name, given, "left out with --against")


def _limit_s(minutes: float | None, *, quick: bool) -> float:
    """Seconds that a run may take: as asked for, else 45 s for a quick one and 10 minutes for the others."""
    if minutes is not None:
        return 60.0 * minutes
    return QUICK_S if quick else 60.0 * _MINUTES


def _check_numbers(
    temperatures: tuple[float, ...], repeats: int | None, max_tokens: int, minutes: float | None
) -> None:
    from foredraft.core.params import SamplingParams

    for value in temperatures:
        SamplingParams(temperature=value)
    if repeats is not None and repeats < 1:
        raise ParameterError("repeats", repeats, "a whole number of at least 1")
    if max_tokens < 1:
        raise ParameterError("max_tokens", max_tokens, "a whole number of at least 1")
    if minutes is not None and not minutes > 0:
        raise ParameterError("minutes", minutes, "a number above 0")


@contextmanager
def progress_bar() -> Iterator[Show]:
    """A bar on stderr, told (share done, what is going on); nothing where stderr is not a terminal."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Measuring", total=1.0)
        yield lambda share, words: progress.update(task, completed=share, description=words)


def _print(report: Report) -> None:
    from foredraft.bench.tables import headline, tables

    console = stdout()
    for line in headline(report):
        console.print(line, markup=False, soft_wrap=True)
    for table in tables(report):
        print_table(console, table)
    if not report.results:
        console.print("Nothing was measured.", style="yellow")


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
