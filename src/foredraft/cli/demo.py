"""`foredraft demo`: what a draft brings, to be watched: one answer without it and one with it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli import terminal
from foredraft.cli.models import Json
from foredraft.cli.words import t
from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason, as_reason, sentences

if TYPE_CHECKING:
    from foredraft.core.params import Request
    from foredraft.engines.llamacpp import LoadOptions
    from foredraft.pair.llm import LLM
    from foredraft.scheduling.request import Generation
    from foredraft.words import Words

GUESSES = 8
"""Guesses in every round: fixed, so that nothing has to be measured before the first word."""
MOST_TOKENS = 64
"""Of an answer: seconds at the pace of a 1B model, not minutes."""
CONTEXT = 1024
BUSY = 0.8
"""Of the processor time that its threads wanted, a program on a quiet machine gets more than this share."""


@dataclass(frozen=True, slots=True)
class Watched:
    """An answer that was shown. `share` is how much of the processor time that its threads wanted they got."""

    generation: Generation
    share: float

    @property
    def busy(self) -> bool:
        return self.share < BUSY


def demo(
    question: Annotated[
        list[str] | None, typer.Argument(help="What to ask. Default: a formula, which is easy to guess.")
    ] = None,
    own_pace: Annotated[
        bool, typer.Option("--own-pace", help="Do not slow the model down: no file is made, and times say nothing.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Watch what a draft does: the same answer without it and with it, on a tiny model that comes along."""
    words = t()
    asked = " ".join(question or ()) or words("cli.demo.question")
    with terminal.closed_pipes_are_quiet(), _pair(words, own_pace=own_pace) as llm:
        try:
            plain, drafted = _both(llm, asked, words, quiet=json_output, timed=not own_pace)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    timed = not own_pace and not plain.busy and not drafted.busy
    if json_output:
        print(json.dumps(_as_dict(asked, plain, drafted, timed=timed, own_pace=own_pace), ensure_ascii=False))
    else:
        _conclude(words, plain, drafted, timed=timed, own_pace=own_pace)


def _pair(words: Words, *, own_pace: bool) -> LLM:
    """The embedded pair on the processor, its main model slowed down unless it keeps its own pace."""
    from foredraft import demo as embedded
    from foredraft.bench.inflated import BYTES, inflated
    from foredraft.config.load_settings import LoadSettings
    from foredraft.pair.llm import LLM

    say = terminal.errors()
    say.print(words("cli.demo.own" if own_pace else "cli.demo.slowed"), markup=False)
    main = embedded.main_path()

    def making(_: str) -> None:
        from foredraft.config.folders import cache_folder

        told = words("cli.demo.making", size=BYTES["1b"], folder=str(cache_folder() / "inflated"))
        say.print(told, style="dim", markup=False)

    settings = LoadSettings(
        controller="fixed", fixed_look_ahead=GUESSES, context=CONTEXT, gpu_layers=0, probe=False, remember=False
    )
    try:
        if not own_pace:
            main = inflated(main, "1b", making)
        return LLM.load(main, embedded.draft_path(), settings=settings, draft_required=True)
    except ForedraftError as error:
        if not own_pace:  # room on the disk or in memory is what it can lack
            before = error.hint_why or (as_reason(error.hint) if error.hint else None)
            error.hint_why = sentences(before, Reason("hint_own_pace"))
            error.hint = str(error.hint_why)
        raise


def _both(llm: LLM, asked: str, words: Words, *, quiet: bool, timed: bool) -> tuple[Watched, Watched]:
    """The answer without the draft and with it. The question, and the weights, are read before the clock runs."""
    from dataclasses import replace

    from foredraft.core.params import SpeculationParams

    request = llm.request(llm.render(asked), temperature=0.0, seed=0, max_tokens=MOST_TOKENS)
    plain = replace(request, speculation=SpeculationParams(max_draft=0))
    llm.generate(replace(plain, max_tokens=1))
    if not quiet:
        terminal.errors().print(f"\n> {asked}", style="bold", markup=False)
    return (
        _watch(llm, plain, words, words("cli.demo.plain"), quiet=quiet, timed=timed),
        _watch(llm, request, words, words("cli.demo.drafted", n=GUESSES), quiet=quiet, timed=timed),
    )


def _watch(llm: LLM, request: Request, words: Words, title: str, *, quiet: bool, timed: bool) -> Watched:
    """Write one answer as it comes."""
    from foredraft.formats.token_parser import Placed

    said = terminal.errors()
    if not quiet:
        said.print(f"\n{title}", style="dim", markup=False)
    writer = terminal.AnswerWriter()
    stream = llm.stream(request)
    wall, used = time.perf_counter(), time.process_time()
    for piece in stream:
        if not quiet:
            writer.write(Placed(piece, piece.text, thinking=False))
    wall, used = time.perf_counter() - wall, time.process_time() - used
    generation = stream.result
    if not quiet:
        writer.end()
        legend = writer.legend()
        stats = generation.stats
        line = words("cli.passes", n=stats.tokens, passes=stats.rounds)
        if timed:
            line += words("cli.demo.took", s=stats.generation_s)
        said.print(line, style="dim", markup=False)
        if legend:
            said.file.write(f"{legend}\n")
    return Watched(generation, used / wall / _threads(llm) if wall > 0 else 1.0)


def _threads(llm: LLM) -> int:
    """Of the main model, which takes nearly all of the time."""
    from foredraft.engines.processor import cores

    options: LoadOptions = llm.engine.options  # type: ignore[attr-defined]
    return options.n_threads or cores()


def _parted_at(plain: Generation, drafted: Generation) -> int | None:
    """The first token that differs, counted from 1."""
    pairs = zip(plain.tokens, drafted.tokens, strict=False)
    differs = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    if differs is None and len(plain.tokens) != len(drafted.tokens):
        differs = min(len(plain.tokens), len(drafted.tokens))
    return None if differs is None else differs + 1


def _ratio(plain: Watched, drafted: Watched) -> float:
    """Tokens a second with the draft against without."""
    return drafted.generation.stats.tokens_per_second / plain.generation.stats.tokens_per_second


def _conclude(words: Words, plain: Watched, drafted: Watched, *, timed: bool, own_pace: bool) -> None:
    at = _parted_at(plain.generation, drafted.generation)
    said = words(
        "cli.demo.same" if at is None else "cli.demo.parted",
        passes=drafted.generation.stats.rounds,
        plain=plain.generation.stats.rounds,
        at=at,
    )
    said += (
        words("cli.demo.ratio", x=_ratio(plain, drafted))
        if timed
        else words("cli.demo.untimed" if own_pace else "cli.demo.busy")
    )
    console = terminal.errors()
    console.print(f"\n{said}", style="bold", markup=False)
    console.print(words("cli.demo.next"), style="dim", markup=False)


def _as_dict(asked: str, plain: Watched, drafted: Watched, *, timed: bool, own_pace: bool) -> dict[str, Any]:
    """The object of `--json`. `speedup` is null where the times say nothing."""
    return {
        "question": asked,
        "pace": "own" if own_pace else "1b",
        "same_text": _parted_at(plain.generation, drafted.generation) is None,
        "busy": plain.busy or drafted.busy,
        "speedup": round(_ratio(plain, drafted), 3) if timed else None,
        "plain": plain.generation.as_dict(),
        "drafted": drafted.generation.as_dict(),
    }
