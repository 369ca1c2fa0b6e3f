"""`foredraft ls`: every model on this machine, with its draft."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from foredraft.cli.models import Json, as_json, draft_words, drafts_for, shelf
from foredraft.cli.tables import count_words, print_table, printable, size_words
from foredraft.cli.words import t

if TYPE_CHECKING:
    from foredraft.models.recommend import Choice
    from foredraft.models.store import ModelFile


def ls(json_output: Json = False) -> None:
    """List the models on this machine, and the draft that each would take."""
    from foredraft.models.recommend import choose_draft

    store = shelf()
    models = store.models()
    choices = {model.name: choose_draft(model, store) for model in models if model.usable}
    helps = {model.name: drafts_for(model, store) for model in models if model.drafts_only}
    if json_output:
        made = [_json(model, choices.get(model.name), helps.get(model.name)) for model in models]
        print(json.dumps(made, ensure_ascii=False, indent=2))
        return
    words = t()
    columns = [words(f"cli.ls.{column}") for column in ("name", "size", "params", "context", "draft", "where")]
    rows = [_row(model, choices.get(model.name), helps.get(model.name)) for model in models]
    print_table(columns, rows, right=frozenset({1, 2, 3}))
    for problem in store.problems:
        print(words("cli.ls.not_looked_at", problem=printable(words(problem))), file=sys.stderr)
    if not any(model.usable and model.source != "embedded" for model in models):
        print_first_steps()


def print_first_steps() -> None:
    """What would suit this machine, for someone without models."""
    import psutil

    from foredraft.models.memory import this_machine
    from foredraft.models.recommend import first_run_hint

    machine = this_machine()
    gpu = machine.video_total or sys.platform == "darwin"  # there a GPU shares the memory
    cores = None if gpu else psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    words = t()
    for line in first_run_hint(machine.video or machine.ram, cores=cores):
        print(words(line), file=sys.stderr)


def _row(model: ModelFile, choice: Choice | None, helps: str | None) -> tuple[str, ...]:
    facts, words = model.facts, t()
    if facts is None:
        problem = words(model.problem) if model.problem is not None else ""
        return model.name, size_words(model.size_bytes), "–", "–", words("cli.ls.unreadable", why=problem), model.source
    draft = "–"
    if facts.missing is not None:
        draft = words("reason.part_missing", i=facts.missing[0], n=facts.missing[1])
    elif helps is not None:
        draft = words("cli.ls.draft_for", models=helps)
    elif facts.kind != "text":
        draft = words(f"cli.kind_{facts.kind}")
    elif choice is not None and choice.draft is not None:
        draft = draft_words(choice.draft)
        if choice.gain is not None:
            draft += words("cli.ls.measured" if choice.gain.measured else "cli.ls.estimated", x=choice.gain.speedup)
    elif facts.heads.said:
        draft = words("cli.ls.no_weights" if facts.heads.missing else "cli.ls.has_own")
    context = words("cli.number", n=facts.n_ctx_train) if facts.n_ctx_train else "–"
    return model.name, size_words(model.size_bytes), count_words(facts.n_params), context, draft, model.source


def _json(model: ModelFile, choice: Choice | None, helps: str | None) -> dict[str, object]:
    draft = None
    if choice is not None and choice.draft is not None:
        gain = choice.gain
        draft = {
            "draft": choice.draft.name,
            "expected_speedup": round(gain.speedup, 3) if gain is not None and not gain.measured else None,
            "measured_speedup": round(gain.speedup, 3) if gain is not None and gain.measured else None,
        }
    return {**as_json(model), "draft": draft, "draft_for": helps}
