"""What the commands share that speak to the running server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.options import Asked

if TYPE_CHECKING:
    from foredraft.server.client import Client, RemoteAnswer

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


def answer_of_server(asked: Asked, text: str) -> tuple[Client, RemoteAnswer] | None:
    """The answer of the running server, where it has the model that was asked for (any, where none was named) and
    nothing was said about how to load it. FOREDRAFT_NO_SERVER=1 keeps commands away from it."""
    if os.environ.get("FOREDRAFT_NO_SERVER") or asked.settings() != Asked().settings() or not text:
        return None
    client = find_server()
    if client is None:
        return None
    ready = [model["id"] for model in client.models() if model["kind"] == "text" and model["status"] == "ready"]
    if not ready or (asked.model is not None and asked.model not in ready):
        client.close()
        return None
    how: dict[str, Any] = {
        "model": asked.model or ready[-1],
        "draft_model": asked.draft,
        "draft_required": asked.draft_required,
        "temperature": asked.temperature,
        "seed": asked.seed,
        "top_k": asked.top_k,
        "top_p": asked.top_p,
        "min_p": asked.min_p,
        "repeat_penalty": asked.repeat_penalty,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        "stop": asked.stop,
        "max_tokens": asked.max_tokens,
        "speculative": {"method": asked.method, "acceptance": asked.acceptance},
    }
    if asked.raw:
        return client, client.complete(text, **how)
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    return client, client.chat([*system, {"role": "user", "content": text}], **how)


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
