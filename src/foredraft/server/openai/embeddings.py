"""OpenAI's embeddings: texts to vectors, where the model can."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from foredraft.engines.base import ModelInfo
from foredraft.engines.embedding import Vectors
from foredraft.requests.warnings import noted
from foredraft.runtime.embedder import Embeddings
from foredraft.runtime.errors import ModelUnloadedError
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.deps import ServicesOf
from foredraft.server.embedding_texts import tokens_to_embed
from foredraft.server.errors import RequestError
from foredraft.server.lenient import as_field
from foredraft.server.openai.schemas import EmbeddingRequest
from foredraft.server.pipeline import find_model
from foredraft.server.schemas import idle_seconds
from foredraft.server.sse import while_connected

router = APIRouter(prefix="/v1", tags=["OpenAI"], route_class=LimitedRoute)

CAN_BE_CUT = ("gemma-embedding", "embeddinggemma", "qwen3-embedding")
"""Architectures and names of models whose first numbers are a vector of their own (Matryoshka representation learning,
by their model cards). Files do not say it."""


@router.post("/embeddings", response_model=None)
async def embeddings(body: EmbeddingRequest, request: Request, services: ServicesOf) -> Response:
    """One vector of length 1 for each text."""
    ttl_s = idle_seconds(body.ttl, body.keep_alive)
    model_id, made = await while_connected(request, embed(services, body.model, _texts(body), ttl_s))
    vectors = made.vectors
    if body.dimensions is not None:
        state = services.runtime.state(model_id)
        if state is None or state.info is None:
            raise ModelUnloadedError(model_id)
        vectors = shortened(vectors, body.dimensions, model_id, state.info)
    written = _as_text if body.encoding_format == "base64" else _as_numbers
    page = await services.pools.prompts.run(_page, vectors, written, model_id, made.tokens, noted())
    return Response(page, media_type="application/json")


def _page(vectors: Vectors, written: Callable[[Vectors], Any], model: str, tokens: int, warnings: Sequence[str]) -> str:
    """The answer as JSON. Vector by vector: writing all of them at once would hold up the models and every stream."""
    rows = (json.dumps({"object": "embedding", "index": i, "embedding": written(row)}) for i, row in enumerate(vectors))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    rest = json.dumps({"model": model, "usage": usage} | as_field(warnings), ensure_ascii=False)
    return f'{{"object": "list", "data": [{", ".join(rows)}], {rest[1:]}'


async def embed(
    services: Services,
    name: str,
    texts: Sequence[str | Sequence[int]],
    ttl_s: float | None = -1.0,
    *,
    cut: bool = False,
) -> tuple[str, Embeddings]:
    """(id of the model, the vectors of some texts). With `cut` the ends of texts that are too long are left out; else
    they are refused."""
    for _ in range(3):
        model_id, _seconds = await find_model(services, name, ttl_s=ttl_s, kind="embedding")
        try:
            with services.runtime.use_embedder(model_id) as model:
                tokens = await services.pools.prompts.run(
                    tokens_to_embed, services.preparation.tokenizer, model, texts, cut=cut
                )
                return model_id, await services.runtime.embed(model_id, tokens)
        except ModelUnloadedError:  # it left between the two steps; asked for again
            continue
    raise ModelUnloadedError(name)


def _texts(body: EmbeddingRequest) -> Sequence[str | Sequence[int]]:
    given: Any = body.input
    if isinstance(given, str) or isinstance(given[0], int):
        return [given]
    texts: Sequence[str | Sequence[int]] = given
    return texts


def shortened(vectors: Vectors, dimensions: int, model: str, info: ModelInfo) -> Vectors:
    """The first numbers of each vector, at length 1 again. Raises `RequestError` for models not trained for it."""
    own = vectors.shape[1]
    if dimensions == own:
        return vectors
    names = {info.architecture, re.sub(r"[^a-z0-9]+", "-", info.name.lower())}
    able = any(known in name for known in CAN_BE_CUT for name in names)
    if not able or dimensions > own:
        why = f"{model} has {own}" if dimensions > own else f"{model} was not trained to give fewer than its {own}"
        raise RequestError(f"dimensions is {dimensions}, but {why}.", param="dimensions", hint="Leave dimensions out.")
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    result: Vectors = np.divide(cut, lengths, out=np.zeros_like(cut), where=lengths > 0)
    return result


def _as_numbers(row: Vectors) -> list[float]:
    numbers: list[float] = row.tolist()
    return numbers


def _as_text(row: Vectors) -> str:
    """Base64 of 32-bit numbers, the low byte first: what OpenAI's clients ask for unless told otherwise."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
