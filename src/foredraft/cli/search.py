"""`foredraft search WORDS`: models on the Hugging Face hub that can be downloaded."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foredraft.cli.models import Json
from foredraft.cli.tables import count_words, print_table


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
        print(f"The hub has no model with GGUF files for {asked!r}.")
        return
    cells = [
        (one.name, count_words(one.params) if one.params else "–", f"{one.downloads:,}", "yes" if one.gated else "")
        for one in found
    ]
    print_table(("NAME", "PARAMS", "DOWNLOADS", "GATED"), cells, right=frozenset({1, 2}))
    print("Get one: foredraft get NAME (its quantisations: foredraft get NAME --list)")
