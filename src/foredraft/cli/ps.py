"""`foredraft ps`: what is loaded in the running server."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from foredraft.cli.remote import Host, Port, server, time_words


def ps(
    host: Host = None,
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the loaded models with their drafts, how many guesses were accepted, memory and idle time."""
    from foredraft.cli.tables import print_table

    with server(host, port) as client:
        models = client.models()
    if as_json:
        print(json.dumps({"models": models}, ensure_ascii=False, indent=2))
        return
    if not models:
        print("No model is loaded.")
        return
    columns = (
        "MODEL",
        "DRAFT",
        "STATUS",
        "SPECULATION",
        "NUMERICS",
        "ACCEPTED",
        "SIZE",
        "ANSWERS",
        "IDLE",
        "LEAVES IN",
    )
    print_table(columns, [_row(model) for model in models], right=frozenset({5, 6, 7, 8, 9}))
    for model in models:
        for part, place in model["places"].items():
            print(f"{model['id']}: {part} {place['words']}.")
        if model["deaths"]:
            print(f"{model['id']}: loaded again {model['deaths']} times. {model['last_death']}")
        reason = model["speculation"]["reason"]
        if model["speculation"]["status"] != "active" and reason:
            print(f"{model['id']}: {reason}")


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    from foredraft.cli.tables import size_words

    main, draft, totals = model["model"], model["draft"], model["totals"]
    size = sum(part["size_bytes"] for part in (main, draft) if part is not None)
    status = model["status"]
    if model["loading"] is not None:
        status = f"loading {model['loading']['part']} {model['loading']['progress']:.0%}"
    elif model["running"] or model["waiting"]:
        status = f"{model['running']} running, {model['waiting']} waiting"
    acceptance, numerics = totals["acceptance"], model["numerics"]
    return (
        model["id"],
        draft["name"] if draft is not None else "–",
        status,
        model["speculation"]["status"],
        numerics["mode"] if numerics is not None else "–",
        f"{acceptance:.0%}" if acceptance is not None else "–",
        size_words(size) if size else "–",
        str(totals["answers"]),
        time_words(model["idle_s"]),
        time_words(max(0.0, model["expires_at"] - time.time())) if model["expires_at"] is not None else "never",
    )
