"""`foredraft import FILE`: put a file on the shelf, where it lies, or as a copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from foredraft.cli.models import Json, as_json, shelf
from foredraft.core.reasons import Reason


def import_model(
    file: Annotated[Path, typer.Argument(help="A GGUF file, or the first part of a split one.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy it into Foredraft's own folder.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move it into Foredraft's own folder.")] = False,
    json_output: Json = False,
) -> None:
    """Put a model file on the shelf. It stays where it is unless --copy or --move is given."""
    from foredraft.core.errors import ParameterError

    if copy and move:
        raise ParameterError("--copy --move", "both", Reason("allowed_one"))
    store = shelf()
    model = store.add(file, "copy" if copy else "move" if move else "in place")
    if json_output:
        print(json.dumps(as_json(model), ensure_ascii=False, indent=2))
    else:
        print(f"{model.name}  {model.path}")
