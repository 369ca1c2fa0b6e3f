"""An answer being written, for an event loop: awaited it is the result, iterated over its pieces as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

from foredraft.core.errors import ClosedError, ForedraftError
from foredraft.pair.reading import Reading
from foredraft.pair.results import Answer
from foredraft.pair.stream import Progress
from foredraft.runtime.errors import ModelUnloadedError, RuntimeClosedError
from foredraft.runtime.events import Failed, NewPieces, PromptProgress
from foredraft.runtime.handle import RequestHandle
from foredraft.scheduling.notebook import short
from foredraft.scheduling.stream import Piece

Submit = Callable[[], Awaitable[tuple[RequestHandle, Reading]]]
"""Prepares the request off the loop, and hands it to the model thread."""


class AsyncAnswerStream(Coroutine[Any, Any, Answer]):
    """An answer being written. `await` it for the result, or iterate over its pieces with `async for`, and await it
    afterwards for the statistics. It begins with either; whoever stops waiting (a task that is cancelled, a loop that
    is left) cancels the answer. It is a coroutine: `asyncio.create_task`, `gather`, `wait_for` and task groups take it.
    """

    def __init__(self, submit: Submit, model: str, progress: Progress | None = None) -> None:
        """`model` is the model's name."""
        self._submit = submit
        self._model = model
        self._progress = progress
        self._begin = asyncio.Lock()
        self._handle: RequestHandle | None = None
        self._reading = Reading()
        self._waiting: Coroutine[Any, Any, Answer] | None = None

    def __await__(self) -> Generator[Any, Any, Answer]:
        return self._result().__await__()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        handle = await self._begun()
        try:
            async for event in handle.events():
                if isinstance(event, NewPieces):
                    for piece in event.pieces:
                        for told in self._reading.read(piece):
                            yield told
                elif isinstance(event, PromptProgress) and self._progress is not None:
                    self._progress("prompt", event.read / event.total)
                elif isinstance(event, Failed):
                    raise self._worded(event.error)
            for told in self._reading.rest():
                yield told
        finally:
            handle.cancel()  # of one that has ended: nothing

    @property
    def text(self) -> str:
        """What has been written so far."""
        return self._reading.text(self._handle.text) if self._handle is not None else ""

    @property
    def done(self) -> bool:
        """Whether the answer has ended."""
        return self._handle is not None and self._handle.done

    def cancel(self) -> None:
        """End the answer with what it has, which `await` then gives. Does nothing to one that has not begun."""
        if self._handle is not None:
            self._handle.cancel()

    def __repr__(self) -> str:
        state = "ended" if self.done else "being written" if self._handle is not None else "not begun"
        return f"AsyncAnswerStream({short(self.text)}, {state})"

    async def _result(self) -> Answer:
        handle = await self._begun()
        try:
            return self._reading.answer(await handle.result())
        except ForedraftError as error:
            raise self._worded(error) from None
        finally:
            handle.cancel()  # of one that has ended: nothing

    def _worded(self, error: ForedraftError) -> ForedraftError:
        return ClosedError(self._model) if isinstance(error, (ModelUnloadedError, RuntimeClosedError)) else error

    async def _begun(self) -> RequestHandle:
        async with self._begin:
            if self._handle is None:
                self._handle, self._reading = await self._submit()
            return self._handle

    # ---- a coroutine, as far as asyncio looks ----

    def send(self, value: Any) -> Any:
        if self._waiting is None:
            self._waiting = self._result()
        return self._waiting.send(value)

    def throw(
        self,
        kind: Any,
        value: BaseException | object = None,
        trace: TracebackType | None = None,
        /,
    ) -> Any:
        if self._waiting is None:
            self._waiting = self._result()
        return self._waiting.throw(kind if isinstance(kind, BaseException) else value or kind)  # type: ignore[arg-type]

    def close(self) -> None:
        if self._waiting is not None:
            self._waiting.close()
