"""`foredraft verify PROMPT`: is the answer the same with and without the draft?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from foredraft.cli import terminal
from foredraft.cli.loading import loaded, prompt_text
from foredraft.cli.options import GenerateOptions, generate_options, system_message
from foredraft.cli.words import t

if TYPE_CHECKING:
    from foredraft.pair.verification import Comparison


@generate_options(temperature=0.0, max_tokens=256)
def verify(
    prompt: Annotated[list[str], typer.Argument(help="What to ask; - reads it from standard input.")],
    asked: GenerateOptions,
) -> None:
    """Write the answer twice, without and with guesses in every round, and compare.

    Exit 0: identical, or parted at a near-tie; 1: a defect; 3: nothing was guessed, so nothing was checked.
    """
    from foredraft.cli.told import say_what_is_left_out

    text = prompt_text(prompt)
    say_what_is_left_out(asked)
    with loaded(asked, draft_required=asked.draft not in ("auto", "off")) as (llm, _):
        from foredraft.pair.verification import verify as compare

        turn = [*system_message(asked), {"role": "user", "content": text}]
        comparison = compare(llm, asked.wish(text if asked.raw or not text else turn))
    if asked.as_json:
        print(json.dumps(comparison.as_dict(), ensure_ascii=False))
    else:
        _say(comparison)
        if asked.stats:
            terminal.print_stats(comparison.drafted)
    if not comparison.sound:
        raise typer.Exit(1)
    if not comparison.checked:
        raise typer.Exit(3)


def _say(comparison: Comparison) -> None:
    """The verdict in words."""
    console, words = Console(highlight=False, soft_wrap=True), t()
    plain, drafted, difference = comparison.plain, comparison.drafted, comparison.difference
    if comparison.verdict == "unchecked":
        console.print(words("cli.verify.unchecked"), style="yellow")
    elif difference is None:
        figures = {"a": drafted.stats.accepted, "drafted": drafted.stats.drafted}
        console.print(words("cli.verify.identical", n=len(plain.tokens), seed=plain.seed, **figures), style="green")
    else:
        margin, bound = f"{difference.margin:.3g}", f"{difference.bound:.3g}"
        key, style = ("cli.verify.near_tie", "yellow") if difference.near_tie else ("cli.verify.defect", "red")
        console.print(words(key, n=difference.position, margin=margin, bound=bound), style=style)
        console.print(
            words("cli.verify.plain", id=difference.plain_token, text=repr(difference.plain_text)), markup=False
        )
        console.print(
            words("cli.verify.drafted", id=difference.draft_token, text=repr(difference.draft_text)), markup=False
        )
        console.print(words("cli.verify.apart", margin=margin, bound=bound))
    if drafted.numerics is not None:
        console.print(words(drafted.numerics.described), style="dim", markup=False)
    status = drafted.speculation
    if status.status != "active":
        console.print(terminal.speculation_words(status), style="yellow", markup=False)
