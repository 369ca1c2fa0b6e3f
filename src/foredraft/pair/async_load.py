"""A load for an event loop: off the loop, and given up with the task that waits for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any, Protocol, TypeVar

from foredraft.core.errors import Cancelled
from foredraft.engines.base import ModelInfo
from foredraft.pair.stream import Progress
from foredraft.runtime.managed_model import LoadedModel, LoadSpec
from foredraft.runtime.managed_model import Progress as LoadProgress
from foredraft.runtime.runtime import Runtime

MODEL = "llm"
"""The id of the one model that such a runtime has."""
_NO_LIMIT = 2**31
"""Requests that may wait: whoever asks is this program itself."""


class Closes(Protocol):
    """What was loaded."""

    async def close(self) -> None: ...


M = TypeVar("M", bound=Closes)


class Loading(Awaitable[M]):
    """A load: await it for the model, or use it with `async with`, which closes the model at the end."""

    def __init__(self, load: Callable[[], Coroutine[Any, Any, M]]) -> None:
        self._load = load
        self._loaded: M | None = None

    def __await__(self) -> Generator[Any, Any, M]:
        return self._load().__await__()

    async def __aenter__(self) -> M:
        self._loaded = await self._load()
        return self._loaded

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loaded is not None:
            await self._loaded.close()


async def open_runtime(
    load: Callable[[LoadSpec, LoadProgress], LoadedModel], draft: str | None, progress: Progress | None
) -> tuple[Runtime, ModelInfo]:
    """A runtime with one model, `MODEL`. `progress` is called on the loop. Whoever stops waiting leaves nothing behind:
    the load ends, and its threads, as soon as it notices."""
    loop, given_up = asyncio.get_running_loop(), threading.Event()

    def told(part: str, share: float) -> None:
        if given_up.is_set():
            raise Cancelled
        if progress is not None:
            loop.call_soon_threadsafe(progress, part, share)

    def kept(spec: LoadSpec, _: LoadProgress) -> LoadedModel:
        model = load(spec, told)
        if given_up.is_set():
            model.close()
            raise Cancelled
        return model

    runtime = Runtime(kept, queue_limit=_NO_LIMIT)
    try:
        await runtime.load(LoadSpec(id=MODEL, draft=draft, ttl_s=None))
        with runtime.use(MODEL) as model:
            return runtime, model.info
    except Exception:
        await runtime.close(0.0)
        raise
    except BaseException:
        given_up.set()
        threading.Thread(target=runtime.close_now, name="foredraft-close", daemon=True).start()
        raise
