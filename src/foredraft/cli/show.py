"""`foredraft show MODEL`: all that is known of one model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from foredraft.cli.models import Json, ModelName, as_json, drafts_for, shelf
from foredraft.cli.tables import count_words, printable, size_words
from foredraft.cli.words import language
from foredraft.models.heads import made_for, own_head

if TYPE_CHECKING:
    from foredraft.models.facts import ModelFacts
    from foredraft.models.store import ModelFile, ModelStore


def show(model: ModelName, json_output: Json = False) -> None:
    """Show what a model file says of itself, the draft it would take, and what loading it needs."""
    store = shelf()
    found = store.find(model)
    if json_output:
        print(json.dumps({**as_json(found), **_details(found)}, ensure_ascii=False, indent=2))
        return
    rows = list(_rows(found, store))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {printable(value)}")


def _details(model: ModelFile) -> dict[str, object]:
    if model.facts is None:
        return {}
    facts, vocabulary, shape = model.facts, model.facts.vocabulary, model.facts.shape
    from foredraft.config.folders import cache_folder
    from foredraft.pair.numerics import known

    return {
        "numerics": known(model.path, cache_folder() / "numerics"),
        "paths": [str(path) for path in facts.paths],
        "missing_part": list(facts.missing) if facts.missing else None,
        "params_active": facts.n_active,
        "quantisation_mix": {name: round(share, 4) for name, share in facts.mix.items()},
        "rewind": facts.rewind or None,
        "chat_template": facts.has_template,
        "layers": shape.n_layers,
        "heads": None
        if not facts.heads.said
        else {"said": facts.heads.said, "here": facts.heads.here, "problem": own_head(facts) or None},
        "made_for": made_for(facts) if model.drafts_only else None,
        "width": shape.n_embd,
        "experts": shape.n_experts,
        "experts_used": shape.n_experts_used,
        "tokenizer": {
            "model": vocabulary.model,
            "pre": vocabulary.pre,
            "kind": vocabulary.kind,
            "tokens": vocabulary.n_tokens,
            "bos": vocabulary.bos if vocabulary.add_bos else None,
            "eos": vocabulary.eos,
            "add_bos": vocabulary.add_bos,
            "add_eos": vocabulary.add_eos,
            "special": dict(facts.special),
        },
    }


def _quantisation(facts: ModelFacts) -> str:
    """The mixture's name, and what it is made of: "Q4_K_M: Q4_K 76 %, Q6_K 24 % of the weights"."""
    if not facts.quantisation:
        return "–"
    parts = [f"{name} {100 * share:.0f} %" for name, share in facts.mix.items() if share >= 0.005]
    said = f" (by its tensors; the file says {facts.quantisation_said})" if facts.quantisation_said else ""
    return f"{facts.quantisation}{said}: {', '.join(parts)} of the weights"


def _numerics(model: ModelFile) -> str:
    from foredraft.config.folders import cache_folder
    from foredraft.pair.numerics import known

    found = known(model.path, cache_folder() / "numerics")
    if found is None:
        return "not measured yet: the first load does it"
    speeds = f"write {found['writing']:.2f} and read prompts {found['reading']:.2f} times as fast as fast ones"
    return f"auto takes {found['mode']}; exact numerics {speeds} here"


def _draft_inside(facts: ModelFacts) -> list[str]:
    """One line about the heads of a main model, where its header speaks of any."""
    if facts.kind != "text" or not facts.heads.said:
        return []
    why = own_head(facts)
    if why:
        return [f"cannot be used: {why}"]
    size = sum(facts.weights.layers[-facts.heads.here :])
    return [f"yes, {size_words(size)} of the file (--draft builtin)"]


def _rows(model: ModelFile, store: ModelStore) -> list[tuple[str, str]]:
    rows = [("name", model.name), ("file", str(model.path)), ("where", model.source)]
    rows.append(("size", size_words(model.size_bytes)))
    facts = model.facts
    if facts is None:
        return [*rows, ("problem", model.problem)]
    vocabulary = facts.vocabulary
    rows += [
        ("called", facts.name or "–"),
        ("architecture", facts.architecture + (f" ({facts.rewind})" if facts.rewind else "")),
        ("kind", facts.kind),
        ("parameters", count_words(facts.n_params)),
        ("quantisation", _quantisation(facts)),
        ("context", f"{facts.n_ctx_train:,} tokens"),
        ("tokenizer", f"{vocabulary.model} / {vocabulary.pre or 'not said'}, {vocabulary.n_tokens:,} tokens"),
        ("fingerprint", vocabulary.fingerprint or "–"),
        ("chat template", "yes" if facts.has_template else "no"),
    ]
    if facts.shape.n_experts:
        experts = f"{facts.shape.n_experts_used} of {facts.shape.n_experts}"
        rows.append(("experts", f"{experts} a token: {count_words(facts.n_active)} active"))
    rows += [("draft inside", words) for words in _draft_inside(facts)]
    if model.drafts_only:
        rows.append(("is a draft for", drafts_for(model, store)))
        rows.append(("made for", made_for(facts)))
    if facts.missing is not None:
        rows.append(("problem", f"file {facts.missing[0]} of {facts.missing[1]} is missing"))
    if model.usable:
        from foredraft.models.memory import estimate
        from foredraft.models.recommend import choose_draft

        choice = choose_draft(model, store)
        made = estimate(facts, choice.draft.facts if choice.draft is not None else None)
        rows.append(("draft", choice.reasons[language()]))
        rows.append(("numerics", _numerics(model)))
        rows.append(("memory", f"{size_words(made.total)} with {made.context:,} tokens of context"))
    return rows
