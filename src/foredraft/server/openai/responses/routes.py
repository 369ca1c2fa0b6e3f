"""/v1/responses: answer, and what is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from foredraft.server.answers import results
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError
from foredraft.server.kept import NotKeptError
from foredraft.server.openai.responses.convert import understood
from foredraft.server.openai.responses.types import ResponsesRequest
from foredraft.server.openai.responses.writer import Writer
from foredraft.server.pipeline import count_tokens, submit
from foredraft.server.sessions import of_session
from foredraft.server.sse import EventStream, while_connected

router = APIRouter(prefix="/v1/responses", tags=["OpenAI"], route_class=LimitedRoute)


@router.post("", response_model=None)
async def responses(body: ResponsesRequest, request: Request, services: ServicesOf) -> Response:
    """Answer items in the form of OpenAI's Responses. With `previous_response_id` the conversation goes on from a kept
    response; the answer is kept in turn, unless `store` is false."""
    turn = await while_connected(request, understood(body, services.responses))
    asked = await while_connected(request, submit(services, of_session(turn.question, request, body)))
    writer = Writer(body, turn, asked, services.responses)
    if body.stream:
        return EventStream(writer.events(), ping_s=services.settings.ping_s, ping=writer.still)
    (answer,) = await results(request, asked)
    return JSONResponse(await writer.whole(answer))


@router.post("/input_tokens")
async def input_tokens(body: ResponsesRequest, request: Request, services: ServicesOf) -> dict[str, Any]:
    """How many tokens a request has, those of the kept conversation with them, without answering it."""
    turn = await while_connected(request, understood(body, services.responses))
    count = await while_connected(request, count_tokens(services, turn.question))
    return {"object": "response.input_tokens", "input_tokens": count}


@router.get("/{response_id}")
async def retrieve(response_id: str, services: ServicesOf, stream: bool = False) -> dict[str, Any]:
    """A kept response."""
    if stream:
        raise RequestError("A kept response is not sent as events.", param="stream", hint="Leave stream out.")
    return await _shown(services, response_id)


@router.delete("/{response_id}")
async def delete(response_id: str, services: ServicesOf) -> dict[str, Any]:
    """Forget a kept response, of any dialect. Those that went on from it can be gone on from no more."""
    await services.responses.delete(response_id)
    return {"id": response_id, "object": "response", "deleted": True}


@router.post("/{response_id}/cancel")
async def cancel(response_id: str, services: ServicesOf) -> dict[str, Any]:
    """Refused: a kept response has ended. To end one that is being written, close its connection."""
    await _shown(services, response_id)
    raise RequestError("This response has ended already.", param="response_id")


@router.get("/{response_id}/input_items")
async def input_items(
    response_id: str,
    services: ServicesOf,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """The items that were sent with a kept response, its own request's alone."""
    await _shown(services, response_id)
    items = (await services.responses.get(response_id)).input
    items = items if order == "asc" else items[::-1]
    places = {item["id"]: i for i, item in enumerate(items)}
    if after is not None and after not in places:
        raise RequestError(f"There is no item {after!r}.", param="after")
    rest = items[places[after] + 1 :] if after is not None else items
    page = rest[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(rest) > limit,
    }


async def _shown(services: Services, response_id: str) -> dict[str, Any]:
    shown = (await services.responses.get(response_id)).shown
    if shown.get("object") != "response":
        raise NotKeptError(f"{response_id!r} is LM Studio's: it can be gone on from and deleted.", "response_id")
    return shown
