"""The events of several answers as one stream, in the order in which they happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from foredraft.runtime.events import Event
from foredraft.server.pipeline import Completion


async def merged(choices: Sequence[Completion]) -> AsyncIterator[tuple[Completion, Event]]:
    """Each event with its choice, until all have ended. An error of one ends all."""
    if len(choices) == 1:
        async for happened in choices[0].events():
            yield choices[0], happened
        return
    arrived: asyncio.Queue[tuple[Completion, Event | BaseException | None]] = asyncio.Queue(maxsize=len(choices))

    async def follow(choice: Completion) -> None:
        try:
            async for happened in choice.events():
                await arrived.put((choice, happened))
            await arrived.put((choice, None))
        except Exception as error:  # noqa: BLE001 - raised again below
            await arrived.put((choice, error))

    tasks = [asyncio.create_task(follow(choice)) for choice in choices]
    try:
        left = len(choices)
        while left:
            choice, said = await arrived.get()
            if said is None:
                left -= 1
            elif isinstance(said, BaseException):
                raise said
            else:
                yield choice, said
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
