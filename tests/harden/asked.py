"""A real server that is asked for one damaged file after the other: an error or a model, and it goes on answering."""

from __future__ import annotations

import itertools
import random
import tempfile
from pathlib import Path

from tests.faults.program import serving
from tests.harden.loads import changed_files, known_deadly, made_again, sound_files
from tests.harden.tally import Tally

ANSWERED = {200: "loaded", 400: "refused", 404: "not on the shelf", 503: "too large for the memory"}


def run(tally: Tally, draw: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, path = Path(folder), Path(folder) / "models" / "m.gguf"
        path.parent.mkdir()
        sound = sound_files(home)
        with serving(home, "--no-ui") as server, server.http() as http:
            said = server.answer(http)
            deadly = [(name, made_again(sound, name)) for name in draw.sample(known_deadly(), 4)]
            for name, content in itertools.chain(deadly, changed_files(sound, draw)):
                if not tally.begin(name):
                    break
                path.write_bytes(content)
                answer = http.post("/api/foredraft/load", json={"model": str(path), "draft": "off"})
                if answer.status_code not in ANSWERED:
                    tally.fail(f"{answer.status_code} {answer.text[:300]}")
                    continue
                if answer.status_code == 200:
                    http.post("/api/foredraft/unload", json={"model": answer.json()["id"]})
                if server.answer(http) != said:
                    tally.fail("it does not answer as before")
                tally.end(ANSWERED[answer.status_code], seconds=90)
