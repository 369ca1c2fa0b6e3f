"""A loaded model's state as JSON, for `ps` and for whoever asks."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from foredraft.engines.base import ModelInfo
from foredraft.runtime.managed_model import ModelState


def model_status(state: ModelState, draft_name: str | None = None) -> dict[str, Any]:
    """Everything known about a loaded (or loading) model. Times in Unix seconds, sizes in bytes. `draft_name` is what
    the draft is called on the shelf."""
    totals = asdict(state.totals)
    totals["acceptance"] = state.totals.acceptance
    draft = _info(state.draft_info)
    if draft is not None and draft_name:
        draft["name"] = draft_name
    return {
        "id": state.id,
        "kind": state.kind,
        "status": state.status,
        "loading": {"part": state.part, "progress": round(state.progress, 4)} if state.status == "loading" else None,
        "model": _info(state.info),
        "draft": draft,
        "speculation": state.speculation.as_dict(),
        "remembers_answers": bool(state.spec.settings.get("remember_answers")),
        "notes": [str(note) for note in state.notes],
        "reasons": [note.told() for note in state.notes],
        "places": {
            part: {
                "isolated": place.pid is not None,
                "pid": place.pid,
                "reason": str(place.reason or ""),
                "words": str(place.described),
                "why": place.described.told(),
            }
            for part, place in zip(("main", "draft"), state.places, strict=False)
        },
        "deaths": state.deaths,
        "last_death": state.last_death,
        "running": state.running,
        "waiting": state.waiting,
        "slots": state.slots,
        "loaded_at": state.loaded_at,
        "load_s": round(state.load_s, 3),
        "idle_s": 0.0 if state.running else round(max(0.0, time.time() - state.last_used), 3),
        "expires_at": state.expires_at,
        "numerics": None if state.numerics is None else state.numerics.as_dict(),
        "totals": totals,
    }


def _info(info: ModelInfo | None) -> dict[str, Any] | None:
    if info is None:
        return None
    return {
        "name": info.name,
        "path": info.path,
        "architecture": info.architecture,
        "quantisation": info.quantisation,
        "size_bytes": info.size_bytes,
        "n_params": info.n_params,
        "n_ctx": info.n_ctx,
        "n_vocab": info.n_vocab,
    }
