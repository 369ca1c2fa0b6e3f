"""Load a pair for a command, with its progress on the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foredraft.cli import terminal
from foredraft.cli.options import Asked
from foredraft.cli.streams import standard_input

if TYPE_CHECKING:
    from foredraft.llm import LLM


@contextlib.contextmanager
def loaded(asked: Asked, *, draft_required: bool = False) -> Iterator[tuple[LLM, terminal.LoadProgress]]:
    """The loaded pair and the progress display. What was chosen and left off is said on stderr (with --json it is in
    the object instead). Inside, a closed pipe ends the program quietly."""
    from foredraft.llm import LLM

    with terminal.closed_pipes_are_quiet(), terminal.LoadProgress() as progress:
        llm = LLM.load(
            asked.model,
            asked.draft,
            settings=asked.settings(),
            draft_required=asked.draft_required or draft_required,
            force=asked.force,
            progress=progress,
        )
        progress.stop()
        with llm:
            if not asked.as_json:
                terminal.say_what_was_loaded(llm, template=not asked.raw)
            yield llm, progress


def prompt_text(argument: str) -> str:
    """The prompt itself, or standard input for "-"."""
    return standard_input() if argument == "-" else argument
