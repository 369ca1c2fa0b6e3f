"""Models as Anthropic lists them, at the paths that OpenAI's list has: who sends `anthropic-version` gets this form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from foredraft.core.errors import ModelNotFoundError
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError, anthropic_request_id
from foredraft.server.naming import named_model
from foredraft.server.openai.routes import model_objects


class _OfAnthropic(LimitedRoute):
    """A route for clients of Anthropic's alone; for others it is not there."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or "anthropic-version" not in Headers(scope=scope):
            return Match.NONE, {}
        return super().matches(scope)


def with_request_id(response: Response) -> None:
    """For routes: their answers carry a `request-id`."""
    response.headers["request-id"] = anthropic_request_id()


router = APIRouter(
    prefix="/v1", route_class=_OfAnthropic, include_in_schema=False, dependencies=[Depends(with_request_id)]
)


async def model_for(services: Services, name: str) -> tuple[str, str]:
    """(the model to ask, a warning or ""). Programs that know Anthropic's models alone send their names; where there is
    none of that name, the default model answers."""
    if not name.lower().startswith("claude"):
        return name, ""
    try:
        return (await named_model(services, name))[0], ""
    except ModelNotFoundError:
        model_id, _ = await named_model(services, "")
    alias = f"foredraft serve --alias '{name}=MODEL'"
    warning = f"model: there is no {name!r} here, {model_id} answers ({alias} says which)."
    return model_id, warning


@router.get("/models")
async def list_models(
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    after_id: str = "",
    before_id: str = "",
) -> dict[str, Any]:
    """A page of the models that write."""
    models = await _models(services)
    names = [model["id"] for model in models]
    for name, given in (("after_id", after_id), ("before_id", before_id)):
        if given and given not in names:
            raise RequestError(f"{name}: there is no model {given!r}.", param=name)
    first = names.index(after_id) + 1 if after_id else 0
    last = names.index(before_id) if before_id else len(models)
    if before_id and not after_id:
        first = max(0, last - limit)
    page = models[first : min(last, first + limit)]
    more = first > 0 if before_id and not after_id else first + len(page) < last
    ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
    return {"data": page, "has_more": more, "first_id": ends[0], "last_id": ends[1]}


@router.get("/models/{model:path}")
async def get_model(model: str, services: ServicesOf) -> dict[str, Any]:
    """One model, by every name that a message may have."""
    name, _ = await model_for(services, model)
    model_id, _ = await named_model(services, name)
    found = next((entry for entry in await _models(services) if entry["id"] == model_id), None)
    if found is None:
        raise ModelNotFoundError(model)
    return found


async def _models(services: Services) -> list[dict[str, Any]]:
    return [_object(entry) for entry in await model_objects(services) if entry["type"] == "llm"]


def _object(entry: dict[str, Any]) -> dict[str, Any]:
    created = datetime.fromtimestamp(entry["created"], UTC).isoformat().replace("+00:00", "Z")
    result = {"type": "model", "id": entry["id"], "display_name": entry["id"], "created_at": created}
    context = entry.get("max_context_length")
    return {**result, "lifecycle": "active", "max_input_tokens": context, "max_tokens": context}
