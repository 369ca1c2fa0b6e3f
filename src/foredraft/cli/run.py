"""`foredraft run PROMPT`: one answer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foredraft.cli import terminal
from foredraft.cli.loading import loaded, prompt_text
from foredraft.cli.options import GenerateOptions, generate_options, system_message
from foredraft.cli.remote import served
from foredraft.core.errors import ParameterError

if TYPE_CHECKING:
    from foredraft.cli.told import Told


@generate_options()
def run(
    prompt: Annotated[
        list[str] | None,
        typer.Argument(help="What to ask. - reads it from standard input; a pipe beside a prompt is put before it."),
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", "-f", help="Put a text file before the prompt (may be given again).")
    ] = None,
    *,
    asked: GenerateOptions,
) -> None:
    """Answer one prompt, with the running server's model where there is one. On a terminal accepted guesses are green
    and underlined. Thinking goes to stderr."""
    from foredraft.cli.told import ToldByServer, begin_here, say_what_is_left_out

    if not prompt and not file and sys.stdin.isatty():
        raise ParameterError("prompt", "", "what to ask, or - for standard input")
    text = prompt_text(prompt or (), file or ())
    say_what_is_left_out(asked)
    server = served(asked) if text else None
    if server is not None:
        with server.ready(), server.draft_left_alone(asked):
            if asked.raw:
                _write(ToldByServer(server.go_on(text, asked)), asked)
            else:
                turn = [*system_message(asked), {"role": "user", "content": text}]
                _write(ToldByServer(server.answer(turn, asked)), asked)
        return
    with loaded(asked) as (llm, progress):
        turn = [*system_message(asked), {"role": "user", "content": text}]
        told = begin_here(llm, text if asked.raw or not text else turn, asked, progress)
        _write(told, asked, progress.stop)


def _write(told: Told, asked: GenerateOptions, begun: Callable[[], None] = lambda: None) -> None:
    """Print an answer as it comes, and what it cost. `begun` is called when there is something to print."""
    from foredraft.cli.told import as_dict

    writer = terminal.AnswerWriter()
    interrupted = False
    try:
        for placed in told:
            begun()
            if not asked.as_json:
                writer.write(placed)
    except KeyboardInterrupt:
        interrupted = True
    generation = told.result
    if asked.as_json:
        print(json.dumps(as_dict(told, generation), ensure_ascii=False), flush=True)
    else:
        writer.end()
        terminal.report(generation, writer, full=asked.stats or interrupted)
    if interrupted:
        raise typer.Exit(130)
