"""Standard input and output: UTF-8, on every system and in every locale.

Called once, before a command runs. A console of another encoding still shows UTF-8 (Python writes to Windows' console
in Unicode), and a file or pipe gets what other programs expect today.
"""

from __future__ import annotations

import locale
import os
import stat
import sys

_BOM = "\ufeff"


def prepare() -> None:
    """Text in and out is UTF-8; bytes that are not UTF-8 pass through. A stream that was closed takes what it gets."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # `foredraft ls >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for good
    for stream, problem in ((sys.stdin, "surrogateescape"), (sys.stdout, "surrogateescape"), (sys.stderr, "replace")):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors=problem)


def standard_input() -> str:
    """All of standard input: UTF-8, with or without a byte order mark (PowerShell writes one), else in the encoding of
    the system's locale (`echo … |` in a Japanese console of Windows). Bytes that are neither reach the model as they
    are."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is None:  # closed, or replaced by something that has text alone
        return sys.stdin.read().removeprefix(_BOM) if sys.stdin is not None else ""
    content: bytes = buffer.read()
    for encoding in ("utf-8-sig", locale.getpreferredencoding(False)):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("utf-8", "surrogateescape")


def is_piped() -> bool:
    """Whether somebody sends text through a pipe, or from a file. A terminal, a closed stream and the null device do
    not; nor does a socket, on which nothing may ever come."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def line_of_input(prompt: str = "") -> str:
    """A line of standard input, after a prompt that is shown to people only: never in a file that takes the answers."""
    if prompt and not sys.stdout.isatty():
        sys.stderr.write(prompt)
        sys.stderr.flush()
        prompt = ""
    return input(prompt).removeprefix(_BOM)
