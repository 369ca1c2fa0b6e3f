"""LM Studio's older REST: OpenAI's objects with `stats`, `model_info` and `runtime`."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.control import foredraft_version
from foredraft.server.deps import ServicesOf
from foredraft.server.errors import RequestError
from foredraft.server.lmstudio.catalogue import described, v0_object
from foredraft.server.naming import named_model
from foredraft.server.openai import routes as openai
from foredraft.server.openai.embeddings import embeddings as openai_embeddings
from foredraft.server.openai.schemas import ChatRequest, CompletionRequest, EmbeddingRequest
from foredraft.server.sse import EventStream

router = APIRouter(prefix="/api/v0", tags=["LM Studio v0"], route_class=LimitedRoute)


@router.get("/models")
async def list_models(services: ServicesOf) -> dict[str, Any]:
    """Every model, loaded or not."""
    return {"object": "list", "data": [v0_object(*entry) for entry in await described(services)]}


@router.get("/models/{model:path}")
async def get_model(model: str, services: ServicesOf) -> dict[str, Any]:
    """One model."""
    model_id, _ = await named_model(services, model, kind=None)
    for name, facts, state in await described(services):
        if name == model_id:
            return v0_object(name, facts, state)
    raise RequestError(f"There is no model {model!r}.", param="model", status=404)


@router.post("/chat/completions", response_model=None)
async def chat_completions(body: ChatRequest, request: Request, services: ServicesOf) -> Response:
    """OpenAI's chat completion with LM Studio's additions."""
    return _with_model(await openai.chat_completions(body, request, services), services)


@router.post("/completions", response_model=None)
async def completions(body: CompletionRequest, request: Request, services: ServicesOf) -> Response:
    """OpenAI's text completion with LM Studio's additions."""
    return _with_model(await openai.completions(body, request, services), services)


@router.post("/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, request: Request, services: ServicesOf) -> Response:
    """As /v1/embeddings."""
    return await openai_embeddings(body, request, services)


def _with_model(answer: Response, services: Services) -> Response:
    """Add `model_info` and `runtime` to an answer; a stream is left as it is (its last chunk has the stats)."""
    if isinstance(answer, EventStream):
        return answer
    body = json.loads(bytes(answer.body))
    return JSONResponse(body | model_info(services, body["model"]))


def model_info(services: Services, model_id: str) -> dict[str, Any]:
    """What LM Studio says about the model and the engine."""
    state = services.runtime.state(model_id)
    info = state.info if state is not None else None
    return {
        "model_info": {
            "arch": info.architecture if info is not None else "",
            "quant": info.quantisation if info is not None else "",
            "format": "gguf",
            "context_length": info.n_ctx if info is not None else 0,
        },
        "runtime": {"name": "foredraft-llama.cpp", "version": foredraft_version(), "supported_formats": ["gguf"]},
    }
