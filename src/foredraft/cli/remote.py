"""What the commands share that speak to the running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from foredraft.server.client import Client

Host = Annotated[str | None, typer.Option("--host", help="Where the server listens.")]
Port = Annotated[int | None, typer.Option("--port", "-p", help="Its port. Default: 3673.")]


def server(host: str | None = None, port: int | None = None) -> Client:
    """The running server. Raises `NoServerError`."""
    from foredraft.server.client import Client

    return Client.connect(*_place(host, port))


def find_server(host: str | None = None, port: int | None = None) -> Client | None:
    """The running server, if there is one: looks for a fraction of a second."""
    from foredraft.server.client import Client

    return Client.find(*_place(host, port))


def _place(host: str | None, port: int | None) -> tuple[str, int, str]:
    from foredraft.settings import load_settings

    settings = load_settings({"server.host": host, "server.port": port}).server
    own = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - any address is ours too
    return own, settings.port, settings.api_key.get_secret_value() if settings.api_key is not None else ""


def time_words(seconds: float) -> str:
    """A duration for people: "12 s", "5 min", "2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
