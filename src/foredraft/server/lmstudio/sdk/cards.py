"""Models as the protocol shows them, and which of the loaded ones is meant."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from pathlib import PurePath
from typing import Any, Literal

from pydantic import ConfigDict

from foredraft.core.errors import ForedraftError, ModelNotFoundError
from foredraft.formats.tool_prompt import knows_tools
from foredraft.runtime.managed_model import ModelState
from foredraft.server.context import Services
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.catalogue import v1_object
from foredraft.server.lmstudio.sdk import problems, shapes
from foredraft.server.lmstudio.sdk.wire import Heard
from foredraft.server.pipeline import find_model

Domain = Literal["llm", "embedding"]
KINDS: dict[Domain, str] = {"llm": "text", "embedding": "embedding"}
"""LM Studio's words to ours."""
_DIGITS = re.compile(r"\d+")


class Query(Heard):
    """What a model must be. Nothing: any that is loaded."""

    model_config = ConfigDict(str_max_length=4000)

    identifier: str | None = None
    path: str | None = None
    domain: str | None = None
    vision: bool | None = None


class Specifier(Heard):
    """Which loaded model is meant."""

    type: Literal["query", "instanceReference"]
    query: Query = Query()
    instance_reference: str = ""


def ready(services: Services, domain: Domain) -> list[ModelState]:
    """The loaded models of one kind."""
    states = services.runtime.models()
    usable = [state for state in states if state.info is not None and state.status in ("ready", "changing")]
    return [state for state in usable if state.kind == KINDS[domain]]


def reference(state: ModelState) -> str:
    """An opaque name of one load."""
    return hashlib.sha256(f"{state.id} {state.loaded_at!r}".encode("utf-8", "replace")).hexdigest()[:24]


async def meant(services: Services, specifier: Specifier, domain: Domain) -> ModelState | None:
    """The loaded model that a client means, or None. Raises for the reference of a load that is over."""
    states = ready(services, domain)
    if specifier.type == "instanceReference":
        found = next((state for state in states if reference(state) == specifier.instance_reference), None)
        if found is None:
            raise problems.gone()
        return found
    query = specifier.query
    if query.vision or query.domain not in (None, domain):
        return None
    for name in (query.identifier, query.path):
        if name is not None:
            states = await _called(services, states, name)
    default = next((state for state in states if state.id == services.default_model), None)
    return default or (states[-1] if states else None)


async def required(services: Services, specifier: Specifier, domain: Domain) -> ModelState:
    """The same, or an error with the names of those that are loaded. Who asks for any, gets the default model loaded
    where there is none yet."""
    state = await meant(services, specifier, domain)
    query = specifier.query.model_dump(by_alias=True, exclude_none=True)
    if state is None and not query and not ready(services, domain):
        with contextlib.suppress(ModelNotFoundError, RequestError):
            model_id, _ = await find_model(services, "", kind=KINDS[domain])
            state = services.runtime.state(model_id)
    if state is None or state.info is None:
        raise problems.no_match(query, [one.id for one in ready(services, domain)])
    return state


async def _called(services: Services, states: list[ModelState], name: str) -> list[ModelState]:
    """Those with this identifier, in any case; else those of the model that has it as its key or path, or that is
    meant by it in any other way (`naming.py`)."""
    name = services.aliases.of(name)
    low = name.lower()
    exact = [state for state in states if state.id.lower() == low]
    if exact or not states:
        return exact
    cards = [await instance(services, state) for state in states]
    paths = [(state, card.path.lower(), card.model_key.lower()) for state, card in zip(states, cards, strict=True)]
    found = [state for state, path, key in paths if key == low or path == low or path.startswith(low.rstrip("/") + "/")]
    if found or services.shelf is None:
        return found
    try:
        spec = await asyncio.to_thread(services.shelf.spec, name, None)
    except ForedraftError:
        return []
    return [state for state in states if state.spec.model == spec.model]


# ---- what is shown ----


async def shelf(services: Services) -> list[shapes.Model]:
    """Every model that can be loaded, of both kinds."""

    def cards() -> list[shapes.Model]:
        names = services.shelf.names() if services.shelf is not None else ()
        return [card(name, _facts(services, name)) for name in names]

    found = {one.model_key: one for one in await asyncio.to_thread(cards)}
    for domain in KINDS:  # what was loaded by its path
        for state in ready(services, domain):
            shown = await instance(services, state)
            fields = {name: getattr(shown, name) for name in shapes.Model.model_fields}
            found.setdefault(shown.model_key, shapes.Model(**fields))
    return list(found.values())


async def described_as(services: Services, name: str) -> shapes.Model:
    """A model on the shelf, by its name or path."""
    return card(name, await asyncio.to_thread(_facts, services, name))


async def instance(services: Services, state: ModelState) -> shapes.Instance:
    """A loaded model."""
    info = state.info
    assert info is not None, "asked of loaded models only"
    known = services.shelf.name_of(state.spec.model) if services.shelf is not None and state.spec.model else ""
    facts = await asyncio.to_thread(_facts, services, known or state.spec.model or state.id)
    for name in ("architecture", "size_bytes", "n_params", "n_ctx_train"):
        facts.setdefault(name, getattr(info, name))
    facts.setdefault("quantisation", info.quantisation)
    facts["kind"] = state.kind
    shown = card(str(facts.get("name") or known or state.spec.model or state.id), facts)
    tools = knows_tools(info.chat_template or "") if state.kind == "text" else None
    return shapes.Instance(
        **{name: getattr(shown, name) for name in shapes.Model.model_fields if name != "trained_for_tool_use"},
        trained_for_tool_use=tools,
        identifier=state.id,
        instance_reference=reference(state),
        ttl_ms=None if state.expires_at is None else round((state.expires_at - state.last_used) * 1000),
        last_used_time=round(state.last_used * 1000),
        context_length=info.n_ctx,
    )


def card(name: str, facts: dict[str, Any]) -> shapes.Model:
    """A model from what the shelf says of it."""
    shown = v1_object(name, facts, None)
    writes = shown["type"] == "llm"
    file = PurePath(facts.get("path") or name).name
    path = f"{shown['publisher']}/{file}" if shown["publisher"] else file
    return shapes.Model(
        type=shown["type"],
        model_key=name,
        format="gguf",
        display_name=str(shown["display_name"]),
        publisher=str(shown["publisher"]),
        path=path,
        size_bytes=int(shown["size_bytes"]),
        indexed_model_identifier=path,
        device_identifier=None,
        params_string=shown["params_string"],
        architecture=shown["architecture"],
        quantization=_quantisation(shown["quantization"]),
        vision=False if writes else None,
        trained_for_tool_use=False if writes else None,
        max_context_length=int(shown["max_context_length"]),
    )


def _quantisation(shown: dict[str, Any]) -> shapes.Quantisation | None:
    """Whole bits a weight: as measured by the file's size, else as the name says."""
    bits = shown["bits_per_weight"]
    if bits is None:
        found = _DIGITS.search(shown["name"])
        bits = int(found[0]) if found else None
    return shapes.Quantisation(name=shown["name"], bits=round(bits)) if shown["name"] and bits else None


def _facts(services: Services, name: str) -> dict[str, Any]:
    if services.shelf is None:
        return {}
    try:
        return services.shelf.describe(name)
    except ForedraftError:  # a loaded model whose file has gone is still shown
        return {}
