"""Fit of a draft that reads hidden rows: for what main models it was made, and why it does not suit one."""

from __future__ import annotations

from foredraft.core.reasons import Reason, Value
from foredraft.models.facts import ModelFacts
from foredraft.models.heads import GIVES_LAYERS, HELPERS, LAYER_READERS, WITH_HEADS


def own_head(main: ModelFacts) -> Reason | None:
    """Why the head inside a main model cannot be used; None where it can. Only for files with `heads`."""
    if not main.heads.here:
        return Reason("heads_no_weights", {"n": main.heads.said})
    if main.architecture not in WITH_HEADS:
        return Reason("heads_architecture", {"architecture": main.architecture})
    if main.heads.said != 1:
        return Reason("heads_several", {"n": main.heads.said})
    return None


def misfit(main: ModelFacts, draft: ModelFacts) -> Reason | None:
    """Why a draft that reads hidden rows was not made for this main model: `what` differs, `a` of the draft and `b` of
    the main model. None where it fits. Vocabularies are compared elsewhere."""
    architecture, heads = main.architecture, draft.heads
    made_for = draft.architecture
    if draft.architecture in HELPERS:
        made_for = "gemma4" if draft.architecture not in LAYER_READERS else architecture
    if architecture != made_for:
        return _differ("architecture", made_for, architecture)
    if heads.width and heads.width != main.shape.n_embd:
        return _differ("width", heads.width, main.shape.n_embd)
    if draft.architecture in LAYER_READERS and not (heads.layers and min(heads.layers) >= 0):
        return _differ("read_layers", str(list(heads.layers)), Reason("those_of_main"))
    if heads.layers and architecture not in GIVES_LAYERS:
        return _differ("gives_layers", Reason("one_of_several"), architecture)
    trunk = main.heads.trunk or main.shape.n_layers
    if heads.trunk and heads.trunk != trunk:
        return _differ("layers", heads.trunk, trunk)
    if heads.layers and max(heads.layers) > trunk:
        return _differ("highest_layer", max(heads.layers), trunk)
    return None


def _differ(what: str, a: Value, b: Value) -> Reason:
    return Reason("head_misfit", {"what": Reason(f"what_{what}"), "a": a, "b": b})


def made_for(draft: ModelFacts) -> Reason:
    """What main models a draft is for: "gemma4 models with hidden rows of 2,560 numbers"."""
    heads, kind = draft.heads, draft.architecture
    if kind in HELPERS:
        kind = "" if kind in LAYER_READERS else "gemma4"
    models = Reason("models_of", {"architecture": kind}) if kind else Reason("models_any")
    parts = [Reason("hidden_rows", {"n": heads.width})] if heads.width else []
    if heads.trunk:
        parts.append(Reason("layers", {"n": heads.trunk}))
    elif heads.layers:
        parts.append(Reason("layers_least", {"n": max(heads.layers)}))
    return Reason("models_with", {"models": models, "parts": tuple(parts)}) if parts else models
