"""/repository: finding models on Hugging Face, and getting them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from pydantic import Field

from foredraft.core.errors import ForedraftError
from foredraft.models import hub
from foredraft.models.memory import Machine, this_machine
from foredraft.server.context import Services
from foredraft.server.downloads import Job
from foredraft.server.lmstudio.sdk import shapes
from foredraft.server.lmstudio.sdk.endpoints import Channel
from foredraft.server.lmstudio.sdk.problems import SdkError
from foredraft.server.lmstudio.sdk.wire import Heard

MOST = 25


class SearchOptions(Heard):
    search_term: str = Field(default="", max_length=1000)
    limit: Annotated[int, Field(ge=1, le=MOST)] | None = None


class Search(Heard):
    opts: SearchOptions = SearchOptions()


class ResultIdentifier(Heard):
    type: Literal["catalog", "hf"]
    identifier: str = Field(max_length=1000)


class Options(Heard):
    model_search_result_identifier: ResultIdentifier


class Download(Heard):
    download_identifier: str = Field(max_length=1000)


async def search(services: Services, asked: Search) -> shapes.FoundModels:
    """Repositories with GGUF files, the most downloaded first."""
    term = asked.opts.search_term
    found = await asyncio.to_thread(hub.search, term, limit=asked.opts.limit or MOST)
    return shapes.FoundModels(
        results=[
            shapes.Found(
                name=one.name,
                identifier=shapes.FoundIdentifier(identifier=one.name),
                exact=one.name.lower() == term.lower() or None,
            )
            for one in found
        ]
    )


async def options(services: Services, asked: Options) -> shapes.DownloadOptions:
    """What a repository offers, and whether it would fit."""
    return shapes.DownloadOptions(
        results=await asyncio.to_thread(_offered, asked.model_search_result_identifier.identifier)
    )


def _offered(wish: str) -> list[shapes.DownloadOption]:
    repository = hub.look(hub.parse_wish(wish)[0])
    usual, machine = hub.choose(repository), this_machine()
    return [
        shapes.DownloadOption(
            quantization=choice.quantisation,
            name=f"{repository.name} {choice.quantisation}",
            size_bytes=choice.size,
            fit_estimation=_fit(choice.size, machine),
            recommended=choice is usual or None,
            download_identifier=f"{repository.name}@{choice.quantisation}",
            indexed_model_identifier=f"{repository.name}/{choice.files[0].path}",
            compatibility_type="gguf",
        )
        for choice in repository.choices
    ]


def _fit(size: int, machine: Machine) -> Literal["fullGPUOffload", "partialGPUOffload", "fitWithoutGPU", "willNotFit"]:
    """By the file's size alone: what the context will need is known when it is loaded."""
    if machine.video_total and size <= machine.video:
        return "fullGPUOffload"
    if machine.video_total and size <= machine.video + machine.ram:
        return "partialGPUOffload"
    return "fitWithoutGPU" if size <= machine.ram else "willNotFit"


async def download(services: Services, asked: Download, channel: Channel) -> None:
    """Get a model, saying how far it is. What has arrived when the client cancels is kept for the next try."""
    wish = asked.download_identifier
    names = set(await asyncio.to_thread(_names, services))
    began = await services.downloads.begin(wish, "", services.pools.downloads)
    job = services.downloads.job(began["job_id"])
    channel.on_stop(lambda: services.downloads.cancel(job.id))
    try:
        async for now in services.downloads.follow(job.id):
            await channel.say(_update(now))
    finally:
        services.downloads.cancel(job.id)
    if job.status == "failed":
        raise SdkError("The download was cancelled." if channel.stopped else f"{wish} was not downloaded. {job.error}")
    await channel.say(shapes.StartFinalizing())
    await channel.say(shapes.Downloaded(default_identifier=await asyncio.to_thread(_name, services, wish, names)))


def _update(job: Job) -> shapes.DownloadProgress:
    said = job.as_dict()
    update = shapes.DownloadUpdate(
        downloaded_bytes=job.arrived, total_bytes=job.total, speed_bytes_per_second=float(said["bytes_per_second"])
    )
    return shapes.DownloadProgress(update=update)


def _names(services: Services) -> list[str]:
    return list(services.shelf.names()) if services.shelf is not None else []


def _name(services: Services, wish: str, before: set[str]) -> str:
    """What the shelf calls what has been downloaded."""
    if services.shelf is not None:
        try:
            return services.shelf.spec(wish, None).id
        except ForedraftError:
            pass
    new = [name for name in _names(services) if name not in before]
    return new[0] if new else wish
