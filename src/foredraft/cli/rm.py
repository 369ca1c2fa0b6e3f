"""`foredraft rm MODEL`: delete a model that this program put there."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from foredraft.cli.models import Json, ModelName, shelf
from foredraft.cli.tables import size_words


def rm(
    model: ModelName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json_output: Json = False,
) -> None:
    """Delete a downloaded or copied model; an imported one is only forgotten. Other programs' files are not touched."""
    from foredraft.core.errors import ForedraftError

    store = shelf()
    found = store.find(model, whole=True)
    imported = found.source == "imported"
    question = (
        f"Forget {found.name}? The file stays."
        if imported
        else f"Delete {found.name} ({size_words(found.size_bytes)})?"
    )
    if found.source in ("own", "imported") and not yes:
        if json_output or not sys.stdin.isatty():
            raise ForedraftError("Deleting needs a yes.", hint="Add --yes.")
        typer.confirm(question, abort=True)
    freed = store.remove(found)
    if json_output:
        print(json.dumps({"removed": found.name, "freed_bytes": freed}))
    else:
        print(
            f"{'Forgot' if imported else 'Deleted'} {found.name}" + (f", {size_words(freed)} free." if freed else ".")
        )
