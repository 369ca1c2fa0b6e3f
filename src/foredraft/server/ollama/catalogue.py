"""Models as Ollama lists them: /api/tags, /api/ps, /api/show."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from foredraft.core.errors import ModelError
from foredraft.models.gguf import read_header
from foredraft.models.infill import NoInfillError, infill_of
from foredraft.models.memory import this_machine
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.managed_model import ModelState
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.lmstudio.catalogue import described
from foredraft.server.naming import named_model
from foredraft.server.ollama.names import asked, theirs
from foredraft.server.ollama.schemas import ShowRequest

router = APIRouter(prefix="/api", tags=["Ollama"], route_class=LimitedRoute)
NEVER = "2300-01-01T00:00:00Z"
"""When a model that stays leaves. Not the last year there is: clients turn it into their own time zone."""
_THINKING = ("<think>", "enable_thinking", "reasoning_effort")
"""What the chat templates of models that think speak of."""


def thinks(template: str) -> bool:
    """Whether a chat template knows of thinking."""
    return any(mark in template for mark in _THINKING)


@router.get("/tags")
@router.head("/tags", include_in_schema=False)
async def tags(services: ServicesOf) -> dict[str, Any]:
    """Every model, loaded or not, and the names that copies gave."""
    found = {name: (facts, state) for name, facts, state in await described(services)}
    entries = [_entry(name, *found[name]) for name in found]
    for alias, name in services.aliases.given().items():
        if name in found:
            entries.append(_entry(alias, *found[name]))
    return {"models": entries}


@router.get("/ps")
async def running(services: ServicesOf) -> dict[str, Any]:
    """The loaded models with their drafts, the one that stays longest first."""
    found = [(name, facts, state) for name, facts, state in await described(services) if state is not None]
    found.sort(key=lambda one: -(one[2].expires_at or float("inf")))
    video = (await asyncio.to_thread(this_machine)).video_total
    loaded = [(name, facts, state) for name, facts, state in found if state.info is not None]
    return {"models": [_loaded(services, name, facts, state, video) for name, facts, state in loaded]}


@router.post("/show")
async def show(body: ShowRequest, request: Request, services: ServicesOf) -> dict[str, Any]:
    """One model: what its file says of it, its template, what it can do."""
    model_id, _ = await named_model(services, asked(body), kind=None)
    facts, state = next(
        ((facts, state) for name, facts, state in await described(services) if name == model_id), ({}, None)
    )
    said = await asyncio.to_thread(_said_by_the_file, facts)
    template = said.pop("tokenizer.chat_template", "") or _template(state)
    info = _model_info(facts, state) | said
    able = _capabilities(facts, str(template)) + (["insert"] if _fills_in(services, said, state) else [])
    if request.headers.get("user-agent", "").startswith("GitHubCopilotChat/"):
        info["general.basename"] = body.model or body.name  # it shows that as the model's title
    return {
        "modelfile": f"# A GGUF file: Foredraft has no Modelfiles.\nFROM {theirs(model_id)}",
        "parameters": f"num_ctx {state.info.n_ctx}" if state is not None and state.info is not None else "",
        "template": template,
        "details": _details(facts),
        "model_info": info,
        "capabilities": able,
        "modified_at": _changed(facts),
    }


def _entry(name: str, facts: dict[str, Any], state: ModelState | None) -> dict[str, Any]:
    return {
        "name": theirs(name),
        "model": theirs(name),
        "modified_at": _changed(facts),
        "size": facts.get("size_bytes", 0),
        "digest": _digest(facts, name),
        "details": _details(facts),
        "capabilities": _capabilities(facts, _template(state)),
    }


def _loaded(services: Services, name: str, facts: dict[str, Any], state: ModelState, video: int) -> dict[str, Any]:
    """`video` is the memory of the machine's GPUs in bytes."""
    assert state.info is not None
    entry = _entry(name, facts, state)
    del entry["modified_at"]
    until = NEVER if state.expires_at is None else _time(state.expires_at)
    entry |= {"expires_at": until, "context_length": state.info.n_ctx}
    if not video or state.spec.settings.get("gpu_layers", -1) == 0:
        entry["size_vram"] = 0  # how much of it lies there otherwise is not known
    if state.kind == "text":
        entry["draft_model"] = services.name_of(state.draft_info)
        entry["speculation"] = state.speculation.as_dict()
    return entry


def _details(facts: dict[str, Any]) -> dict[str, Any]:
    family = facts.get("architecture", "")
    result = {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _parameters(facts.get("n_params") or 0),
        "quantization_level": facts.get("quantisation", ""),
    }
    return result | ({"context_length": facts["n_ctx_train"]} if facts.get("n_ctx_train") else {})


def _parameters(count: int) -> str:
    if not count:
        return ""
    return f"{count / 1e9:.1f}B" if count >= 1e9 else f"{count / 1e6:.2f}M"


def _capabilities(facts: dict[str, Any], template: str) -> list[str]:
    """Models are told of tools in the system prompt where their template knows none, so every one that writes takes
    them."""
    if facts.get("kind") == "embedding":
        return ["embedding"]
    return ["completion", "tools", *(["thinking"] if thinks(template) else [])]


def _model_info(facts: dict[str, Any], state: ModelState | None) -> dict[str, Any]:
    """The least that is known without the file's header."""
    architecture = facts.get("architecture") or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture, "general.basename": facts.get("name", "")}
    if facts.get("n_params"):
        info["general.parameter_count"] = facts["n_params"]
    context = facts.get("n_ctx_train") or (state.info.n_ctx_train if state is not None and state.info else 0)
    if context:
        info[f"{architecture}.context_length"] = context
    return info


def _said_by_the_file(facts: dict[str, Any]) -> dict[str, Any]:
    """The numbers and texts of the file's header. Lists (vocabularies) are left out."""
    try:
        return dict(read_header(Path(facts["path"])).metadata) if facts.get("path") else {}
    except ModelError:  # it has been deleted, or damaged
        return {}


def _fills_in(services: Services, said: dict[str, Any], state: ModelState | None) -> bool:
    """Whether a model fills in before a suffix: its file says so, or, once it is loaded, its vocabulary does."""
    if "tokenizer.ggml.fim_pre_token_id" in said:
        return True
    if state is None or state.kind != "text":
        return False
    try:
        with services.runtime.use(state.id) as model:
            infill_of(model.info, model.engine.tokenizer)
    except (NoInfillError, ModelUnloadedError):
        return False
    return True


def _template(state: ModelState | None) -> str:
    return (state.info.chat_template if state is not None and state.info is not None else None) or ""


def _digest(facts: dict[str, Any], name: str) -> str:
    """Stable, and another one for another file. Not the hash of its content: that would read all of it."""
    told = f"{facts.get('path') or name}\n{facts.get('size_bytes', 0)}"
    return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


def _changed(facts: dict[str, Any]) -> str:
    try:
        return _time(Path(facts["path"]).stat().st_mtime)
    except (KeyError, OSError):
        return _time(0)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
