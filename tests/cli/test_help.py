"""Help: whole sentences, in groups, the same at every width."""

from __future__ import annotations

import re
import subprocess

import pytest

from foredraft.cli.main import COMMANDS, GROUPS
from tests.cli.terminals import COMMAND


def text_of(*args: str, width: str = "80") -> str:
    import os

    done = subprocess.run(
        [*COMMAND, *args, "--help"],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        env={**os.environ, "COLUMNS": width, "TERMINAL_WIDTH": width},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(COMMANDS)
    shown = text_of()
    assert all(group in shown for group in GROUPS)


@pytest.mark.parametrize("command", ["run", "tune", "chat", "chats"])
def test_sentences_are_broken_by_the_terminal_alone(command: str) -> None:
    """The line ends of the source are none of the reader's."""
    words = re.sub(r"\s+", " ", text_of(command))
    wide = text_of(command, width="200")
    first = next(line.strip() for line in wide.splitlines()[2:] if line.strip() and "Usage" not in line)
    assert first[:200] in words
    assert first.endswith(".")
