"""Tables on terminals of any width: names stay whole, so that they can be copied; into a file they are plain."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

from foredraft.config.folders import data_folder
from tests import tiny_gguf
from tests.cli.terminals import COMMAND, read_to_the_end

NAME = "quite-long-name-of-a-model-instruct"


def shown(width: int, *args: str, **env: str) -> list[str]:
    """The lines of a command on a terminal of that width, without colours."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    around = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [*COMMAND, *args],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**around, "TERM": "xterm-256color", **env},
    )
    os.close(follower)
    text = re.sub(r"\x1b\[[0-9;]*m", "", read_to_the_end(process, leader))
    assert process.returncode == 0
    return text.replace("\r\n", "\n").splitlines()


@pytest.fixture(autouse=True)
def own(user_folders: Path) -> None:
    folder = data_folder() / "models" / "acme"
    folder.mkdir(parents=True)
    tiny_gguf.llama(folder / f"{NAME}-F32.gguf")


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("locale", ["C.UTF-8", "ja_JP.UTF-8"])
def test_names_and_figures_are_whole_at_every_width(width: int, locale: str) -> None:
    lines = shown(width, "ls", LC_ALL=locale)
    whole = "\n".join(lines)
    assert f"{NAME}@f32" in whole
    assert "foredraft-demo-draft" in whole
    for one in ("5.6 MB", "2,048", "5.1 M", "embedded"):
        assert one in whole, one
    folder = str(data_folder())  # a path is not broken either, however long
    assert all(len(line) <= width for line in lines if folder not in line), lines
    paired = "\n".join(shown(width, "pair", "foredraft-demo", LC_ALL=locale))
    assert f"{NAME}@f32" in paired
    assert "foredraft-demo-draft" in paired


def test_what_finds_no_room_stands_below_with_its_name() -> None:
    lines = shown(40, "ls")
    at = next(number for number, line in enumerate(lines) if line.split() and line.split()[0] == "foredraft-demo")
    assert "    draft: foredraft-demo-draft" in lines[at + 1 : at + 6]
    assert not any(": –" in line for line in lines)


def test_sentences_go_on_in_the_next_line_and_are_not_cut_in_words() -> None:
    lines = shown(80, "pair", "foredraft-demo", "foredraft-demo-draft")
    why = " ".join(line[20:].strip() for line in lines[2:])
    assert "of the main model's size" in re.sub(r"\s+", " ", why.replace("Works", "").replace("estimated 1.1×", ""))


def test_into_a_file_a_row_is_a_line() -> None:
    done = subprocess.run([*COMMAND, "ls"], capture_output=True, encoding="utf-8", timeout=60)
    heads, *rows = done.stdout.splitlines()
    assert heads.split() == ["NAME", "SIZE", "PARAMS", "CONTEXT", "DRAFT", "LOCATION"]
    assert sum(row.startswith(NAME) for row in rows) == 1
