"""`foredraft bench`: what speculation is worth on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from foredraft.cli import terminal
from foredraft.cli.bench_outputs import Outputs, print_table, progress_bar, stdout
from foredraft.core.errors import ParameterError

if TYPE_CHECKING:
    from foredraft.bench.categories import Prompt
    from foredraft.bench.modes import Mode
    from foredraft.bench.report import Report
    from foredraft.pair.llm import LLM

ITSELF = "self"
"""The main model as its own draft: it can gain nothing, and what it costs is what `auto` is held to."""
QUICK_S = 45.0
_MINUTES = 10.0
_QUICK_PROMPTS = 3
_QUICK_END_S = 3.0
"""Of the quick run's time, what is left for writing the report."""


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
    notes = [*map(str, [*getattr(llm.engine, "notes", []), *llm.notes])]
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


def _print(report: Report) -> None:
    from foredraft.bench.tables import headline, tables

    console = stdout()
    for line in headline(report):
        console.print(line, markup=False, soft_wrap=True)
    for table in tables(report):
        print_table(console, table)
    if not report.results:
        console.print("Nothing was measured.", style="yellow")
