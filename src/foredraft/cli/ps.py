"""`foredraft ps`: what is loaded in the running server."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any

import typer

from foredraft.cli.remote import Host, Port, server, time_words
from foredraft.cli.words import t

COLUMNS = (
    "model",
    "draft",
    "status",
    "speculation",
    "numerics",
    "accepted",
    "size",
    "answers",
    "idle",
    "leaves",
)


def ps(
    host: Host = None,
    port: Port = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the loaded models with their drafts, how many guesses were accepted, memory and idle time."""
    from foredraft.cli.tables import print_table
    from foredraft.core.reasons import Reason
    from foredraft.scheduling.request import SpeculationStatus

    with server(host, port) as client:
        models = client.models()
    if as_json:
        print(json.dumps({"models": models}, ensure_ascii=False, indent=2))
        return
    if not models:
        print(t()("cli.none_loaded"))
        return
    words = t()
    print_table(
        [words(f"cli.ps.{column}") for column in COLUMNS],
        [_row(model) for model in models],
        right=frozenset({5, 6, 7, 8, 9}),
    )
    for model in models:
        for part, place in model["places"].items():
            where = words(Reason.from_dict(place["why"])) if "why" in place else place["words"]
            print(words(f"cli.ps.place_{part}", model=model["id"], place=where))
        if model["deaths"]:
            print(words("cli.ps.deaths", model=model["id"], n=model["deaths"], last=model["last_death"]))
        speculation = SpeculationStatus.from_dict(model["speculation"])
        if speculation.status != "active" and speculation.reason is not None:
            print(f"{model['id']}: {words(speculation.reason)}")


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    from foredraft.cli.tables import size_words

    main, draft, totals = model["model"], model["draft"], model["totals"]
    size = sum(part["size_bytes"] for part in (main, draft) if part is not None)
    words = t()
    status = words(f"server.status_{model['status']}")
    if model["loading"] is not None:
        part, share = model["loading"]["part"], round(100 * model["loading"]["progress"])
        status = words(f"cli.ps.loading_{part}", p=share)
    elif model["running"] or model["waiting"]:
        status = words("cli.ps.at_work", running=model["running"], waiting=model["waiting"])
    acceptance, numerics = totals["acceptance"], model["numerics"]
    return (
        model["id"],
        draft["name"] if draft is not None else "–",
        status,
        words(f"spec.status_{model['speculation']['status']}"),
        numerics["mode"] if numerics is not None else "–",
        f"{acceptance:.0%}" if acceptance is not None else "–",
        size_words(size) if size else "–",
        str(totals["answers"]),
        time_words(model["idle_s"]),
        time_words(max(0.0, model["expires_at"] - time.time()))
        if model["expires_at"] is not None
        else words("cli.ps.never"),
    )
