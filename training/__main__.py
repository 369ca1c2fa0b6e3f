"""Train the embedded pair anew: ``python -m training --minutes 110``.

    corpus → tokenizer → packed rows → main → its GGUF → its answers → draft → evaluation → card

Every step leaves a file in the work folder (``build/training``) and is skipped when the file is
there, so a stopped run goes on where it was. The clock decides, not a number of steps: of the
minutes, 78 % are for the main model, 20 % for the draft, the rest for what is in between.
Nothing is written to ``src`` unless ``--install`` says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from foredraft.engines.llamacpp import quantise

from . import card, corpus, data, distil, evaluate, gguf_writer, tokenizer, train
from .model import DRAFT, MAIN

RATE = 7000
"""Tokens a second that two good cores train at most: so many rows are generated."""
ANSWERED = 24_000
"""Prompts that the main model answers for its draft."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=110.0, help="for everything together")
    parser.add_argument("--folder", type=Path, default=Path("build/training"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2, choices=(1, 2), help="one thread each")
    parser.add_argument("--eager", action="store_true", help="do not compile: starts at once, runs slower")
    parser.add_argument("--no-evaluation", action="store_true")
    parser.add_argument("--install", action="store_true", help="put pair and card into src/foredraft/demo")
    a = parser.parse_args(arguments)
    folder: Path = a.folder
    folder.mkdir(parents=True, exist_ok=True)
    short = a.minutes < 20

    def say(text: str) -> None:
        print(text, flush=True)

    if not (folder / "tokenizer.json").exists():
        say("tokenizer")
        tokenizer.train(a.seed, folder / "tokenizer.json", count=5_000 if short else 30_000)
    vocabulary = tokenizer.load(folder / "tokenizer.json")
    shapes = {
        name: replace(shape, vocab=vocabulary.get_vocab_size()) for name, shape in (("main", MAIN), ("draft", DRAFT))
    }
    if not (folder / "corpus").exists():
        say("corpus")
        wanted = int(60 * a.minutes * RATE)
        data.pack(vocabulary, corpus.documents(a.seed + 1), folder / "corpus.part", wanted)
        (folder / "corpus.part").rename(folder / "corpus")

    common = train.Plan(
        str(folder),
        "",
        shapes["main"],
        0.0,
        workers=a.workers,
        compile=not (a.eager or short),  # compiling takes most of a minute
        evaluate_every=0.0 if short else 6.0,
        seed=a.seed,
    )
    if not (folder / "main-q8_0.gguf").exists():
        say("main model")
        checkpoint = train.run(replace(common, out="main", minutes=0.78 * a.minutes))
        export(checkpoint, folder, "main", say)
    main_file = folder / "main-q8_0.gguf"
    if not (folder / "draft-q8_0.gguf").exists():
        say("draft, on the corpus")
        train.run(
            replace(
                common,
                out="draft-corpus",
                shape=shapes["draft"],
                minutes=0.08 * a.minutes,
                constant=0.9,
                evaluate_every=0.0,
            )
        )
        if not (folder / "answers").exists():
            say("answers of the main model")
            count = ANSWERED if not short else 256
            distil.store(main_file, vocabulary, folder / "answers.part", count, a.seed + 2, threads=a.workers)
            (folder / "answers.part").rename(folder / "answers")
        say("draft, on the answers")
        checkpoint = train.run(
            replace(
                common,
                out="draft",
                shape=shapes["draft"],
                minutes=0.12 * a.minutes,
                tokens="answers",
                start="draft-corpus.pt",
                constant=0.35,
                evaluate_every=0.0,
                copy_rows=False,
            )
        )
        export(checkpoint, folder, "draft", say)
    draft_file = folder / "draft-q8_0.gguf"
    if not a.no_evaluation:
        result = evaluate.evaluate(main_file, draft_file, threads=a.workers, scale=0.1 if short else 1.0, say=say)
        (folder / "evaluation.json").write_text(
            json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )
        say(evaluate.table(result))
    if a.install:
        if a.no_evaluation:
            sys.exit("--install needs the evaluation: a pair without its table is not shipped")
        demo = Path(__file__).parent.parent / "src" / "foredraft" / "demo"
        shutil.copyfile(main_file, demo / "main.gguf")
        shutil.copyfile(draft_file, demo / "draft.gguf")
        card.write(folder, demo / "MODEL_CARD.md")
        say(f"installed in {demo}")


def export(checkpoint: Path, folder: Path, name: str, say: train.Say) -> Path:
    """Checkpoint → F32 GGUF → Q8_0 by llama.cpp's own quantiser."""
    model = train.restore(checkpoint)
    vocabulary = tokenizer.load(folder / "tokenizer.json")
    title = "Foredraft demo" if name == "main" else f"Foredraft demo {name}"
    full = gguf_writer.write(model, vocabulary, folder / f"{name}-f32.gguf", title)
    small = quantise(full, folder / f"{name}-q8_0.gguf", "q8_0")
    say(f"{name}: {model.parameters_count() / 1e6:.2f} M parameters, {small.stat().st_size / 1e6:.2f} MB")
    return small


if __name__ == "__main__":
    main()
