"""What the commands share that speak to the running server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.options import GenerateOptions
from foredraft.cli.structured import structure_of
from foredraft.cli.words import t
from foredraft.core.errors import ForedraftError
from foredraft.core.params import SamplingParams, SpeculationParams
from foredraft.core.reasons import Reason

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


@dataclass(frozen=True, slots=True)
class Served:
    """The running server, and the model there that answers. Use as a context manager."""

    client: Client
    model: str
    draft: str | None
    """The name of the draft that is loaded there."""
    draft_path: str | None = None

    def answer(self, messages: Sequence[Mapping[str, Any]], asked: GenerateOptions) -> RemoteAnswer:
        """Answer a conversation."""
        return self.client.chat(messages, model=self.model, **_how(asked))

    def go_on(self, text: str, asked: GenerateOptions) -> RemoteAnswer:
        """Continue a text, without the chat template."""
        return self.client.complete(text, model=self.model, **_how(asked))

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """For as long as it is used: says on stderr who answers, and a closed pipe ends quietly."""
        from foredraft.cli import terminal

        with self.client, terminal.closed_pipes_are_quiet():
            names = {"model": self.model, "url": self.client.address, "draft": self.draft or Reason("none")}
            terminal.errors().print(t()("cli.answered_by", **names), style="dim", markup=False)
            yield

    @contextlib.contextmanager
    def draft_left_alone(self, asked: GenerateOptions) -> Iterator[None]:
        """For one answer with a draft that was named: afterwards the server, which is shared, has its own again."""
        try:
            yield
        finally:
            if asked.draft not in (None, "", "auto", "off"):
                with contextlib.suppress(ForedraftError):  # the server is gone, or somebody answers with another now
                    self.client.set_draft(self.model, self.draft_path or "off")


def served(asked: GenerateOptions) -> Served | None:
    """The running server, where it has the model that was asked for (any, where none was named) and nothing was said
    about how to load it. FOREDRAFT_NO_SERVER=1 keeps commands away from it."""
    as_usual = asked.settings() == GenerateOptions(model=asked.model).with_settings().settings() and not asked.force
    formed = asked.json_schema is not None or asked.grammar is not None
    if os.environ.get("FOREDRAFT_NO_SERVER") or not as_usual or (asked.raw and formed):
        return None  # (completions of OpenAI's dialect know no form)
    client = find_server()
    if client is None:
        return None
    states = client.models()
    ready = _ready(states)
    unnamed = next((state["id"] for state in states if state["default"]), None)
    name = _name(asked.model, list(ready)) if asked.model else unnamed
    if name not in ready:
        client.close()
        return None
    return _served(client, ready[name])


def switched(before: Served, wanted: str) -> Served:
    """The same server with another model, which it loads where it has not. Raises `ServerError`, and what the model
    list says of a name that it does not know."""
    from foredraft.config.shelf import open_shelf

    ready = _ready(before.client.models())
    name = _name(wanted, list(ready))
    if name is not None:
        return _served(before.client, ready[name])
    there = _there(wanted)
    return _served(before.client, before.client.load(there if there != wanted else open_shelf().require(wanted).name))


def _ready(states: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The loaded models that write, by id."""
    return {s["id"]: s for s in states if s["kind"] == "text" and s["status"] in ("ready", "changing")}


def _served(client: Client, state: dict[str, Any]) -> Served:
    draft = state["draft"] or {}
    return Served(client, state["id"], draft.get("name"), draft.get("path"))


def _name(wanted: str, ready: list[str]) -> str | None:
    """The loaded model that is meant: by its id, or by what the shelf makes of a shorter name or a path."""
    from foredraft.config.shelf import open_shelf

    if wanted in ready:
        return wanted
    try:
        found = open_shelf().find(wanted).name
    except ForedraftError:  # said by whoever loads it
        return None
    return found if found in ready else None


def _there(model: str) -> str:
    """A model or draft as the server understands it, which may run in another folder: paths are whole."""
    path = Path(model).expanduser()
    return str(path.absolute()) if path.is_file() else model


def _how(asked: GenerateOptions) -> dict[str, Any]:
    """Fields of the request."""
    structure = structure_of(asked)
    return {
        **({"response_format": structure.response_format} if structure is not None else {}),
        "draft_model": _there(asked.draft or "auto"),
        "draft_required": asked.draft_required,
        "stop": asked.stop,
        "max_tokens": asked.max_tokens,
        **asked.said(SamplingParams),
        "speculative": asked.said(SpeculationParams),
    }


def _place(host: str | None, port: int | None) -> tuple[str, int, str]:
    from foredraft.config.settings import load_settings

    settings = load_settings({"server.host": host, "server.port": port}).server
    own = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - any address is ours too
    return own, settings.port, settings.api_key.get_secret_value() if settings.api_key is not None else ""


def time_words(seconds: float) -> str:
    """A duration for people: "12 s", "5 min", "2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
