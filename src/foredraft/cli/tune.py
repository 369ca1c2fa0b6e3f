"""`foredraft tune`: what was learned about pairs on this machine, and forgetting it."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foredraft.cli.models import Json, complete_model
from foredraft.cli.tables import print_table
from foredraft.cli.words import t
from foredraft.core.reasons import Reason

if TYPE_CHECKING:
    from foredraft.core.json_cache import Entry

_SHOWN = {"threads", "draft_threads", "kv_type", "flash_attention", "draft_device", "context"}
"""What of a key is shown with `--json`: the settings."""


def tune(
    model: Annotated[
        str | None,
        typer.Argument(help="Only pairs with this model, as main model or draft.", autocompletion=complete_model),
    ] = None,
    forget: Annotated[
        bool, typer.Option("--forget", help="Delete it; it is measured and learned anew at the next load.")
    ] = False,
    json_output: Json = False,
) -> None:
    """Show what is kept about pairs: what passes cost here, and when that was measured. A model that is loaded now (in
    a server, say) writes what it knows again when it is closed."""
    from foredraft.config.folders import cache_folder
    from foredraft.core.errors import ForedraftError
    from foredraft.core.json_cache import entries

    found = entries(cache_folder() / "tuning")
    if model is not None:
        wanted = _file_of(model)
        found = [entry for entry in found if any(wanted in name.lower() for name in _files(entry))]
        if not found:
            raise ForedraftError(Reason("nothing_kept", {"model": model}), hint=Reason("hint_tune"))
    if forget:
        for entry in found:
            entry.path.unlink(missing_ok=True)
    rows = [_row(entry) for entry in found]
    if json_output:
        print(json.dumps({"forgotten": forget, "kept": rows}, ensure_ascii=False, indent=2))
    elif forget:
        pairs = len({(row["main"], row["draft"]) for row in rows})
        print(t()("cli.tune.forgotten", n=len(found), pairs=pairs))
    elif rows:
        _print(rows)
    else:
        print(t()("cli.tune.nothing"))


def _file_of(model: str) -> str:
    """The file name of a model on the shelf; what was typed, where there is none (its file may be gone)."""
    from foredraft.config.shelf import open_shelf
    from foredraft.core.errors import ModelError

    try:
        return open_shelf().find(model).path.name.lower()
    except ModelError:
        return model.lower()


def _files(entry: Entry) -> list[str]:
    """The names of the files an entry is about, main model and draft."""
    both = [entry.key.get("main"), entry.key.get("draft")]
    return [name.rsplit(" ", 2)[0] for name in both if isinstance(name, str)]


def _row(entry: Entry) -> dict[str, Any]:
    """An entry as plain values: seconds, and times plain."""
    from foredraft.pair.what_pays import ceiling
    from foredraft.speculative.controllers.adaptive.costs import CostModel

    files = [*_files(entry), None, None]
    row: dict[str, Any] = {"kind": entry.kind, "main": files[0], "draft": files[1], "written": _when(entry.changed)}
    costs = entry.load(CostModel.from_dict) if entry.kind == "costs" else None
    if costs is not None:
        row |= {
            "measured": _when(costs.measured_at),
            "plain_step_s": round(costs.pass_s(1), 6),
            "bound": round(costs.bound, 3),
            "draft_step": round(costs.draft_s() / costs.pass_s(1), 4) if costs.drafts else None,
            "at_most": round(ceiling(costs), 3) if costs.drafts else None,
            "settings": {name: value for name, value in entry.key.items() if name in _SHOWN},
        }
    return row


def _print(rows: list[dict[str, Any]]) -> None:
    words = t()
    names = ("main", "draft", "kept", "plain_step", "bound", "draft_step", "at_most", "measured")
    columns = [words(f"cli.tune.{name}") for name in names]
    cells = [
        (
            row["main"] or words("cli.tune.unreadable"),
            row["draft"] or "–",
            words(f"cli.tune.kind_{row['kind']}") if f"cli.tune.kind_{row['kind']}" in words else row["kind"],
            f"{1e3 * row['plain_step_s']:.3g} ms" if "bound" in row else "–",
            f"{row['bound']:.1f}×" if "bound" in row else "–",
            f"{100 * row['draft_step']:.0f} %" if row.get("draft_step") is not None else "–",
            f"{row['at_most']:.1f}×" if row.get("at_most") is not None else "–",
            row.get("measured") or row["written"],
        )
        for row in rows
    ]
    print_table(columns, cells, right=frozenset({3, 4, 5, 6}))


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else "–"
