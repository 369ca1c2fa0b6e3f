"""`foredraft rm MODEL`: delete a model that this program put there."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from foredraft.cli.models import Json, ModelName, shelf
from foredraft.cli.words import t
from foredraft.core.reasons import Reason


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
    words = t()
    question = words("cli.rm.forget" if imported else "cli.rm.delete", model=found.name, size=found.size_bytes)
    if found.source in ("own", "imported") and not yes:
        if json_output or not sys.stdin.isatty():
            raise ForedraftError(Reason("needs_yes"), hint=Reason("hint_needs_yes"))
        typer.confirm(question, abort=True)
    freed = store.remove(found)
    if json_output:
        print(json.dumps({"removed": found.name, "freed_bytes": freed}))
    else:
        print(words("cli.rm.forgot" if imported else "cli.rm.deleted", model=found.name, size=freed))
