"""Load a pair for a command, with its progress on the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foredraft.chats.attachments import LARGEST, Attachment, AttachmentError, read, with_attachments
from foredraft.cli import terminal
from foredraft.cli.options import GenerateOptions
from foredraft.cli.streams import is_piped, standard_input
from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from foredraft.pair.llm import LLM


@contextlib.contextmanager
def loaded(asked: GenerateOptions, *, draft_required: bool = False) -> Iterator[tuple[LLM, terminal.LoadProgress]]:
    """The loaded pair and the progress display. What was chosen and left off is said on stderr (with --json it is in
    the object instead). Inside, a closed pipe ends the program quietly."""
    from foredraft.pair.llm import LLM

    with terminal.closed_pipes_are_quiet(), terminal.LoadProgress() as progress:
        llm = LLM.load(
            asked.model,
            asked.draft,
            settings=asked.settings(),
            draft_required=asked.draft_required or draft_required,
            force=asked.force,
            progress=progress,
            download=False,
        )
        progress.stop()
        with llm:
            if not asked.as_json:
                terminal.say_what_was_loaded(llm, template=not asked.raw)
            yield llm, progress


def prompt_text(words: Sequence[str], files: Sequence[Path] = ()) -> str:
    """What to ask: the words, the files before them, and what comes through a pipe between the two. "-", or nothing at
    all, is standard input alone. Raises `ForedraftError` for a file that holds no text."""
    asked = " ".join(words)
    if asked == "-" or (not asked and not sys.stdin.isatty()):
        asked = standard_input()
    elif is_piped():
        asked = "\n\n".join(filter(None, (standard_input().strip("\n"), asked)))
    return with_attachments(asked, [_attached(path) for path in files]) if files else asked


def _attached(path: Path) -> Attachment:
    try:
        return read(path.name, path.read_bytes())
    except OSError as error:
        raise ForedraftError(
            Reason("file_unreadable", {"file": str(path), "error": error.strerror or str(error)})
        ) from None
    except AttachmentError as error:
        why = Reason(f"attach_{error.code}", {"most": LARGEST})
        raise ForedraftError(Reason("unattached", {"path": str(path), "why": why})) from None
