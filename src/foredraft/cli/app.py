"""`foredraft` (without a command): the chat app in the browser, with a model that can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foredraft.cli.words import t
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from foredraft.config.settings import ServerSection


def app(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model to load. Default: the last used, or the embedded."),
    ] = None,
    draft: Annotated[str, typer.Option("--draft", "-d", help="Its draft: a name, builtin, auto or off.")] = "auto",
    host: Annotated[str | None, typer.Option("--host", help="Address; others than this machine's need a key.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=0, max=65535, help="Port. Default: 3673.")] = None,
    isolation: Annotated[
        str | None,
        typer.Option("--isolation", help="A process for each model, which alone ends in a crash: auto, on or off."),
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
) -> None:
    """Start server and chat app, and open the browser where there is a screen."""
    from foredraft.cli.ls import print_first_steps
    from foredraft.cli.models import shelf
    from foredraft.cli.serve import serve
    from foredraft.config.settings import load_settings
    from foredraft.server.address import url
    from foredraft.ui.browser import already_running, open_when_ready

    server = load_settings({"server.host": host, "server.port": port or None, "server.isolation": isolation}).server
    address = url("localhost" if server.host in ("127.0.0.1", "::1") else server.host, server.port)
    opened = address + _entrance(server)
    browser = browser and port != 0  # which one it is then, the server says
    if port != 0 and already_running(address):
        _check_own(server)
        typer.echo(t()("cli.serve.running", url=opened))
        if model is not None:
            _load_there(server, model, draft)
        if browser:
            open_when_ready(address, opened)
        return
    if not any(found.usable and found.source != "embedded" for found in shelf().models()):
        print_first_steps()
    if browser:
        open_when_ready(address, opened)
    # The last used model may have changed since; one that was named is not replaced without asking.
    chosen = model or _usual_model()
    serve(host=host, port=port, model=chosen, draft=draft, ttl=-1, or_embedded=model is None, isolation=isolation)


def _load_there(server: ServerSection, model: str, draft: str) -> None:
    """Into the server that runs already."""
    from foredraft.cli.remote import server as running

    with running(server.host, server.port) as client:
        state = client.load(model, draft=draft)
    typer.echo(t()("cli.serve.loaded", model=state["id"]))


def _entrance(server: ServerSection) -> str:
    """What the app's address ends in to be let in, once."""
    from foredraft.server.proof import home_secret, ticket

    secret = home_secret()
    return f"/?token={ticket(secret, server.port)}" if server.token and server.api_key is None and secret else ""


def _check_own(server: ServerSection) -> None:
    """Raises where another user's program listens on our port."""
    from foredraft.core.errors import ForedraftError
    from foredraft.server.client import Client

    key = server.api_key.get_secret_value() if server.api_key is not None else ""
    client = Client.find(server.host, server.port, key)
    if client is None:
        raise ForedraftError(Reason("port_not_yours", {"port": server.port}), hint=Reason("hint_port_not_yours"))
    client.close()


def _usual_model() -> str | None:
    """The model that was loaded last, if it is still there; else the embedded one; None where there is neither."""
    from foredraft.chats import ChatStoreError, open_or_set_aside
    from foredraft.config.folders import data_folder
    from foredraft.config.shelf import open_shelf

    found = open_shelf().models()
    models = [model for model in found if model.usable]
    embedded = max((m for m in models if m.source == "embedded"), key=lambda m: m.size_bytes, default=None)
    try:
        chats = open_or_set_aside(data_folder() / "chats.db")
        last = chats.preference("last_model", "")
        chats.close()
    except ChatStoreError:
        last = ""
    instead = embedded.name if embedded is not None else None
    if last in ("", *(model.name for model in models)):
        return last or instead
    why = next((model.problem for model in found if model.name == last), None) or Reason("gone")
    typer.echo(t()("cli.serve.last_gone", model=last, why=why, instead=instead or Reason("none")), err=True)
    return instead
