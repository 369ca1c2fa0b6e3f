"""`foredraft log`: what the running server did. Prompts are not in it."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from typing import Annotated, Any

import typer

from foredraft.cli.remote import Host, Port, server


def log(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it happens, until Ctrl-C.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, max=2000, help="Entries to begin with.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object an entry.")] = False,
    host: Host = None,
    port: Port = None,
) -> None:
    """Show the running server's log: requests, answers with their draft's figures, models that come and go."""
    with server(host, port) as client, contextlib.suppress(KeyboardInterrupt):
        for entry in client.log(count, follow=follow):
            print(json.dumps(entry, ensure_ascii=False) if as_json else _line(entry), flush=follow)


def _line(entry: dict[str, Any]) -> str:
    from foredraft.cli.tables import printable

    at = datetime.fromtimestamp(entry["at"]).astimezone()
    model = f" {entry['model']}:" if "model" in entry and entry["kind"] == "answer" else ""
    return printable(f"{at:%H:%M:%S} {entry['kind']:8}{model} {entry['message']}")
