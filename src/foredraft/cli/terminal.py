"""What a person sees: progress while loading, the answer in colour, the statistics after it.

Answers go to stdout, everything else (thinking, too) to stderr, so that `foredraft run … > file` holds the text alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from foredraft.cli.tables import width_of
from foredraft.cli.words import t
from foredraft.core.params import MAX_DRAFT

if TYPE_CHECKING:
    from foredraft.core.stats import GenerationStats
    from foredraft.formats.token_parser import Placed
    from foredraft.pair.llm import LLM
    from foredraft.scheduling.request import Generation, SpeculationStatus
    from foredraft.words import Words

ACCEPTED = "\x1b[32;4m"  # green, underlined
CORRECTED = "\x1b[2;4m"  # dim, underlined
THOUGHT = "\x1b[2m"  # dim
RESET = "\x1b[0m"

CONTROL = {code: None for code in range(32) if code not in (9, 10)} | {0x7F: None, 0x9B: None}
"""Control characters never reach a terminal: a model's text must not move the cursor or change the title."""

_FLUSH_EVERY_S = 0.02


def errors() -> Console:
    """Where everything but the answer is written."""
    return Console(stderr=True, highlight=False, soft_wrap=True)  # lines are the terminal's to break, and no file's


def coloured(stream: TextIO) -> bool:
    """True on a terminal that understands colours, unless NO_COLOR is set."""
    dumb = os.environ.get("TERM", "") in ("dumb", "unknown")
    return stream.isatty() and not dumb and not os.environ.get("NO_COLOR") and not Console(file=stream).legacy_windows


class AnswerWriter:
    """Writes pieces to stdout as they come, in colour on a terminal, and thinking to stderr, dim. Flushed often enough
    to look live, not more."""

    def __init__(self) -> None:
        self._out = sys.stdout
        self._aside = sys.stderr
        self._dim = coloured(self._aside)
        self._thinking = False
        self._terminal = self._out.isatty()
        self._coloured = coloured(self._out)
        self._flushed = 0.0
        self.used: set[str] = set()
        """Origins written in colour, for the legend."""

    def write(self, placed: Placed) -> None:
        piece, text = placed.piece, placed.seen
        if not text:
            return
        if placed.thinking:
            self._think(text)
            return
        self._end_thinking()
        text = text.translate(CONTROL) if self._terminal else text
        style = {"accepted": ACCEPTED, "corrected": CORRECTED}.get(piece.origin) if self._coloured else None
        if style is not None:
            self.used.add(piece.origin)
            # Underlining ends at the line's end, or the terminal draws it to its right border.
            text = "\n".join(f"{style}{line}{RESET}" if line else line for line in text.split("\n"))
        self._out.write(text)
        now = time.monotonic()
        if now - self._flushed > _FLUSH_EVERY_S:
            self._out.flush()
            self._flushed = now

    def _think(self, text: str) -> None:
        text = text.translate(CONTROL) if self._aside.isatty() else text
        self._out.flush()  # both may be the same terminal
        self._aside.write(f"{THOUGHT}{text}{RESET}" if self._dim else text)
        self._aside.flush()
        self._thinking = True

    def _end_thinking(self) -> None:
        if self._thinking:
            self._aside.write("\n\n")
            self._aside.flush()
            self._thinking = False

    def end(self) -> None:
        self._end_thinking()
        self._out.write("\n")
        self._out.flush()

    def legend(self) -> str:
        """What the colours mean, for those that were used."""
        words = t()
        styles = {"accepted": ACCEPTED, "corrected": CORRECTED}
        shown = (f"{style}{words(f'cli.legend_{name}')}{RESET}" for name, style in styles.items() if name in self.used)
        return " · ".join(shown)


class LoadProgress:
    """A progress bar on stderr while models load and prompts are read; nothing where stderr is not a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __call__(self, what: str, share: float) -> None:
        if not self._console.is_terminal:
            return
        if self._bar is None:
            columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(t()(f"cli.loading_{what}"), total=1.0)
        self._bar.update(self._tasks[what], completed=share)

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()


def say_what_was_loaded(llm: LLM, *, template: bool) -> None:
    """Models, and what the load decided on its own. `template`: the chat template will be used."""
    console = errors()
    if console.is_terminal:
        draft = llm.draft_info.name if llm.draft_info is not None else t()("reason.none")
        said = t()("cli.loaded", model=llm.info.name, quantisation=llm.info.quantisation, draft=draft)
        console.print(said, style="dim", markup=False)
    notes = [*getattr(llm.engine, "notes", []), *llm.notes]
    if template and llm.template.note:
        notes.append(llm.template.note)
    words = t()
    for note in notes:
        console.print(words("cli.note", note=note), style="yellow", markup=False)


SHORTEST_S = 0.25
"""Seconds of writing from which on times say something: below, a scheduler's whim is larger than any gain."""


