"""`foredraft unload MODEL`: take a model and its draft out of the running server's memory."""

from __future__ import annotations

from typing import Annotated

import typer

from foredraft.cli.remote import Host, Port, server


def unload(
    model: Annotated[str | None, typer.Argument(help="Which model; the only one if left out.")] = None,
    host: Host = None,
    port: Port = None,
    every: Annotated[bool, typer.Option("--all", help="Unload every model.")] = False,
) -> None:
    """Unload a model of the running server; its running answers end."""
    from foredraft.core.errors import ParameterError
    from foredraft.models.names import find_name

    with server(host, port) as client:
        loaded = [state["id"] for state in client.models()]
        if not loaded:
            print("No model is loaded.")
            return
        if model is None and not every and len(loaded) > 1:
            raise ParameterError("model", "", f"one of {', '.join(loaded)} (or --all)")
        for name in loaded if every else [find_name(model, loaded) if model else loaded[0]]:
            print(f"Unloaded {client.unload(name)}.")
