"""Models as LM Studio's two APIs list them."""

from __future__ import annotations

import asyncio
from typing import Any

from foredraft.runtime.managed_model import ModelState
from foredraft.server.context import Services


async def described(services: Services) -> list[tuple[str, dict[str, Any], ModelState | None]]:
    """(name, facts, state if loaded) of every model that can be asked for."""
    loaded = {state.id: state for state in services.runtime.models()}
    names = list(loaded)
    if services.shelf is not None:
        names += [name for name in await asyncio.to_thread(services.shelf.names) if name not in loaded]
    return [
        (name, await asyncio.to_thread(_facts, services, name, loaded.get(name)), loaded.get(name)) for name in names
    ]


def _facts(services: Services, name: str, state: ModelState | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if services.shelf is not None:
        try:
            facts = services.shelf.describe(name)
        except Exception:  # noqa: BLE001 - a loaded model whose file has gone is still listed
            facts = {}
    if state is not None and state.info is not None:
        info = state.info
        facts.setdefault("architecture", info.architecture)
        facts.setdefault("quantisation", info.quantisation)
        facts.setdefault("size_bytes", info.size_bytes)
        facts.setdefault("n_params", info.n_params)
        facts.setdefault("n_ctx_train", info.n_ctx_train)
        facts["draft"] = services.name_of(state.draft_info)
        facts["kind"] = state.kind
    return facts


async def drafters(services: Services) -> list[dict[str, Any]]:
    """Entries of /api/v1/models for files that are drafts of other models: LM Studio's own kind for them."""
    if services.shelf is None:
        return []
    found = await asyncio.to_thread(services.shelf.drafts)
    about = {"type": "drafter", "capabilities": None}
    return [
        {**v1_object(facts["name"], facts, None), **about, "made_for": facts["made_for"], "fits": facts["fits"]}
        for facts in found
    ]


def v0_object(name: str, facts: dict[str, Any], state: ModelState | None) -> dict[str, Any]:
    """One entry of /api/v0/models, with the draft of a loaded one."""
    entry = {
        "id": name,
        "object": "model",
        "type": "embeddings" if facts.get("kind") == "embedding" else "llm",
        "publisher": facts.get("publisher", ""),
        "arch": facts.get("architecture", ""),
        "compatibility_type": "gguf",
        "quantization": facts.get("quantisation", ""),
        "state": "loaded" if state is not None and state.info is not None else "not-loaded",
        "max_context_length": facts.get("n_ctx_train", 0),
    }
    if state is not None and state.info is not None:
        entry["loaded_context_length"] = state.info.n_ctx
    if state is not None and state.info is not None and state.kind == "text":
        entry["draft_model"] = facts.get("draft")
        entry["speculation"] = state.speculation.as_dict()
    return entry


def v1_object(name: str, facts: dict[str, Any], state: ModelState | None) -> dict[str, Any]:
    """One entry of /api/v1/models; a loaded instance names its draft."""
    params, size = facts.get("n_params", 0), facts.get("size_bytes", 0)
    instances, embeds = [], facts.get("kind") == "embedding"
    if state is not None and state.info is not None:
        instances.append({"id": state.id, "config": load_config(state, facts.get("draft"))})
    return {
        "type": "embedding" if embeds else "llm",
        "publisher": facts.get("publisher", ""),
        "key": name,
        "display_name": facts.get("name", name),
        "architecture": facts.get("architecture") or None,
        "quantization": {
            "name": facts.get("quantisation", ""),
            "bits_per_weight": round(8 * size / params, 2) if params else None,
        }
        | ({"said": facts["quantisation_said"]} if facts.get("quantisation_said") else {}),
        "size_bytes": size,
        "params_string": _params(params),
        "loaded_instances": instances,
        "max_context_length": facts.get("n_ctx_train", 0),
        "format": "gguf",
        "description": None,
        "own_draft": bool(facts.get("own_draft")),
    } | ({} if embeds else {"capabilities": {"vision": False, "trained_for_tool_use": False}})


def load_config(state: ModelState, draft: str | None) -> dict[str, Any]:
    """How an instance is loaded, in LM Studio's words and with its draft."""
    assert state.info is not None
    if state.kind == "embedding":
        return {"context_length": state.info.n_ctx}
    return {
        "context_length": state.info.n_ctx,
        "eval_batch_size": state.info.n_batch,
        "parallel": state.info.n_slots,
        "flash_attention": state.spec.settings.get("flash_attention", "auto") != "off",
        "offload_kv_cache_to_gpu": state.spec.settings.get("gpu_layers", -1) != 0,
        "draft_model": draft,
        "speculation": state.speculation.as_dict(),
    }


def _params(count: int) -> str | None:
    if not count:
        return None
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.0f}M"