def one_line(generation: Generation, before: SpeculationStatus | None = None) -> str:
    """The line after an answer. Of a short one it tells passes and no times. `before`: the status that was told last,
    whose reason is not repeated."""
    stats, status = generation.stats, generation.speculation
    words = t()
    parts = [words("cli.passes", n=stats.tokens, passes=stats.rounds)]
    if stats.generation_s >= SHORTEST_S:
        speed = words("cli.speed", x=stats.tokens_per_second)
        parts = [speed, *parts, words("cli.first_token", s=stats.time_to_first_token_s)]
    if stats.drafted:
        parts.append(words("cli.accepted", a=stats.accepted, n=stats.accepted + stats.rejected))
    if status.status != "active":
        told = before is not None and before.status == status.status
        state = words(f"spec.status_{status.status}")
        parts.append(words("cli.speculation", status=state) if told else speculation_words(status).rstrip(".。"))
    gain = gain_words(stats)
    if gain and stats.generation_s >= SHORTEST_S:
        parts.append(gain)
    if generation.numerics is not None:
        parts.append(words(f"cli.numerics_{generation.numerics.mode}"))
    return " · ".join(parts)


def speculation_words(status: SpeculationStatus) -> str:
    """What the draft is doing, and why."""
    words = t()
    said = words("cli.speculation", status=words(f"spec.status_{status.status}"))
    return said if status.reason is None else words("cli.speculation_why", status=said, why=status.reason)


def gain_words(stats: GenerationStats) -> str:
    """What speculation brought in seconds, where that is certain and not next to nothing; else ""."""
    saved, error = stats.saved_s, stats.saved_error_s
    if saved is None or error is None or abs(saved) <= max(error, 0.005):
        return ""
    digits = 2 if abs(saved) >= 0.1 else 3
    error = max(error, 10**-digits)
    figures = {"s": f"{abs(saved):.{digits}f}", "error": f"{error:.{digits}f}"}
    return t()("cli.saved" if saved > 0 else "cli.lost", **figures)


def print_stats(generation: Generation) -> None:
    """The whole table of `--stats`, on stderr."""
    console, rows = errors(), list(_rows(generation, generation.stats))
    if not console.is_terminal:
        for name, value in rows:
            console.print(f"{name}{' ' * max(0, 13 - width_of(name))}  {value}", markup=False)
        return
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    for name, value in rows:
        table.add_row(name, value)
    console.print(table, soft_wrap=False)


def _rows(generation: Generation, stats: GenerationStats) -> Iterator[tuple[str, str]]:
    words = t()
    return ((words(f"cli.stats.{name}"), value) for name, value in _figures(generation, stats, words))


def _figures(generation: Generation, stats: GenerationStats, words: Words) -> Iterator[tuple[str, str]]:
    """Labels, as the catalogue has them, and values."""
    yield "stop_reason", generation.stop_reason
    yield "seed", str(generation.seed)
    read = {"n": stats.prompt_tokens, "cached": stats.cached_tokens, "s": stats.prefill_s}
    yield "prompt", words("cli.stats.prompt_read", **read)
    yield "answer", words("cli.stats.written", n=stats.tokens, s=stats.generation_s, x=stats.tokens_per_second)
    yield "first_token", words("cli.stats.seconds", s=stats.time_to_first_token_s)
    status = generation.speculation
    state = words(f"spec.status_{status.status}")
    why = words("cli.speculation_why", status=state, why=status.reason) if status.reason is not None else state
    yield "speculation", why
    yield "passes", words("cli.stats.a_pass", n=stats.rounds, x=stats.tokens_per_round)
    if stats.drafted:
        share = {"p": 100 * (stats.acceptance or 0.0), "accepted": stats.accepted, "rejected": stats.rejected}
        yield "drafted", words("cli.stats.judged", n=stats.drafted, ignored=stats.ignored, **share)
        shares = stats.acceptance_by_position[:MAX_DRAFT]
        yield "by_position", " ".join(words("cli.stats.share", x=share) for share in shares)
        depths = sorted(stats.depth_histogram.items())
        yield "look_ahead", ", ".join(f"{depth}: {count}×" for depth, count in depths)
        for name, of in sorted(stats.by_source.items()):
            yield "source", words("cli.stats.from_source", source=name, a=of.accepted, n=of.drafted, s=of.draft_s)
    yield "time", words("cli.stats.times", draft=stats.draft_s, verify=stats.verify_s, other=stats.other_s)
    if stats.saved_s is not None and stats.drafted:
        yield "against_plain", gain_words(stats) or words("cli.stats.no_difference")
    if generation.numerics is not None:
        yield "numerics", words(generation.numerics.described)


@contextlib.contextmanager
def closed_pipes_are_quiet() -> Iterator[None]:
    """A reader that went away ends the program quietly; nothing more is written at exit."""
    try:
        yield
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - outlives this function
        raise SystemExit(1) from None


def report(
    generation: Generation, writer: AnswerWriter, *, full: bool, before: SpeculationStatus | None = None
) -> None:
    """After an answer: the legend of the colours, and the statistics (one line on a terminal, or all of them).
    `before`: see `one_line`."""
    console = errors()
    legend = writer.legend()
    if legend:
        sys.stderr.write(f"{legend}\n")
    if full:
        print_stats(generation)
    elif console.is_terminal:
        console.print(one_line(generation, before), style="dim", markup=False)
