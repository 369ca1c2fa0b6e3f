"""Which model is meant by a name: one that is loaded, or one of the shelf, by any name that people bring for it."""

from __future__ import annotations

import asyncio
import contextlib

from foredraft.core.errors import AmbiguousModelError, ModelError, ModelNotFoundError
from foredraft.models.names import find_name
from foredraft.runtime.errors import WrongKindError
from foredraft.runtime.managed_model import LoadSpec, ModelState
from foredraft.server.context import Services
from foredraft.server.errors import RequestError

LONGEST_NAME = 4_096
"""Characters of a name, which may be a path. No model has a longer one, and comparing it would take the event loop."""
NO_EMBEDDER = "There is none on this machine; get one: foredraft get nomic-ai/nomic-embed-text-v1.5-GGUF"


def answering(services: Services, wanted: str = "", *, kind: str = "text") -> ModelState | None:
    """The loaded model that answers, for the server, the app and the commands alike: the wanted one where it is ready,
    else the default, else the one that was loaded last. None where none is ready."""
    ready = {s.id: s for s in services.runtime.models() if s.status in ("ready", "changing") and s.kind == kind}
    default = services.default_model if services.default_model in ready else next(reversed(ready), "")
    return ready.get(wanted) or ready.get(default)


async def named_model(
    services: Services, name: str, draft: str = "auto", *, kind: str | None = "text"
) -> tuple[str, LoadSpec | None]:
    """(id, how to load it or None where it is loaded) of the model that a request names. An empty name, or "default",
    is the default model, or whichever is loaded of its kind. Raises `ModelNotFoundError` with the nearest names,
    `AmbiguousModelError` with the candidates, and `RequestError` for a model of another kind (`kind` None: any)."""
    if len(name) > LONGEST_NAME:
        raise ModelNotFoundError(name[:100] + "…")
    loaded = {state.id: state for state in services.runtime.models()}
    ready = {state.id for state in loaded.values() if state.status in ("ready", "changing")}
    if name not in ready:  # an alias hides no model that is loaded under this very name
        name = services.aliases.of(name)
    if name in ("", "default"):
        meant = answering(services, kind=kind or "text")
        if meant is not None:
            name = meant.id
        else:
            name = services.default_model if kind != "embedding" else await _only_embedder(services)
    if name in ready:
        await _check_kind(services, name, loaded[name].kind, kind)
        return name, None
    try:
        spec = await asyncio.to_thread(_spec, services, name, draft, tuple(loaded))
    except ModelNotFoundError:  # not on the shelf, but perhaps loaded, and only written otherwise
        try:
            name = find_name(name, sorted(ready))
        except ModelError:
            pass
        else:
            await _check_kind(services, name, loaded[name].kind, kind)
            return name, None
        raise
    await _check_kind(services, spec.id or spec.model, spec.kind, kind)
    return spec.id or spec.model, spec


async def _only_embedder(services: Services) -> str:
    """The embedding model that is meant when none is named and none is loaded: the only one of the shelf."""
    names = await _embedders(services)
    if len(names) == 1:
        return names[0]
    hint = f"Name one: {', '.join(names)}." if names else NO_EMBEDDER
    raise RequestError("No embedding model was named.", param="model", hint=hint)


async def _embedders(services: Services) -> list[str]:
    loaded = [state.id for state in services.runtime.models() if state.kind == "embedding"]
    shelf = services.shelf
    return list(
        dict.fromkeys([*loaded, *(await asyncio.to_thread(shelf.embedding_names) if shelf is not None else ())])
    )


async def _check_kind(services: Services, model_id: str, kind: str, wanted: str | None) -> None:
    """A model of the other kind is refused, with the names of those that would do."""
    if wanted in (kind, None):
        return
    error = WrongKindError(model_id, kind)
    if kind == "embedding":
        raise RequestError(error.message, param="model", hint="Send texts to /v1/embeddings.")
    names = await _embedders(services)
    hint = f"Embedding models here: {', '.join(names)}." if names else NO_EMBEDDER
    raise RequestError(error.message, param="model", hint=hint)


def _spec(services: Services, name: str, draft: str, loaded: tuple[str, ...]) -> LoadSpec:
    if services.shelf is None:
        raise ModelNotFoundError(name, nearest=loaded)
    if draft not in ("auto", "off"):
        try:
            services.shelf.draft(draft)
        except ModelError:  # the model is loaded without it; `_draft_name` says why, or refuses
            draft = "auto"
    try:  # off is for this request alone: whoever comes next finds the draft loaded
        return services.shelf.spec(name, "auto" if draft == "off" else draft)
    except ModelNotFoundError as error:
        if error.hint:
            raise
        raise ModelNotFoundError(name, hint="GET /v1/models lists those there are.") from None


async def loaded_name(services: Services, name: str) -> str:
    """The id of the loaded model that is meant. Raises `ModelNotFoundError` with the names that are loaded, or
    `AmbiguousModelError`."""
    loaded = [state.id for state in services.runtime.models()]
    if name in loaded:
        return name
    name = services.aliases.of(name)
    if name in loaded:
        return name
    found = await _of_shelf(services, name)
    if len(meant := [model_id for model_id in found if model_id in loaded]) == 1:
        return meant[0]
    if not found:
        with contextlib.suppress(ModelNotFoundError):
            return find_name(name, loaded)
    raise ModelNotFoundError(name, nearest=tuple(loaded), hint="" if loaded else "No model is loaded.")


async def _of_shelf(services: Services, name: str) -> tuple[str, ...]:
    """What the shelf takes a name for."""
    if services.shelf is None:
        return ()
    try:
        return ((await asyncio.to_thread(services.shelf.spec, name)).id,)
    except AmbiguousModelError as error:
        return error.candidates
    except ModelError:
        return ()
