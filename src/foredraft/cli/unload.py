"""`foredraft unload MODEL`: take a model and its draft out of the running server's memory."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from foredraft.cli.models import Json
from foredraft.cli.remote import Host, Port, server
from foredraft.cli.words import t
from foredraft.core.reasons import Reason


def unload(
    model: Annotated[str | None, typer.Argument(help="Which model; the only one if left out.")] = None,
    host: Host = None,
    port: Port = None,
    every: Annotated[bool, typer.Option("--all", help="Unload every model.")] = False,
    json_output: Json = False,
) -> None:
    """Unload a model of the running server; its running answers end."""
    from foredraft.core.errors import ParameterError
    from foredraft.models.names import find_name

    with server(host, port) as client:
        loaded = [state["id"] for state in client.models()]
        if not loaded:
            print(json.dumps({"unloaded": []}) if json_output else t()("cli.none_loaded"))
            return
        if model is None and not every and len(loaded) > 1:
            raise ParameterError("model", "", Reason("one_of_or_all", {"names": tuple(loaded)}))
        wanted = loaded if every else [find_name(model, loaded) if model else loaded[0]]
        gone = [client.unload(name) for name in wanted]
    said = (t()("cli.unloaded", model=name) for name in gone)
    print(json.dumps({"unloaded": gone}) if json_output else "\n".join(said))
