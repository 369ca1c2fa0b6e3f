"""/system and /diagnostics: what there is, who is there, and the log as it is written."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from foredraft.runtime.worker import Outcome
from foredraft.scheduling.request import Generation
from foredraft.server.context import Services
from foredraft.server.control import foredraft_version
from foredraft.server.event_log import Entry
from foredraft.server.lmstudio.sdk import cards, shapes
from foredraft.server.lmstudio.sdk.endpoints import Channel, on_one_line
from foredraft.server.lmstudio.sdk.wire import Heard

OUTPUTS_KEPT = 100
"""Answers that wait for a reader of the log who is slow."""


class Variants(Heard):
    model_key: str


class Notice(Heard):
    title: str = ""
    description: str = ""


async def downloaded(services: Services, _: None) -> list[shapes.Model]:
    """Every model on the shelf."""
    return await cards.shelf(services)


async def variants(services: Services, asked: Variants) -> list[shapes.Model]:
    """A model's other quantisations are models of their own here."""
    return [one for one in await cards.shelf(services) if one.model_key.lower() == asked.model_key.lower()]


async def version(services: Services, _: None) -> shapes.Version:
    return shapes.Version(version=foredraft_version(), build=0)


async def info(services: Services, _: None) -> shapes.ProcessInfo:
    return shapes.ProcessInfo(pid=os.getpid(), is_daemon=True, version=foredraft_version())


async def notify(services: Services, asked: Notice) -> None:
    """A client's notice goes into the log."""
    said = on_one_line(f"{asked.title} {asked.description}")
    services.event_log.write("lmstudio", f"A client says: {said}")


async def nothing(services: Services, _: None) -> list[str]:
    """An empty list."""
    return []


async def already(services: Services, _: None) -> None:
    """The HTTP server that is to be started is this one."""


async def alive(services: Services, _: None, channel: Channel) -> None:
    """Stays open for as long as the server is there."""
    await channel.until_stopped()


# ---- the log ----


async def stream_logs(services: Services, _: None, channel: Channel) -> None:
    """What is written into the log from now on. Prompts and answers only with --log-prompts, as everywhere."""

    async def entries() -> None:
        async for entry in services.event_log.follow(services.event_log.last):
            await channel.say(shapes.NewLog(log=await _written(services, entry)))

    async def outputs(coming: asyncio.Queue[shapes.LogData]) -> None:
        while True:
            data = await coming.get()
            await channel.say(shapes.NewLog(log=shapes.LogEvent(timestamp=round(time.time() * 1000), data=data)))

    with _answers(services) as coming:
        following = [asyncio.create_task(entries()), asyncio.create_task(outputs(coming))]
        stopped = asyncio.create_task(channel.until_stopped())
        try:
            await asyncio.wait([*following, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*following, stopped):
                task.cancel()
            await asyncio.gather(*following, stopped, return_exceptions=True)


async def _written(services: Services, entry: Entry) -> shapes.LogEvent:
    """An entry of the log. A prompt has a form of its own."""
    at = round(entry.at * 1000)
    if entry.kind == "prompt":
        model = str(entry.fields.get("model", ""))
        state = services.runtime.state(model)
        path = (await cards.instance(services, state)).path if state is not None and state.info is not None else model
        data = shapes.LogData(type="llm.prediction.input", input=entry.message, model_path=path, model_identifier=model)
        return shapes.LogEvent(timestamp=at, data=data)
    failed = "error" in entry.fields
    data = shapes.LogData(type="server.log", content=entry.message, level="error" if failed else "info")
    return shapes.LogEvent(timestamp=at, data=data)


@contextmanager
def _answers(services: Services) -> Iterator[asyncio.Queue[shapes.LogData]]:
    """Texts of answers as they end, where prompts are logged too."""
    coming: asyncio.Queue[shapes.LogData] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def put(data: shapes.LogData) -> None:
        if coming.qsize() < OUTPUTS_KEPT:
            coming.put_nowait(data)

    def ended(model: str, outcome: Outcome) -> None:
        if isinstance(outcome, Generation):
            data = shapes.LogData(type="llm.prediction.output", output=outcome.text, model_identifier=model)
            loop.call_soon_threadsafe(put, data)

    if services.settings.log_prompts:
        services.runtime.listeners.append(ended)
    try:
        yield coming
    finally:
        if services.settings.log_prompts:
            services.runtime.listeners.remove(ended)
