"""Make the pictures of the README: `python docs/pictures.py`. A real answer of the embedded pair, drawn by Rich."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

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


if __name__ == "__main__":
    images = Path(__file__).parent / "images"
    images.mkdir(exist_ok=True)
    terminal(images / "terminal.svg")
