"""`foredraft run PROMPT`: one answer."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foredraft.cli import terminal
from foredraft.cli.loading import loaded, prompt_text
from foredraft.cli.options import Asked, asks


@asks()
def run(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")], asked: Asked
) -> None:
    """Answer one prompt. On a terminal accepted guesses are green and underlined."""
    text = prompt_text(prompt)
    with loaded(asked) as (llm, progress):
        if not asked.raw and text:
            system = [{"role": "system", "content": asked.system}] if asked.system else []
            text = llm.render([*system, {"role": "user", "content": text}])
        stream = llm.stream(asked.request(llm, text), progress=progress)
        writer = terminal.AnswerWriter()
        interrupted = False
        try:
            for piece in stream:
                progress.stop()
                if not asked.as_json:
                    writer.write(piece)
        except KeyboardInterrupt:
            interrupted = True
        generation = stream.result
        if asked.as_json:
            print(json.dumps(generation.as_dict(), ensure_ascii=False), flush=True)
        else:
            writer.end()
            terminal.report(generation, writer, full=asked.stats or interrupted)
        if interrupted:
            raise typer.Exit(130)
