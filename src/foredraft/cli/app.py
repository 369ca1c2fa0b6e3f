"""`foredraft` (without a command): the chat app in the browser, with a model that can answer."""

from __future__ import annotations

from typing import Annotated

import typer


def app(
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Model to load. Default: the last used, or the embedded."),
    ] = None,
    draft: Annotated[str, typer.Option("--draft", "-d", help="Its draft: a name, auto or off.")] = "auto",
    host: Annotated[str | None, typer.Option("--host", help="Address; others than this machine's need a key.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=1, max=65535, help="Port. Default: 3673.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the browser.")] = True,
) -> None:
    """Start server and chat app, and open the browser where there is a screen."""
    from foredraft.cli.ls import print_first_steps
    from foredraft.cli.models import shelf
    from foredraft.cli.serve import serve
    from foredraft.settings import load_settings
    from foredraft.ui.browser import already_running, open_when_ready

    server = load_settings({"server.host": host, "server.port": port}).server
    address = f"http://{'localhost' if server.host in ('127.0.0.1', '::1') else server.host}:{server.port}"
    if already_running(address):
        typer.echo(f"Foredraft is running already: {address}")
        if browser:
            open_when_ready(address)
        return
    if not any(found.usable and found.source != "embedded" for found in shelf().models()):
        print_first_steps()
    if browser:
        open_when_ready(address)
    # The last used model may have changed since; one that was named is not replaced without asking.
    serve(host=host, port=port, model=model or _usual_model(), draft=draft, ttl=-1, or_embedded=model is None)


def _usual_model() -> str | None:
    """The model that was loaded last, if it is still there; else the embedded one; None where there is neither."""
    from foredraft.chats import ChatStoreError, open_or_set_aside
    from foredraft.folders import data_folder
    from foredraft.shelf import open_shelf

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
    why = next((model.problem for model in found if model.name == last), "") or "it is not there any more."
    typer.echo(f"{last}, the model used last, cannot be loaded: {why} Going on with {instead or 'none'}.", err=True)
    return instead
