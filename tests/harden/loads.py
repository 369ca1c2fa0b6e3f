"""Believable damages that the header reader lets through, really loaded: what survives its trial survives here, too."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foredraft.core.errors import ModelError
from foredraft.demo import draft_path
from foredraft.engines.llamacpp.trial import DeadlyFileError, survives
from foredraft.models.facts import read_facts
from tests import tiny_gguf
from tests.harden import gguf_edit
from tests.harden.gguf_edit import File
from tests.harden.tally import Tally

_REALLY = """
import sys
from foredraft import LLM
from foredraft.core.errors import ForedraftError
from foredraft.engines.llamacpp import trial
trial.require_survival = lambda path: None
try:
    with LLM.load(sys.argv[1], "off") as llm:
        llm.generate("Hello, 漢字 \\U0001f642 world", max_tokens=8)
        llm.chat("What is 2 + 3?", max_tokens=8).result
except ForedraftError:
    pass
"""


def run(tally: Tally, draw: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, changed in _changes(Path(folder), draw):
            if not tally.begin(name):
                return
            path = Path(folder) / "m.gguf"
            path.write_bytes(changed.written())
            try:
                read_facts(path)
                passed = survives(path)
            except DeadlyFileError:
                tally.end("died in their trial", seconds=90)
            except ModelError:
                tally.end("refused by the reader", seconds=90)
            else:
                ran = subprocess.run(
                    [sys.executable, "-c", _REALLY, str(path)], capture_output=True, encoding="utf-8", check=False
                )
                if ran.returncode:
                    tally.fail(f"{'passed' if passed else 'refused in'} its trial, then {ran.returncode}: {ran.stderr}")
                else:
                    tally.end("loaded" if passed else "refused by the library", seconds=90)


def _changes(folder: Path, draw: random.Random) -> Iterator[tuple[str, File]]:
    """One change of a sound file, then two, without end."""
    sound = [
        gguf_edit.read(tiny_gguf.llama(folder / "tiny.gguf").read_bytes()),
        gguf_edit.read(draft_path().read_bytes()),
    ]
    once = [(name, changed) for file in sound for name, changed in gguf_edit.changes(file)]
    draw.shuffle(once)
    yield from once
    while True:
        first, changed = draw.choice(once)
        second, again = draw.choice(list(gguf_edit.changes(changed)))
        yield f"{first} and {second}", again
