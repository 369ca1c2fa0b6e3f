"""`foredraft show MODEL`: all that is known of one model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from foredraft.cli.models import Json, ModelName, as_json, drafts_for, shelf
from foredraft.cli.tables import count_words, printable, size_words, width_of
from foredraft.cli.words import t
from foredraft.models.head_fit import made_for, own_head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foredraft.models.facts import ModelFacts
    from foredraft.models.store import ModelFile, ModelStore
    from foredraft.words import Words


def show(model: ModelName, json_output: Json = False) -> None:
    """Show what a model file says of itself, the draft it would take, and what loading it needs."""
    store = shelf()
    found = store.find(model)
    if json_output:
        print(json.dumps({**as_json(found), **_details(found)}, ensure_ascii=False, indent=2))
        return
    rows = list(_rows(found, store))
    width = max(width_of(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name}{' ' * (width - width_of(name))}  {printable(value)}")


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
        else {"said": facts.heads.said, "here": facts.heads.here, "problem": str(own_head(facts) or "") or None},
        "made_for": str(made_for(facts)) if model.drafts_only else None,
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
    key = "cli.show.quantisation_said" if facts.quantisation_said else "cli.show.quantisation_mix"
    return t()(key, name=facts.quantisation, said=facts.quantisation_said, parts=", ".join(parts))


def _numerics(model: ModelFile) -> str:
    from foredraft.config.folders import cache_folder
    from foredraft.pair.numerics import known

    found = known(model.path, cache_folder() / "numerics")
    if found is None:
        return t()("cli.show.numerics_unknown")
    return t()("cli.show.numerics_known", **found)


def _draft_inside(facts: ModelFacts) -> list[str]:
    """One line about the heads of a main model, where its header speaks of any."""
    if facts.kind != "text" or not facts.heads.said:
        return []
    why = own_head(facts)
    if why:
        return [t()("cli.show.unusable", why=why)]
    return [t()("cli.show.draft_inside", size=sum(facts.weights.layers[-facts.heads.here :]))]


def _rows(model: ModelFile, store: ModelStore) -> list[tuple[str, str]]:
    words = t()
    return [(words(f"cli.show.{label}"), value) for label, value in _values(model, store, words)]


def _values(model: ModelFile, store: ModelStore, words: Words) -> Iterator[tuple[str, str]]:
    """Labels, as the catalogue of words has them, and values."""
    yield from (("name", model.name), ("file", str(model.path)), ("where", model.source))
    yield "size", size_words(model.size_bytes)
    facts = model.facts
    if facts is None:
        yield "problem", words(model.problem) if model.problem is not None else ""
        return
    vocabulary = facts.vocabulary
    yield "called", facts.name or "–"
    yield "architecture", facts.architecture + (f" ({words(f'cli.rewind_{facts.rewind}')})" if facts.rewind else "")
    yield "kind", words(f"cli.kind_{facts.kind}")
    yield "parameters", count_words(facts.n_params)
    yield "quantisation", _quantisation(facts)
    yield "context", words("cli.show.tokens", n=facts.n_ctx_train)
    tokens = words("cli.show.tokens", n=vocabulary.n_tokens)
    yield "tokenizer", f"{vocabulary.model} / {vocabulary.pre or words('cli.show.not_said')}, {tokens}"
    yield "fingerprint", vocabulary.fingerprint or "–"
    yield "chat_template", words("cli.yes" if facts.has_template else "cli.no")
    if facts.shape.n_experts:
        used, active = facts.shape.n_experts_used, count_words(facts.n_active)
        yield "experts", words("cli.show.experts_used", used=used, n=facts.shape.n_experts, active=active)
    for line in _draft_inside(facts):
        yield "inside", line
    if model.drafts_only:
        yield "draft_for", drafts_for(model, store)
        yield "made_for", words(made_for(facts))
    if facts.missing is not None:
        yield "problem", words("reason.part_missing", i=facts.missing[0], n=facts.missing[1])
    if model.usable:
        from foredraft.models.memory import estimate
        from foredraft.models.recommend import choose_draft

        choice = choose_draft(model, store)
        made = estimate(facts, choice.draft.facts if choice.draft is not None else None)
        yield "draft", words(choice.why)
        yield "numerics", _numerics(model)
        yield "memory", words("cli.show.memory_with", size=made.total, n=made.context)
