"""`foredraft search WORDS`: models on the Hugging Face hub that can be downloaded."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foredraft.cli.models import Json
from foredraft.cli.tables import count_words, print_table
from foredraft.cli.words import t


def search(
    words: Annotated[list[str], typer.Argument(help="Words of the name, the publisher's among them.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="Most repositories.")] = 20,
    json_output: Json = False,
) -> None:
    """Search the Hugging Face hub for models with GGUF files, the most downloaded first."""
    from foredraft.models.hub import search as ask

    asked = " ".join(words)
    found = ask(asked, limit=limit)
    if json_output:
        rows = [{"name": f.name, "params": f.params or None, "downloads": f.downloads, "gated": f.gated} for f in found]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not found:
        print(t()("cli.search.none", words=asked))
        return
    say = t()
    cells = [
        (
            one.name,
            count_words(one.params) if one.params else "–",
            say("cli.number", n=one.downloads),
            say("cli.yes") if one.gated else "",
        )
        for one in found
    ]
    columns = [say(f"cli.search.{column}") for column in ("name", "params", "downloads", "gated")]
    print_table(columns, cells, right=frozenset({1, 2}))
    print(say("cli.search.get"))
