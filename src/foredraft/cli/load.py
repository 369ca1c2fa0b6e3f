"""`foredraft load MODEL`: into the running server; with --estimate-only what it will need, nothing loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.models import Json, ModelName, complete_model, shelf
from foredraft.cli.options import load_options
from foredraft.cli.remote import Host, Port, server
from foredraft.cli.tables import print_table, size_words
from foredraft.cli.words import t
from foredraft.config.load_settings import LoadSettings
from foredraft.core.declared import declared
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from foredraft.models.memory import Estimate
    from foredraft.server.client import Client


@load_options
def load(
    model: ModelName,
    estimate_only: Annotated[bool, typer.Option("--estimate-only", help="Say what it needs, load nothing.")] = False,
    draft: Annotated[
        str | None, typer.Option("--draft", "-d", help="A name, builtin, auto or off.", autocompletion=complete_model)
    ] = None,
    ttl: Annotated[int | None, typer.Option("--ttl", help="Idle seconds until it leaves. Default: never.")] = None,
    host: Host = None,
    port: Port = None,
    json_output: Json = False,
    *,
    given: Mapping[str, Any],
) -> None:
    """Load a model and its draft into the running server, or say how much memory that will take (--estimate-only)."""
    from foredraft.config.sections import key_of
    from foredraft.config.settings import load_settings
    from foredraft.models.memory import LoadPlan, estimate, memory_check, nearest_fit, require_fit, this_machine
    from foredraft.models.recommend import choose_draft

    if not estimate_only:
        with server(host, port) as client:
            _load_in_server(client, model, given, draft or "auto", ttl, json_output)
        return
    store = shelf()
    main = store.require(model)
    keys = {name: key_of(LoadSettings, one) for name, one in declared(LoadSettings).items() if name in given}
    settings = load_settings({".".join(key): given[name] for name, key in keys.items() if key is not None})
    own = settings.for_model(main.name)
    wanted = {**settings.defaults(LoadSettings, main.name), **given}
    plan = LoadPlan(
        context=wanted["context"],
        kv_type=wanted["kv_type"],
        slots=wanted["slots"],
        gpu_layers=wanted["gpu_layers"],
        draft_gpu_layers=wanted["draft_gpu_layers"],
    )
    machine, rail = this_machine(), settings.memory.guardrail
    wish = draft or own.draft or "auto"
    words = t()
    chosen, why = None, ""
    if wish == "auto":
        choice = choose_draft(main, store, memory=memory_check(plan, machine=machine, guardrail=rail))
        chosen, why = choice.draft, words(choice.why)
    elif wish != "off":
        chosen = store.draft_named(main, wish)
        store.pair(main, chosen).require()
    assert main.facts is not None
    draft_facts = chosen.facts if chosen is not None else None
    made = estimate(main.facts, draft_facts, plan, machine=machine, guardrail=rail)
    if json_output:
        named = {"model": main.name, "draft_name": chosen.name if chosen is not None else None}
        hint = None if made.fits else nearest_fit(main.facts, draft_facts, made)
        print(
            json.dumps(
                {**named, **made.as_json(), "hint": str(hint) if hint is not None else None},
                ensure_ascii=False,
                indent=2,
            )
        )
        if not made.fits and rail != "off":
            raise typer.Exit(1)
        return
    _print(made)
    print(why or (words("cli.load.draft", draft=chosen.name) if chosen is not None else words("reason.no_draft")))
    require_fit(main.facts, draft_facts, plan, machine=machine, guardrail=rail)


def _load_in_server(
    client: Client, model: str, settings: Mapping[str, Any], draft: str, ttl: int | None, json_output: bool
) -> None:
    state = client.load(model, draft=draft, settings=settings, ttl=ttl)
    if json_output:
        print(json.dumps(state, ensure_ascii=False, indent=2))
        return
    words, loaded = t(), {"model": state["id"], "s": state["load_s"]}
    if state["draft"] is not None:
        print(words("cli.load.loaded_with", draft=state["draft"]["name"], **loaded))
    else:
        print(words("cli.load.loaded", **loaded))
    for note in state.get("reasons", state["notes"]):
        print(words(Reason.from_dict(note)) if isinstance(note, dict) else note)


def _print(made: Estimate) -> None:
    words = t()
    parts = [(words("cli.load.main"), made.main)]
    parts += [(words("cli.load.the_draft"), made.draft)] if made.draft is not None else []
    rows = [
        (name, *(size_words(size) for size in (need.weights, need.kv, need.compute, need.overhead, need.total)))
        for name, need in parts
    ]
    total = [
        sum(getattr(need, field) for _, need in parts) for field in ("weights", "kv", "compute", "overhead", "total")
    ]
    rows.append((words("cli.load.together"), *(size_words(size) for size in total)))
    columns = [words(f"cli.load.{column}") for column in ("weights", "kv", "scratch", "rest", "total")]
    print_table(["", *columns], rows, right=frozenset({1, 2, 3, 4, 5}))
    free = [words("cli.load.free", size=made.machine.ram)]
    if made.machine.video_total:
        free.append(words("cli.load.free_video", size=made.machine.video, needed=made.on_gpu))
    print(words("cli.load.fits" if made.fits else "cli.load.fits_not", n=made.context, free=tuple(free)))
