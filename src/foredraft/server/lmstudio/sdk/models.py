"""What there is to know of models: which are loaded, how, what they do now, what one would need."""

from __future__ import annotations

import asyncio
from typing import Any

from foredraft.core.errors import ModelNotFoundError
from foredraft.models.memory import Estimate as Figures
from foredraft.models.memory import LoadPlan
from foredraft.models.memory import estimate as estimated
from foredraft.server.context import Services
from foredraft.server.lmstudio.sdk import cards, loads, shapes
from foredraft.server.lmstudio.sdk.cards import Domain, Specifier
from foredraft.server.lmstudio.sdk.config import Stack
from foredraft.server.lmstudio.sdk.problems import SdkError, no_such_path
from foredraft.server.lmstudio.sdk.wire import Heard


class Which(Heard):
    specifier: Specifier


class Lookup(Heard):
    specifier: Specifier
    throw_if_not_found: bool = False


class Estimate(Heard):
    model_key: str
    load_config_stack: Stack = Stack()


async def loaded(services: Services, _: None, domain: Domain) -> list[shapes.Instance]:
    """Every loaded model of one kind."""
    return [await cards.instance(services, state) for state in cards.ready(services, domain)]


async def info(services: Services, asked: Lookup, domain: Domain) -> shapes.Instance | None:
    """The loaded model that is meant."""
    if asked.throw_if_not_found:
        state = await cards.required(services, asked.specifier, domain)
    else:
        found = await cards.meant(services, asked.specifier, domain)
        if found is None:
            return None
        state = found
    return await cards.instance(services, state)


async def load_config(services: Services, asked: Which, domain: Domain) -> shapes.Config:
    """How it is loaded."""
    state = await cards.required(services, asked.specifier, domain)
    return shapes.Config.of(loads.config_of(services, state))


async def prediction_config(services: Services, asked: Which, domain: Domain) -> shapes.Config:
    """What answers are like unless a request says otherwise."""
    await cards.required(services, asked.specifier, domain)
    return shapes.Config.of({})


async def processing_state(services: Services, asked: Lookup, domain: Domain) -> shapes.ProcessingState | None:
    """What it does now, and how many requests wait for it."""
    if not asked.throw_if_not_found and await cards.meant(services, asked.specifier, domain) is None:
        return None
    state = await cards.required(services, asked.specifier, domain)
    if not state.running:
        return shapes.ProcessingState(status="idle", queued=state.waiting)
    return shapes.ProcessingState(
        status="generating" if domain == "llm" else "computingEmbedding", queued=state.waiting
    )


async def estimate(services: Services, asked: Estimate) -> shapes.Usage:
    """What loading a model would need."""
    settings, _, _ = loads.wanted(asked.load_config_stack)
    return await asyncio.to_thread(_estimate, services, asked.model_key, settings)


def _estimate(services: Services, name: str, settings: dict[str, Any]) -> shapes.Usage:
    if services.store is None:
        raise SdkError("This server has no shelf to look at.")
    try:
        facts = services.store.require(name, kinds=("text", "embedding")).facts
    except ModelNotFoundError as error:
        raise no_such_path(
            name, list(services.shelf.names()) if services.shelf is not None else [], error.hint
        ) from None
    assert facts is not None, "of a file that can be used"
    plan = LoadPlan(
        context=settings.get("context"),
        slots=settings.get("slots", 1),
        kv_type=settings.get("kv_type", "f16"),
        gpu_layers=settings.get("gpu_layers", -1),
    )
    figures: Figures = estimated(facts, None, plan)
    need = figures.main
    context = need.kv + need.compute
    share = need.on_gpu / need.total if need.total else 0.0
    return shapes.Usage(
        memory=shapes.Memory(
            confidence="high",
            model_vram_bytes=round((need.total - context) * share),
            context_vram_bytes=round(context * share),
            total_vram_bytes=need.on_gpu,
            model_bytes=need.total - context,
            context_bytes=context,
            total_bytes=need.total,
        ),
        passes_guardrails=figures.fits,
    )
