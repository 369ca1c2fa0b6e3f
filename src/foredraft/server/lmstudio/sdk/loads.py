"""Loading and unloading: with progress, once or again under another name."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, Literal

from pydantic import ConfigDict

from foredraft.core.errors import ModelNotFoundError
from foredraft.engines.llamacpp.memory import KV_TYPES
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.runtime.managed_model import LoadSpec, ModelState
from foredraft.server import control
from foredraft.server.context import Services
from foredraft.server.lmstudio.sdk import cards, problems, shapes
from foredraft.server.lmstudio.sdk.cards import Domain
from foredraft.server.lmstudio.sdk.config import Stack, Values
from foredraft.server.lmstudio.sdk.endpoints import Channel
from foredraft.server.lmstudio.sdk.wire import Heard
from foredraft.server.loading import load_settings

MAIN_SHARE = 0.8
"""How much of a load's progress is the main model's where it has a draft, whose size nobody knows before."""


class GetOrLoad(Heard):
    model_config = ConfigDict(str_max_length=4000)

    identifier: str
    load_config_stack: Stack = Stack()
    load_ttl_ms: float | None = None


class LoadModel(Heard):
    model_config = ConfigDict(str_max_length=4000)

    model_key: str
    identifier: str | None = None
    ttl_ms: float | None = None
    load_config_stack: Stack = Stack()


class Unload(Heard):
    identifier: str


async def get_or_load(services: Services, asked: GetOrLoad, channel: Channel, domain: Domain) -> None:
    """The model of this name, loaded if it is not."""
    specifier = cards.Specifier(type="query", query=cards.Query(identifier=asked.identifier))
    state = await cards.meant(services, specifier, domain)
    if state is None:
        spec = await _found(services, asked.identifier, asked.load_config_stack, domain)
        ttl = services.settings.ttl_s if asked.load_ttl_ms is None else asked.load_ttl_ms / 1000
        spec = dataclasses.replace(spec, ttl_s=ttl, on_demand=True)
        info = await cards.described_as(services, spec.id)
        await channel.say(shapes.StartLoading(identifier=spec.id, info=info))
        state = await _load(services, spec, channel, "loadProgress")
        await channel.say(shapes.Loaded(type="loadSuccess", info=await cards.instance(services, state)))
    else:
        await channel.say(shapes.AlreadyLoaded(info=await cards.instance(services, state)))


async def load_new(services: Services, asked: LoadModel, channel: Channel, domain: Domain) -> None:
    """One more instance of a model, under a name of its own."""
    spec = await _found(services, asked.model_key, asked.load_config_stack, domain)
    taken = {state.id.lower() for state in services.runtime.models()}
    key, name = spec.id, asked.identifier or spec.id
    if asked.identifier and name.lower() in taken:
        raise problems.SdkError(
            f'A model with the identifier "{name}" already exists.', hint="Give another identifier, or unload it first."
        )
    number = 2
    while name.lower() in taken:
        name, number = f"{key}:{number}", number + 1
    ttl = None if asked.ttl_ms is None else asked.ttl_ms / 1000
    spec = dataclasses.replace(spec, id=name, ttl_s=ttl, on_demand=False)
    await channel.say(shapes.Resolved(info=await cards.described_as(services, key)))
    state = await _load(services, spec, channel, "progress")
    await channel.say(shapes.Loaded(type="success", info=await cards.instance(services, state)))


async def unload(services: Services, asked: Unload) -> None:
    loaded = [state.id for state in services.runtime.models()]
    name = next((one for one in loaded if one.lower() == asked.identifier.lower()), "")
    if not name:
        raise problems.no_such_identifier(asked.identifier, loaded)
    await control.unload_model(services, name)


async def _found(services: Services, name: str, stack: Stack, domain: Domain) -> LoadSpec:
    """How to load a model, with the settings that were sent."""
    settings, draft, ignored = wanted(stack)
    name = services.aliases.of(name)
    draft = services.aliases.of(draft) if draft else draft
    try:
        if services.shelf is None:
            raise ModelNotFoundError(name)
        spec = await asyncio.to_thread(services.shelf.spec, name, draft)
    except ModelNotFoundError as error:
        names = list(await asyncio.to_thread(services.shelf.names)) if services.shelf is not None else []
        raise problems.no_such_path(name, names, error.hint) from None
    if spec.kind != cards.KINDS[domain]:
        actual = "embedding" if spec.kind == "embedding" else "llm"
        raise problems.wrong_domain(name, actual, domain)
    if ignored:
        services.event_log.write("lmstudio", f"Loading {spec.id}: left out {', '.join(ignored)}", model=spec.id)
    if spec.kind == "embedding":
        settings = {key: value for key, value in settings.items() if key == "context"}
    settings = {**spec.settings, **settings}
    load_settings(settings)  # words what is wrong before anything is opened
    return dataclasses.replace(spec, settings=settings)


def wanted(stack: Stack) -> tuple[dict[str, Any], str | None, list[str]]:
    """(load settings, the draft, keys that mean nothing here) of a load configuration."""
    values = stack.merged()
    of = Values(values, "llm.load.")
    flash, mmap, offload = of.get("llama.flashAttention"), of.get("llama.tryMmap"), of.get("offloadKVCacheToGpu")
    ratio = of.get("llama.acceleration.offloadRatio")
    cache = of.text("llama.kCacheQuantizationType"), of.text("llama.vCacheQuantizationType")
    settings: dict[str, Any] = {
        "context": of.whole("contextLength") or Values(values, "embedding.load.").whole("contextLength"),
        "slots": of.whole("numParallelSessions"),
        "batch": of.whole("llama.evalBatchSize"),
        "flash_attention": None if flash is None else "on" if flash else "off",
        "mmap": mmap if isinstance(mmap, bool) else None,
        "gpu_layers": 0 if ratio in ("off", 0) or offload is False else -1 if ratio in ("max", 1) else None,
        "kv_type": cache[0] if cache[0] in KV_TYPES and cache[0] == cache[1] else None,
    }
    ignored = [f"llm.load.{key}" for key in of.unheard() if not key.startswith("llama.speculativeDecoding.")]
    if ratio is not None and settings["gpu_layers"] is None:
        ignored.append("llm.load.llama.acceleration.offloadRatio (between all and nothing)")
    if any(cache) and settings["kv_type"] is None:
        ignored.append("llm.load.llama.kCacheQuantizationType (one type for keys and values)")
    speculative = Values(values, "llm.load.llama.speculativeDecoding.")
    draft = "auto"
    if speculative.get("draftSimple"):
        draft = speculative.text("draftModel") or "auto"
    elif speculative.get("draftSimple") is False and speculative.get("draftMtp") is not True:
        draft = "off"
    given = {key: value for key, value in settings.items() if value is not None}
    return given, None if draft == "off" else draft, ignored


async def _load(
    services: Services, spec: LoadSpec, channel: Channel, kind: Literal["loadProgress", "progress"]
) -> ModelState:
    """Load, saying how far it is; never backwards. When the client cancels, it is not waited for any longer: what is
    being loaded stays until its time to live is over."""

    def said(share: float) -> shapes.LoadProgress:
        return shapes.LoadProgress(type=kind, progress=share)

    services.event_log.write("model", f"Loading {spec.id or spec.model}", model=spec.id or spec.model)
    loading = asyncio.ensure_future(services.runtime.load(spec))
    channel.on_stop(loading.cancel)
    watching = services.runtime.watch()
    shown = 0.0
    async with channel.pulsing(lambda: said(shown)):
        try:
            while not loading.done():
                coming = asyncio.ensure_future(anext(watching))
                both: set[asyncio.Future[Any]] = {loading, coming}
                try:
                    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                        await asyncio.gather(coming, return_exceptions=True)
                if coming.cancelled():
                    break
                for state in coming.result():
                    share = _share(state, spec)
                    if state.id == spec.id and state.status == "loading" and share > shown:
                        shown = share
                        await channel.say(said(shown))
            model_id = await loading
        except asyncio.CancelledError:
            if channel.stopped:
                raise problems.SdkError("The load was cancelled.") from None
            raise
        finally:
            loading.cancel()
            await watching.aclose()
        services.load_failure = None
        if shown < 1.0:
            await channel.say(said(1.0))
    found = services.runtime.state(model_id)
    if found is None or found.info is None:
        raise ModelUnloadedError(model_id)
    return found


def _share(state: ModelState, spec: LoadSpec) -> float:
    if spec.draft is None or spec.kind == "embedding":
        return state.progress
    return MAIN_SHARE * state.progress if state.part == "main" else MAIN_SHARE + (1 - MAIN_SHARE) * state.progress


def config_of(services: Services, state: ModelState) -> dict[str, Any]:
    """How a loaded model is loaded, by the protocol's keys; its draft by the name that it is asked for by."""
    assert state.info is not None
    if state.kind == "embedding":
        return {"embedding.load.contextLength": state.info.n_ctx}
    of = state.spec.settings
    values: dict[str, Any] = {
        "llm.load.contextLength": state.info.n_ctx,
        "llm.load.numParallelSessions": state.info.n_slots,
        "llm.load.llama.evalBatchSize": state.info.n_batch,
        "llm.load.llama.flashAttention": of.get("flash_attention", "auto") != "off",
        "llm.load.llama.tryMmap": bool(of.get("mmap", True)),
        "llm.load.llama.acceleration.offloadRatio": "off" if of.get("gpu_layers", -1) == 0 else "max",
    }
    if state.draft_info is not None:
        values["llm.load.llama.speculativeDecoding.draftSimple"] = True
        values["llm.load.llama.speculativeDecoding.draftModel"] = services.name_of(state.draft_info)
    return values
