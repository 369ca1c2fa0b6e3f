"""Make the pictures of the README and of docs/concepts, from the repository's root: `python -m tools.pictures`, or
`python -m tools.pictures round promise` for some of them. Nothing in them is drawn by hand: all come from real runs.
Those of the app want a Chromium (`CHROMIUM` names it), the moving one (`app`) the tools of `make docs` too."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tools.pictures.app import dark_japanese, light_english
from tools.pictures.concepts import a_round, the_promise, the_same_text, when_it_pays
from tools.pictures.moving import moving


def terminal(path: Path) -> None:
    """What `foredraft demo` shows, on a terminal of its own: the command's every word and colour. On a machine that is
    busy with other work it says so instead of comparing times: then it is asked again later."""
    console = Console(record=True, highlight=False, width=100, file=StringIO(), force_terminal=True)
    console.print(Text("$ foredraft demo", style="bold"))
    console.print(Text.from_ansi(_on_a_terminal("demo")))
    drawn = console.export_svg(title="foredraft demo")
    # rich would have the reader's browser load a font from elsewhere; a monospaced one is everywhere
    path.write_text(re.sub(r"\s*@font-face \{[^}]*\}", "", drawn), encoding="utf-8", newline="\n")


def _on_a_terminal(*arguments: str) -> str:
    """What a command writes when a person watches."""
    import pty

    leader, follower = pty.openpty()
    shown = {"TERM": "xterm-256color", "COLUMNS": "100", "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "foredraft", *arguments]
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.DEVNULL, stdout=follower, stderr=follower, env={**os.environ, **shown}
    )
    os.close(follower)
    seen = b""
    with contextlib.suppress(OSError):  # the other side has closed
        while data := os.read(leader, 65536):
            seen += data
    os.close(leader)
    process.wait()
    return seen.decode("utf-8").replace("\r\n", "\n").strip()


PICTURES: dict[str, Callable[[Path], None]] = {
    "terminal": terminal,
    "round": a_round,
    "same-text": the_same_text,
    "when-it-pays": when_it_pays,
    "promise": the_promise,
    "app": moving,
    "app-light-en": light_english,
    "app-dark-ja": dark_japanese,
}

if __name__ == "__main__":
    images = Path(__file__).parents[2] / "docs" / "images"
    images.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name](images / f"{name}.svg")
