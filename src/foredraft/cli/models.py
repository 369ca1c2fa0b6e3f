"""What the commands about models share: the shelf, names and their completion, the language of reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foredraft.cli.words import t

if TYPE_CHECKING:
    from foredraft.models.store import ModelFile, ModelStore


def complete_model(incomplete: str) -> list[str]:
    """Names on the shelf that begin with what was typed; nothing at all where the shelf cannot be read."""
    from foredraft.config.shelf import open_shelf

    try:
        names = [model.name for model in open_shelf().models()]
    except Exception:  # noqa: BLE001 - a completion must never print an error into the user's prompt
        return []
    return [name for name in names if name.startswith(incomplete.lower())]


def complete_draft(incomplete: str) -> list[str]:
    """What `--draft` takes: words, and names on the shelf."""
    return [word for word in ("auto", "builtin", "off") if word.startswith(incomplete)] + complete_model(incomplete)


ModelName = Annotated[
    str, typer.Argument(help="A name on the shelf, a short form of one, or a file.", autocompletion=complete_model)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def shelf() -> ModelStore:
    """The shelf, with what could not be looked at said on stderr."""
    from foredraft.config.shelf import open_shelf

    return open_shelf()


def draft_words(draft: ModelFile) -> str:
    """A draft's name, or where it is."""
    from foredraft.core.params import BUILTIN

    return t()("cli.built_in") if draft.name == BUILTIN else draft.name


def drafts_for(draft: ModelFile, store: ModelStore) -> str:
    """What a draft that reads hidden rows is for: the models here that it fits, else what they would have to be."""
    from foredraft.models.head_fit import made_for

    assert draft.facts is not None
    fitting = [main.name for main in store.mains(draft)]
    return ", ".join(fitting) if fitting else t()("cli.none_here", models=made_for(draft.facts))


def as_json(model: ModelFile) -> dict[str, object]:
    """A model as plain values: sizes in bytes, lengths in tokens."""
    facts = model.facts
    return {
        "name": model.name,
        "path": str(model.path),
        "source": model.source,
        "size_bytes": model.size_bytes,
        "usable": model.usable,
        "problem": str(model.problem) if model.problem is not None else None,
        "kind": facts.kind if facts else None,
        "own_draft": facts.heads.here > 0 if facts and facts.kind == "text" else None,
        "architecture": facts.architecture if facts else None,
        "params": facts.n_params if facts else None,
        "quantisation": facts.quantisation if facts else None,
        "quantisation_said": facts.quantisation_said or None if facts else None,
        "context": facts.n_ctx_train if facts else None,
        "vocabulary": facts.vocabulary.n_tokens if facts else None,
        "fingerprint": facts.vocabulary.fingerprint if facts else None,
    }
