"""`foredraft get REPO[@quant]` (alias `pull`): download a model, and the draft that suits it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foredraft.cli.models import Json, shelf
from foredraft.cli.tables import print_table, size_words
from foredraft.cli.words import t

if TYPE_CHECKING:
    from foredraft.models.hub import HubChoice, HubRepository
    from foredraft.models.recommend import CatalogueModel
    from foredraft.models.store import ModelStore


def _complete(incomplete: str) -> list[str]:
    from foredraft.models.recommend import catalogue

    return [entry.name for entry in catalogue() if entry.name.startswith(incomplete.lower())]


def get(
    wish: Annotated[
        str | None,
        typer.Argument(
            metavar="[REPO[@QUANT]]",
            help="OWNER/NAME on the hub, with @q4_k_m or :Q4_K_M, or a catalogue name. Alone: the catalogue.",
            autocompletion=_complete,
        ),
    ] = None,
    with_draft: Annotated[bool, typer.Option("--with-draft", help="Get the recommended draft too.")] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="List the choices and what fits, download nothing.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Download a model from the Hugging Face hub."""
    from foredraft.models.hub import choose, look, parse_wish, recommended_repositories

    if wish is None:
        _print_catalogue(json_output)
        return
    repository, quantisation = parse_wish(wish)
    found = look(repository)
    room = _room()
    if only_list:
        _print_choices(found, room, json_output)
        return
    wanted = [(found, choose(found, quantisation, room=room))]
    if with_draft:
        drafts = recommended_repositories(repository)
        if drafts:
            draft = look(drafts[0])
            wanted.append((draft, choose(draft)))
        else:
            print(t()("cli.get.no_draft", repository=repository), file=sys.stderr)
    store = shelf()
    paths = []
    for source, choice in wanted:
        if not json_output:
            key = "cli.get.choice" if choice.size <= room else "cli.get.choice_large"
            said = {"repository": source.name, "quantisation": choice.quantisation, "size": choice.size}
            print(t()(key, **said, free=room), file=sys.stderr)
        paths.append(_download(store, source, choice, quiet=json_output))
    models = [store.find(path) for path in paths]
    if json_output:
        print(json.dumps([{"name": model.name, "path": str(model.path)} for model in models], ensure_ascii=False))
        return
    for model in models:
        print(f"{model.name}  {model.path}")


def _room() -> int:
    """Bytes of memory that a model may take."""
    from foredraft.models.memory import this_machine

    machine = this_machine()
    return max(machine.ram, machine.video)


def _download(store: ModelStore, repository: HubRepository, choice: HubChoice, *, quiet: bool) -> Path:
    from foredraft.models.hub import download
    from foredraft.pair.fetching import download_bar

    with download_bar(quiet=quiet) as arrived:
        return download(repository, choice, store.own, arrived)


def _print_choices(repository: HubRepository, room: int, json_output: bool) -> None:
    if json_output:
        choices = [
            {
                "quantisation": choice.quantisation,
                "size_bytes": choice.size,
                "fits": choice.size <= room,
                "files": [file.path for file in choice.files],
            }
            for choice in repository.choices
        ]
        print(json.dumps({"repository": repository.name, "choices": choices}, ensure_ascii=False, indent=2))
        return
    words = t()
    rows = [
        (choice.quantisation, size_words(choice.size), words("cli.yes" if choice.size <= room else "cli.no"))
        for choice in repository.choices
    ]
    print_table([words(f"cli.get.{column}") for column in ("quant", "size", "fits")], rows, right=frozenset({1}))


def _drafts_of(entry: CatalogueModel) -> str:
    inside = (t()("cli.built_in"),) if entry.own_draft else ()
    return ", ".join((*inside, *entry.drafts)) or "–"


def _print_catalogue(json_output: bool) -> None:
    from foredraft.models.recommend import catalogue

    if json_output:
        entries = [
            {
                "name": entry.name,
                "repository": entry.repository,
                "params": entry.params,
                "drafts": list(entry.drafts),
                "own_draft": entry.own_draft,
            }
            for entry in catalogue()
        ]
        print(json.dumps(entries, ensure_ascii=False, indent=2))
        return
    words = t()
    rows = [
        (entry.name, words("cli.billions", n=entry.params), _drafts_of(entry), entry.repository)
        for entry in catalogue()
    ]
    columns = [words(f"cli.get.{column}") for column in ("name", "params", "drafts", "repository")]
    print_table(columns, rows, right=frozenset({1}))
