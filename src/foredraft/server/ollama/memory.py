"""What a request of Ollama's says about memory: load, unload, how long to stay, how much context."""

from __future__ import annotations

import asyncio
import dataclasses

from foredraft.core.errors import ModelError
from foredraft.requests.generation_request import GenerationRequest
from foredraft.requests.warnings import note
from foredraft.server.context import Services
from foredraft.server.control import unload_model
from foredraft.server.naming import named_model
from foredraft.server.pipeline import find_model


async def load(services: Services, name: str, ttl_s: float | None, draft: str = "auto") -> str:
    """Load a model, or say that it is asked for; its id."""
    model_id, _ = await find_model(services, name, draft, -1.0 if ttl_s == 0 else ttl_s)
    await keep(services, model_id, ttl_s)
    return model_id


async def unload(services: Services, name: str) -> None:
    """Take a model out of memory, if it is there. Raises `ModelNotFoundError` for one that is nowhere."""
    model_id, _ = await named_model(services, name)
    if services.runtime.state(model_id) is not None:
        await unload_model(services, model_id)


async def keep(services: Services, model_id: str, ttl_s: float | None) -> None:
    """Let a model stay for so long without a request (None: for ever; -1: nothing was said). One that was loaded by
    hand stays as it was told then."""
    state = services.runtime.state(model_id)
    if ttl_s == -1.0 or state is None or not state.spec.on_demand or state.status not in ("ready", "changing"):
        return
    await services.runtime.load(dataclasses.replace(state.spec, id=model_id, ttl_s=ttl_s))


async def with_context(services: Services, question: GenerationRequest, wanted: int | None) -> GenerationRequest:
    """The question with the context that it asks for. A model that a request has loaded with less, and that is idle,
    is loaded again with so much; another goes on with what it has, aloud."""
    if wanted is None:
        return question
    model_id, _ = await named_model(services, question.model, question.draft)
    most = await asyncio.to_thread(_trained, services, model_id)
    if 0 < most < wanted:
        note(f"options.num_ctx: {most}, the model was trained for no more.", question.warnings)
        wanted = most
    state = services.runtime.state(model_id)
    if state is not None and state.info is not None and state.info.n_ctx < wanted:
        if not state.spec.on_demand or state.running or state.waiting:
            note(f"options.num_ctx: {state.info.n_ctx}, the model is loaded with so much.", question.warnings)
            return question
        await services.runtime.unload(model_id, cancel=False)
    return dataclasses.replace(question, context=wanted)


def _trained(services: Services, model_id: str) -> int:
    """Tokens of context that a model was trained for; 0 where that is not known."""
    try:
        facts = services.shelf.describe(model_id) if services.shelf is not None else {}
    except ModelError:
        facts = {}
    state = services.runtime.state(model_id)
    loaded = state.info.n_ctx_train if state is not None and state.info is not None else 0
    return int(facts.get("n_ctx_train") or loaded)
