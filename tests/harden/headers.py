"""Damaged headers: a typed error, or facts."""

from __future__ import annotations

import itertools
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foredraft.core.errors import ModelError
from foredraft.demo import draft_path
from foredraft.models.facts import read_facts
from tests.harden import gguf_edit
from tests.harden.tally import Tally
from tests.models.gguf_bytes import model


def run(tally: Tally, draw: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        for name, content in _damaged(draw):
            if not tally.begin(name):
                return
            path.write_bytes(content)
            try:
                read_facts(path)
                tally.end("read")
            except ModelError:
                tally.end("refused")
            except Exception as error:  # noqa: BLE001 - what is looked for
                tally.fail(repr(error))


def _damaged(draw: random.Random) -> Iterator[tuple[str, bytes]]:
    sound = {"made": model(params=64), "draft": draft_path().read_bytes()}
    aimed = [
        (f"{source} {name}", changed)
        for source, content in sound.items()
        for name, changed in gguf_edit.changes(gguf_edit.read(content))
    ]
    draw.shuffle(aimed)
    yield from ((name, changed.written()) for name, changed in aimed)
    for number in itertools.count():
        damaged = bytearray(sound["made"])
        for _ in range(draw.choice((1, 1, 2, 8, 40))):
            place = draw.randrange(len(damaged))
            how = draw.random()
            if how < 0.5:
                damaged[place] ^= 1 << draw.randrange(8)
            elif how < 0.8:
                damaged[place : place + 8] = draw.randbytes(8)
            else:
                del damaged[place : place + draw.randrange(1, 40)]
        yield f"random {number}", bytes(damaged)
