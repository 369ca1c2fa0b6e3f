"""Make the pictures of the README and of docs/concepts, from the repository's root: `python -m docs.pictures`, or
`python -m docs.pictures round promise` for some of them. Nothing in them is drawn by hand: all come from real runs.
Those of the app want a Chromium (`CHROMIUM` names it)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

from docs.app_pictures import dark_japanese, light_english
from docs.concept_pictures import a_round, the_promise, the_same_text, when_it_pays
from foredraft import LLM, LoadSettings
from foredraft.cli.terminal import one_line

STYLES = {"accepted": "green underline", "corrected": "dim underline"}
QUESTIONS = ("What is the quadratic equation formula?", "Write a story that begins: 'The door creaked open...'")


def terminal(path: Path) -> None:
    """Two answers as `foredraft run` shows them: much of the formula is accepted, little of the story."""
    console = Console(record=True, highlight=False, width=100, file=StringIO(), force_terminal=True)
    with LLM.load(settings=LoadSettings(controller="fixed", max_draft=4)) as llm:
        for question in QUESTIONS:
            console.print(Text(f'$ foredraft run "{question}" --seed 7 --controller fixed --max-draft 4', style="bold"))
            stream = llm.chat(question, temperature=0.8, seed=7, max_tokens=90)
            answer = Text()
            for piece in stream:
                answer.append(piece.text, STYLES.get(piece.origin, ""))
            console.print(answer)
            console.print(one_line(stream.result), style="dim")
            console.print()
    legend = Text.assemble(
        ("drafted and accepted", STYLES["accepted"]), " · ", ("corrected by the main model", STYLES["corrected"])
    )
    console.print(legend)
    console.save_svg(str(path), title="foredraft run")


PICTURES: dict[str, Callable[[Path], None]] = {
    "terminal": terminal,
    "round": a_round,
    "same-text": the_same_text,
    "when-it-pays": when_it_pays,
    "promise": the_promise,
    "app-light-en": light_english,
    "app-dark-ja": dark_japanese,
}

if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        PICTURES[name](images / f"{name}.svg")
