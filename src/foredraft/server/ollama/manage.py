"""Getting, deleting and naming models: /api/pull, /api/delete, /api/copy; and what is not done here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from foredraft.core.errors import DownloadError, ForedraftError, ModelNotFoundError
from foredraft.server.bodies import LimitedRoute
from foredraft.server.context import Services
from foredraft.server.control import unload_model
from foredraft.server.deps import ServicesOf
from foredraft.server.downloads import Job
from foredraft.server.errors import RequestError, ollama_body
from foredraft.server.naming import named_model
from foredraft.server.ollama.names import LATEST, asked, ours
from foredraft.server.ollama.schemas import CopyRequest, Named, PullRequest
from foredraft.server.sse import LineStream, line, while_connected

router = APIRouter(prefix="/api", tags=["Ollama"], route_class=LimitedRoute)


@router.post("/pull", response_model=None)
async def pull(body: PullRequest, request: Request, services: ServicesOf) -> Response:
    """Get a model from Hugging Face, by a name of the catalogue, or `hf.co/OWNER/NAME:QUANTISATION`. Progress comes as
    lines; a client that leaves stops it, and the next pull goes on from there."""
    asked(body)
    wish = (body.model or body.name).strip()
    wish = wish[: -len(LATEST)] if wish.lower().endswith(LATEST) else wish
    job = await services.downloads.begin(wish, "", services.pools.downloads)
    lines = _progress(services, str(job["job_id"]))
    if body.stream is not False:
        return LineStream(lines)

    async def last() -> dict[str, Any]:
        async with aclosing(_steps(services, str(job["job_id"]))) as steps:
            return [step async for step in steps][-1]

    return JSONResponse(await while_connected(request, last()))


async def _progress(services: Services, job_id: str) -> AsyncGenerator[bytes, None]:
    try:
        async with aclosing(_steps(services, job_id)) as steps:
            async for step in steps:
                yield line(step)
    except ForedraftError as error:
        yield line(ollama_body(error))


async def _steps(services: Services, job_id: str) -> AsyncGenerator[dict[str, Any], None]:
    """What Ollama says of a pull, to its end. Raises what ended it too early; who does not wait for the end gives it
    up."""
    try:
        yield {"status": "pulling manifest"}
        shown = (-1, -1)
        async for job in services.downloads.follow(job_id):
            if job.total and (job.arrived, job.total) != shown:
                shown = (job.arrived, job.total)
                yield _step(job)
            if job.status == "failed":
                raise DownloadError("pull", job.error)
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        yield {"status": "success"}
    finally:
        services.downloads.cancel(job_id)


def _step(job: Job) -> dict[str, Any]:
    step: dict[str, Any] = {"status": f"pulling {job.digest[:12] or job.model}"}
    if job.digest:
        step["digest"] = f"sha256:{job.digest}"
    return step | {"total": job.total, "completed": job.arrived}


@router.delete("/delete", response_model=None, response_class=Response)
async def delete(body: Named, services: ServicesOf) -> Response:
    """Delete a model of Foredraft's own folder, by its whole name; or a name that a copy gave. One that is answering is
    not deleted."""
    name = asked(body)
    if await asyncio.to_thread(services.aliases.take, name):
        services.event_log.write("model", f"Forgot the name {name}", model=name)
        return Response(status_code=200)
    if services.store is None:
        raise RequestError("This server has no shelf to delete from.", param="model")
    model = next((one for one in services.store.models() if one.name == name.lower()), None)
    if model is None:
        raise ModelNotFoundError(name, hint="Deleting takes the whole name, as /api/tags lists it.")
    state = services.runtime.state(model.name)
    if state is not None:
        if state.running or state.waiting:
            raise RequestError(f"{model.name} is answering; it is not deleted now.", param="model", status=409)
        await unload_model(services, model.name)
    freed = await asyncio.to_thread(services.store.remove, model)
    services.event_log.write("model", f"Deleted {model.name} ({freed:,} bytes)", model=model.name)
    return Response(status_code=200)


@router.post("/copy", response_model=None, response_class=Response)
async def copy(body: CopyRequest, services: ServicesOf) -> Response:
    """Give a model one more name. It is kept, and deleting it leaves the model where it is."""
    source, alias = ours(body.source), ours(body.destination)
    if not source or not alias:
        raise RequestError("source and destination are required", param="source" if not source else "destination")
    model_id, _ = await named_model(services, source, kind=None)
    names = await asyncio.to_thread(services.shelf.names) if services.shelf is not None else ()
    if alias.lower() in [name.lower() for name in names]:
        raise RequestError(f"There is a model {alias!r} already.", param="destination", status=409)
    await asyncio.to_thread(services.aliases.give, alias, model_id)
    return Response(status_code=200)


@router.post("/create", response_model=None)
@router.post("/push", response_model=None)
async def refused(request: Request) -> Response:
    """Not done here: models are files, and nothing is uploaded."""
    raise RequestError(
        f"{request.url.path} is not served here: models are GGUF files as they are, and nothing is uploaded.",
        hint="foredraft import puts a file on the shelf; settings of a model stand in config.toml.",
    )
