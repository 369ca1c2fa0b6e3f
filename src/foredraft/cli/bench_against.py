"""`foredraft bench --against LLAMA_SERVER`: the same files, prompts and threads on both, in turns."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foredraft.cli.bench_outputs import print_table, progress_bar, stdout
from foredraft.core.errors import ForedraftError, ParameterError

if TYPE_CHECKING:
    from foredraft.bench.against import Comparison, Plan
    from foredraft.config.load_settings import LoadSettings
    from foredraft.pair.llm import LLM

_QUICK_RIVALS = ("plain", "draft:3")
_QUICK_TOKENS, _TOKENS = 32, 64
_QUICK_REPEATS, _REPEATS = 2, 3
_QUICK_PROMPTS, _PROMPTS = 1, 2


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line said; None is its default."""

    binary: str
    rivals: list[str] | None
    parts: list[str] | None
    modes: list[str] | None
    categories: list[str] | None
    prompts: int | None
    repeats: int | None
    max_tokens: int | None
    limit_s: float
    quick: bool
    clock: str
    force: bool


def run(
    wish: Wish, load: Callable[[], LLM], settings: LoadSettings, json_file: Path | None, markdown_file: Path | None
) -> int:
    """Do it, print it and write the files; the exit code: 0, or 130 after Ctrl-C. Raises `ForedraftError`; what was
    measured until then is printed and written all the same."""
    from foredraft.bench.against import Comparison
    from foredraft.bench.llama_server import LlamaServer
    from foredraft.bench.modes import PLAIN, parse

    plan = _plan(wish)
    names = dict.fromkeys([PLAIN, *(wish.modes or ["auto"])])
    found = Comparison(
        load,
        LlamaServer(wish.binary),
        plan,
        settings,
        clock=wish.clock,
        modes=[parse(name) for name in names],
        force=wish.force,
    )
    interrupted, failure = False, None
    with progress_bar() as show, _ended_by_sigterm():
        try:
            for step in found:
                show(step.share, step.what)
        except KeyboardInterrupt:
            interrupted = True
            found.notes.append("Interrupted: these are the figures until then.")
        except ForedraftError as error:
            if not found.rows:
                raise
            failure = error
            found.notes.append("It failed in the middle: these are the figures until then.")
    _print(found)
    _write(found, json_file, markdown_file)
    if failure is not None:
        raise failure
    return 130 if interrupted else 0


def _plan(wish: Wish) -> Plan:
    from foredraft.bench.against import CATEGORIES, PARTS, READING, WRITING, Plan
    from foredraft.bench.categories import prompts
    from foredraft.bench.llama_server import DEFAULT_SETTINGS, check_setting

    for part in wish.parts or ():
        if part not in PARTS:
            raise ParameterError("part", part, f"one of {', '.join(PARTS)}")
    rivals = wish.rivals or (_QUICK_RIVALS if wish.quick else DEFAULT_SETTINGS)
    quick = wish.quick
    return Plan(
        prompts(wish.categories or CATEGORIES, wish.prompts or (_QUICK_PROMPTS if quick else _PROMPTS)),
        tuple(check_setting(name) for name in dict.fromkeys(rivals)),
        writing=WRITING[:1] if quick else WRITING,
        reading=READING[:1] if quick else READING,
        max_tokens=wish.max_tokens or (_QUICK_TOKENS if quick else _TOKENS),
        repeats=wish.repeats or (_QUICK_REPEATS if quick else _REPEATS),
        limit_s=wish.limit_s,
        parts=tuple(dict.fromkeys(wish.parts or PARTS)),
    )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that the servers that it started end with it."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _headline(found: Comparison) -> list[str]:
    from foredraft.bench.machine import busy, in_words

    threads = "" if found.files is None else f"{found.files.threads} thread(s) each, "
    lines = [
        f"{found.model or 'nothing loaded'}, draft {found.draft or 'none'}",
        in_words(found.machine),
        f"Against {found.server.path} ({found.server.version})",
        f"{threads}greedy; speeds are counted in {'processor' if found.clock == 'cpu' else 'wall'} time.",
        *found.notes,
    ]
    warning = busy(found.machine) if found.clock == "wall" else ""
    return [*lines, warning] if warning else lines


def _print(found: Comparison) -> None:
    from foredraft.bench.rivalry import table

    console = stdout()
    for line in _headline(found):
        console.print(line, markup=False, soft_wrap=True)
    if found.rows:
        print_table(console, table(found.rows, found.clock))
    else:
        console.print("Nothing was measured.", style="yellow")


def _write(found: Comparison, json_file: Path | None, markdown_file: Path | None) -> None:
    from foredraft.bench.rivalry import table

    figures = json.dumps(found.as_dict(), ensure_ascii=False, indent=1) + "\n"
    head = ["# Bench", "", f"    {shlex.join(['foredraft', *sys.argv[1:]])}", ""]
    page = [*head, *(f"- {line}" for line in _headline(found)), "", table(found.rows, found.clock).markdown()]
    for file, text in ((json_file, figures), (markdown_file, "\n".join(page) + "\n")):
        if file is not None:
            try:
                file.write_text(text, encoding="utf-8")
            except OSError as error:
                raise ForedraftError(f"{file} cannot be written: {error.strerror}.") from error
