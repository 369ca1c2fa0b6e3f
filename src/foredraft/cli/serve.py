"""`foredraft serve`: the API (and the app, where it is there) on one port."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from foredraft.cli.words import t
from foredraft.core.errors import ForedraftError
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from fastapi import FastAPI

    from foredraft.server.context import Services


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address; others than this machine's need a key.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", min=0, max=65535, help="Port. Default: 3673.")] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="Key that clients must send (or FOREDRAFT_SERVER__API_KEY).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Model to load at the start.")] = None,
    draft: Annotated[str, typer.Option("--draft", "-d", help="Its draft: a name, auto or off.")] = "auto",
    parallel: Annotated[int | None, typer.Option("--parallel", min=1, max=256, help="Answers at once.")] = None,
    context: Annotated[int | None, typer.Option("--context", "-c", min=0, help="Context in tokens.")] = None,
    queue: Annotated[
        int | None, typer.Option("--queue", min=0, help="Requests that may wait for a model. Default: 512.")
    ] = None,
    ttl: Annotated[
        int | None,
        typer.Option("--ttl", min=-1, help="Idle seconds until a model leaves memory; -1 is never. Default: 3600."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option("--allowed-host", help="Name that the server may be called by.")
    ] = None,
    token: Annotated[
        bool | None,
        typer.Option("--token/--no-token", help="Open the app with an address that only you get. Default: yes."),
    ] = None,
    isolation: Annotated[
        str | None,
        typer.Option("--isolation", help="A process for each model, which alone ends in a crash: auto, on or off."),
    ] = None,
    alias: Annotated[
        list[str] | None,
        typer.Option("--alias", help="Another name for a model: NAME=MODEL; * and ? stand for anything in NAME."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Origin of pages that may call it, loopback (any of this machine's), or none."),
    ] = None,
    on_demand: Annotated[
        bool | None,
        typer.Option("--on-demand/--no-on-demand", help="Load models that requests name. Default: yes."),
    ] = None,
    or_embedded: Annotated[
        bool, typer.Option("--or-embedded", help="Load the embedded pair where the model cannot be loaded.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Serve the chat app on the same port.")] = True,
    log_prompts: Annotated[
        bool | None, typer.Option("--log-prompts/--no-log-prompts", help="Write prompts into the log. Default: no.")
    ] = None,
    remember_answers: Annotated[
        bool | None,
        typer.Option(
            "--remember-answers/--no-remember-answers",
            help="Keep answers on this machine to guess later ones from them. Default: no.",
        ),
    ] = None,
    keep_responses: Annotated[
        bool | None,
        typer.Option(
            "--keep-responses/--no-keep-responses",
            help="Keep responses on this machine, for previous_response_id. Default: yes.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the log.")] = False,
) -> None:
    """Serve the API of OpenAI and LM Studio, with the draft's statistics in every answer."""
    from foredraft.cli.tables import printable
    from foredraft.config.folders import data_folder
    from foredraft.config.settings import load_settings
    from foredraft.config.shelf import open_shelf
    from foredraft.runtime.runtime import Runtime
    from foredraft.server.address import url
    from foredraft.server.aliases import Aliases
    from foredraft.server.app import create_app
    from foredraft.server.context import ServerSettings, Services
    from foredraft.server.downloads import Downloads, from_hub
    from foredraft.server.kept import Responses
    from foredraft.server.loading import load_pair
    from foredraft.server.origins import chosen
    from foredraft.server.proof import home_secret, ticket
    from foredraft.server.run import check_address, settle
    from foredraft.server.run import serve as run
    from foredraft.server.shelf import StoreShelf

    flags = {"server.host": host, "server.port": port or None, "load.context": context}
    doors = {"server.token": token, "server.allowed_hosts": allowed_host or None, "server.cors": cors or None}
    flags["server.isolation"] = isolation
    kept = {"draft.remember_answers": remember_answers, "server.keep_responses": keep_responses}
    work = {
        "server.queue": queue,
        "server.ttl": ttl,
        "server.on_demand": on_demand,
        "server.log_prompts": log_prompts,
    }
    user = load_settings({**flags, **doors, **kept, **work})
    secret = api_key or (user.server.api_key.get_secret_value() if user.server.api_key is not None else "")
    settings = ServerSettings(
        host=user.server.host,
        port=port if port is not None else user.server.port,
        api_key=secret,
        allowed_hosts=tuple(name.lower() for name in user.server.allowed_hosts),
        app_secret=home_secret() if ui and user.server.token and not secret else b"",
        cors_origins=chosen(user.server.cors),
        load_on_demand=user.server.on_demand,
        ttl_s=None if user.server.ttl < 0 else float(user.server.ttl),
        log_prompts=user.server.log_prompts,
        remember_answers=user.draft.remember_answers,
        ollama_version=user.server.ollama_version,
    )
    check_address(settings)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(levelname)s %(message)s")
    store = open_shelf()
    shelf = StoreShelf(store, user, slots=parallel)
    default = shelf.spec(model, draft).id if model else shelf.embedded()
    named = _aliases(alias or ())  # stronger than the settings, and looked at first
    services = Services(
        Runtime(load_pair, queue_limit=user.server.queue),
        shelf,
        settings,
        default_model=default,
        store=store,
        aliases=Aliases({**named, **user.server.aliases, **named}, data_folder() / "aliases.json"),
        downloads=Downloads(from_hub(store)),
        responses=Responses(data_folder() / "responses.sqlite", enabled=user.server.keep_responses),
    )
    app = create_app(services)
    if ui:
        _mount_app(app, services)
    background: set[asyncio.Task[None]] = set()

    async def load_default(wanted: str) -> None:
        try:
            spec = await asyncio.to_thread(shelf.spec, wanted, draft if model else "auto")
            await services.runtime.load(dataclasses.replace(spec, ttl_s=None if model else settings.ttl_s))
            typer.echo(t()("cli.serve.loaded", model=spec.id))
            settle()
        except Exception as error:  # noqa: BLE001 - the server goes on: another model may be asked for
            services.load_failure = error
            services.event_log.write("model", f"{wanted} could not be loaded: {error}", model=wanted)
            said = error.reason_or_words if isinstance(error, ForedraftError) else Reason("said", {"text": str(error)})
            typer.echo(t()("cli.serve.load_failed", model=wanted, why=said), err=True)
            embedded = shelf.embedded()
            if or_embedded and embedded not in ("", wanted):
                typer.echo(t()("cli.serve.instead", model=embedded), err=True)
                services.default_model = embedded
                await load_default(embedded)

    def ready() -> None:
        words = t()
        for problem in store.problems:
            typer.echo(words("cli.ls.not_looked_at", problem=printable(words(problem))), err=True)
        opened = services.settings
        shown = url(opened.host, opened.port)
        if settings.remember_answers:
            typer.echo(words("cli.serve.answers_kept"))
        if services.responses.enabled:
            typer.echo(words("cli.serve.responses_kept"))
        typer.echo(words("cli.serve.serves", url=shown))
        if ui:
            once = f"/?token={ticket(opened.app_secret, opened.port)}" if opened.app_secret else ""
            typer.echo(words("cli.serve.open_once" if once else "cli.serve.open", url=f"{shown}{once}"))
            if user.server.token and not secret and not once:
                typer.echo(words("cli.serve.no_secret"), err=True)
        if default and (model or not user.server.on_demand):
            task = asyncio.get_running_loop().create_task(load_default(default))
            background.add(task)
            task.add_done_callback(background.discard)

    if verbose:
        services.event_log.listeners.append(lambda entry: typer.echo(f"{entry.kind:8} {entry.message}"))
    run(app, services, ready)


def _aliases(given: Sequence[str]) -> dict[str, str]:
    """The names of `--alias`."""
    for one in given:
        name, mark, model = one.partition("=")
        if not (name and mark and model):
            raise typer.BadParameter(f"{one!r} is not NAME=MODEL.", param_hint="--alias")
    return {name: model for name, _, model in (one.partition("=") for one in given)}


def _mount_app(app: FastAPI, services: Services) -> None:
    """Put the chat app on the same server, where it is installed."""
    try:
        from foredraft.ui.app import mount
    except ImportError:
        return
    mount(app, services)
    if services.chats is not None and services.chats.notice in ("unusable", "locked", "full"):
        typer.echo(t()("notices.unusable"), err=True)
