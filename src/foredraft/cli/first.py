"""`foredraft` alone, typed by a person: what there is to do, in four lines."""

from __future__ import annotations

import os
import sys

from foredraft.cli.words import t


def someone_is_there() -> bool:
    """Whether a person can read and answer: both ways lead to a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def choose() -> list[str]:
    """Offer what to do; the arguments of what was typed: any command with its arguments, or nothing, which is the app.
    Ctrl-D leaves."""
    import shlex

    print(t()("cli.offer"))
    try:
        said = input("> ").strip()
    except EOFError:
        print()
        sys.exit(0)
    return shlex.split(said.removeprefix("foredraft "), posix=os.name == "posix") or ["app"]
