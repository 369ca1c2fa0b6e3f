"""Believable damages that the header reader lets through, really loaded: what survives its trial survives here, too.

`deadly.txt` names the damages that once ended a process; they come first, and the reader must refuse them now.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from foredraft.core.errors import ModelError
from foredraft.demo import draft_path
from foredraft.engines.llamacpp.safe_load import DeadlyFileError, survives
from foredraft.models.facts import read_facts
from tests import tiny_gguf
from tests.harden import gguf_edit
from tests.harden.gguf_edit import File
from tests.harden.really import ENDED, HUNG, REFUSED, Opener
from tests.harden.tally import Tally

DEADLY = Path(__file__).with_name("deadly.txt")


def run(tally: Tally, draw: random.Random) -> None:
    opener, died = Opener(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        sound = sound_files(Path(folder))
        path = Path(folder) / "m.gguf"
        try:
            for name in known_deadly():
                if not tally.begin(name):
                    return
                path.write_bytes(made_again(sound, name))
                try:
                    read_facts(path)
                    tally.fail("passes the reader again")
                except ModelError:
                    tally.end("known to be deadly, refused by the reader")
            for name, changed in changed_files(sound, draw):
                if not tally.begin(name):
                    return
                path.write_bytes(changed)
                outcome = _outcome(path, opener)
                if outcome.startswith("bad"):
                    tally.fail(outcome)
                    continue
                if outcome.startswith("died"):
                    died[outcome.partition(": ")[2]] += 1
                    print(f"deadly: {name!r}: {outcome}", flush=True)
                tally.end(outcome.partition(":")[0], seconds=90)
        finally:
            opener.close()
    for words, count in died.most_common():
        print(f"loads: {count} died in their trial: {words}")


def _outcome(path: Path, opener: Opener) -> str:
    """How it ended; "bad …" for what must not be."""
    try:
        read_facts(path)
    except ModelError:
        return "refused by the reader"
    status = opener.trial(path)
    if status not in (ENDED, REFUSED):
        words = opener.words
        try:
            survives(path)
        except DeadlyFileError as error:
            return f"died in their trial: {error.words}"
        except ModelError as error:
            return "hung in their trial" if status == HUNG else f"bad: {status} in a trial, then {error}"
        return f"bad: died in one trial with {status} ({words}), and not in the other"
    passed = status == ENDED
    status = opener.load(path)
    if status not in (ENDED, REFUSED):
        return f"bad: {'passed' if passed else 'refused in'} its trial, then {status}: {opener.words}"
    return "loaded" if status == ENDED else "refused by the library"


def known_deadly() -> list[str]:
    """The damages that once ended a process, by name."""
    return [line for line in DEADLY.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def made_again(sound: dict[str, File], name: str) -> bytes:
    """The file of a damage by its name. Raises `KeyError` for a name that no change has any more."""
    source, _, name = name.partition(": ")
    file = sound[source]
    for change in name.split(" and "):
        if change.startswith("bits "):
            return _with_bits(file, list(map(int, change.split()[1:])))
        file = dict(gguf_edit.changes(file))[change]
    return file.written()


def _with_bits(file: File, bits: list[int]) -> bytes:
    written = bytearray(file.written())
    for bit in bits:
        written[bit // 8] ^= 1 << bit % 8
    return bytes(written)


def sound_files(folder: Path) -> dict[str, File]:
    """Small sound files of several kinds, by name; written into `folder`."""
    made = {
        "tiny": tiny_gguf.llama(folder / "tiny.gguf"),
        "draft": draft_path(),
        "bert": tiny_gguf.bert(folder / "bert.gguf"),
        "pieces": tiny_gguf.bert(folder / "pieces.gguf", word_pieces=True),
        "mamba": tiny_gguf.mamba(folder / "mamba.gguf"),
        "q4": tiny_gguf.llama(folder / "q4.gguf", kind="q4_0"),
        "words": tiny_gguf.vocabulary_only(folder / "words.gguf"),
    }
    return {name: gguf_edit.read(path.read_bytes()) for name, path in made.items()}


def changed_files(sound: dict[str, File], draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """One change of a sound file, then two, or bytes of the header that are others, without end."""
    once = [
        (f"{source}: {name}", changed) for source, file in sound.items() for name, changed in gguf_edit.changes(file)
    ]
    draw.shuffle(once)
    yield from ((name, changed.written()) for name, changed in once)
    while True:
        first, changed = draw.choice(once)
        if draw.random() < 0.7:
            second, again = draw.choice(list(gguf_edit.changes(changed)))
            yield f"{first} and {second}", again.written()
        else:
            header = len(changed.written()) - len(changed.data)
            bits = [draw.randrange(8 * 8, header * 8) for _ in range(draw.choice((1, 1, 2, 4)))]
            yield f"{first} and bits {' '.join(map(str, bits))}", _with_bits(changed, bits)
