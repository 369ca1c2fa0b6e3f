"""POST /api/embed and /api/embeddings."""

from __future__ import annotations

import json
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.engines.embedding import Vectors
from foredraft.runtime.embedder import Embeddings
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.ollama import memory
from foredraft.server.ollama.convert import keep_seconds
from foredraft.server.ollama.names import asked
from foredraft.server.ollama.schemas import EmbeddingsRequest, EmbedRequest
from foredraft.server.openai.embeddings import embed as embedded
from foredraft.server.openai.embeddings import shortened
from foredraft.server.sse import while_connected

router = APIRouter(prefix="/api", tags=["Ollama"], route_class=LimitedRoute)


@router.post("/embed", response_model=None)
async def embed(body: EmbedRequest, request: Request, services: ServicesOf) -> Response:
    """One vector of length 1 for each text. Texts that are too long are cut, unless `truncate` is false."""
    began = time.perf_counter_ns()
    name = body.model or body.name
    if not body.input:
        asked(body)
        return JSONResponse({"model": name, "embeddings": []})
    texts = [body.input] if isinstance(body.input, str) else body.input
    model_id, made = await while_connected(request, _embed(services, body, texts, cut=body.truncate is not False))
    vectors = made.vectors
    if body.dimensions is not None:
        state = services.runtime.state(model_id)
        if state is None or state.info is None:
            raise ModelUnloadedError(model_id)
        vectors = shortened(vectors, body.dimensions, model_id, state.info)
    rest = {
        "model": name,
        "total_duration": time.perf_counter_ns() - began,
        "load_duration": 0,
        "prompt_eval_count": made.tokens,
    }
    return Response(await services.pools.prompts.run(_page, vectors, rest), media_type="application/json")


@router.post("/embeddings", response_model=None)
async def embeddings(body: EmbeddingsRequest, request: Request, services: ServicesOf) -> Response:
    """The older form: one text, one vector."""
    if not body.prompt:
        asked(body)
        return JSONResponse({"embedding": []})
    _, made = await while_connected(request, _embed(services, body, [body.prompt], cut=True))
    return JSONResponse({"embedding": made.vectors[0].tolist()})


async def _embed(
    services: Services, body: EmbedRequest | EmbeddingsRequest, texts: list[str], *, cut: bool
) -> tuple[str, Embeddings]:
    ttl_s = keep_seconds(body.keep_alive)
    made = await embedded(services, asked(body), texts, -1.0 if ttl_s == 0 else ttl_s, cut=cut)
    await memory.keep(services, made[0], ttl_s)
    return made


def _page(vectors: Vectors, rest: dict[str, Any]) -> str:
    """The answer as JSON, vector by vector: all at once would hold up every stream."""
    rows = ", ".join(json.dumps(row.tolist()) for row in vectors)
    return f'{{"embeddings": [{rows}], {json.dumps(rest, ensure_ascii=False)[1:]}'
