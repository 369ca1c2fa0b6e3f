"""AsyncLLM: the same as `LLM`, for an event loop.

>>> import asyncio
>>> from foredraft import AsyncLLM
>>> async def main():
...     async with AsyncLLM.load() as llm:                          # the embedded pair
...         print((await llm.chat("What is 2 + 3?", temperature=0)).text)
...         async for piece in llm.chat("What is 2 + 3?", temperature=0):
...             print(piece.text, end="")
>>> asyncio.run(main())
2 + 3 = 5
2 + 3 = 5

The models lie with a thread of their own (`runtime/`): nothing here holds the loop up, and answers that are asked for
at once are written together, as far as `LoadSettings.slots` go.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast, overload

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import Cancelled, ClosedError, ForedraftError
from foredraft.core.params import Request
from foredraft.engines.base import ModelInfo, Numerics
from foredraft.pair.async_stream import AsyncAnswerStream
from foredraft.pair.batch import AHEAD, BatchError, checked_n, with_seed
from foredraft.pair.keywords import (
    AnswerKeywords,
    Conversation,
    Conversations,
    Message,
    Prompt,
    Prompts,
    listed,
    listed_conversations,
)
from foredraft.pair.llm import LLM
from foredraft.pair.stream import Progress
from foredraft.runtime.errors import ModelUnloadedError, RuntimeClosedError
from foredraft.runtime.handle import RequestHandle
from foredraft.runtime.managed_model import LoadedModel, LoadSpec
from foredraft.runtime.managed_model import Progress as LoadProgress
from foredraft.runtime.runtime import Runtime
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation, SpeculationStatus

_ID = "llm"
_NO_LIMIT = 2**31
"""Requests that may wait: whoever asks is this program itself."""
P = TypeVar("P")
T = TypeVar("T")


class AsyncLLM:
    """A loaded pair for an event loop, or several. Texts are those of `LLM`."""

    def __init__(self, runtime: Runtime, info: ModelInfo) -> None:
        """`load` is the way to one."""
        self._runtime = runtime
        self._info = info
        self._closed = False

    @classmethod
    def load(
        cls,
        main: str | Path | None = None,
        draft: str | Path | None = "auto",
        *,
        settings: LoadSettings | None = None,
        draft_required: bool = False,
        force: bool = False,
        download: bool = True,
        progress: Progress | None = None,
    ) -> Loading:
        """Load a pair as `LLM.load` does: `llm = await AsyncLLM.load(…)`, or `async with AsyncLLM.load(…) as llm`.
        `progress` is called on the loop."""
        given = {"settings": settings, "draft_required": draft_required, "force": force, "download": download}

        def load(spec: LoadSpec, told: LoadProgress) -> LoadedModel:
            wish = draft if spec.draft == _word(draft) else spec.draft
            return LLM.load(main, wish, progress=told, **given)  # type: ignore[arg-type]

        return Loading(partial(_loaded, cls, load, _word(draft), progress))

    @classmethod
    def of(cls, llm: LLM) -> Loading:
        """A pair that was loaded before, or made from parts, from now on for event loops alone: closing this closes
        it."""
        return Loading(partial(_loaded, cls, lambda *_: llm, "auto", None))

    # ---- answering ----

    def stream(
        self, prompt: Prompt, *, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> AsyncAnswerStream:
        """Continue a text (no chat template), piece by piece."""
        return self._answer(lambda model: model._asks(params)(prompt), progress)

    @overload
    def generate(
        self, prompt: Prompt, *, n: None = None, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> AsyncAnswerStream: ...
    @overload
    def generate(
        self, prompt: Prompt, *, n: int, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> Coroutine[Any, Any, list[Generation]]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, n: None = None, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> Coroutine[Any, Any, list[Generation]]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, n: int, progress: Progress | None = None, **params: Unpack[AnswerKeywords]
    ) -> Coroutine[Any, Any, list[list[Generation]]]: ...
    def generate(
        self,
        prompt: Prompt | Prompts,
        *,
        n: int | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> AsyncAnswerStream | Coroutine[Any, Any, list[Generation] | list[list[Generation]]]:
        """Continue a text (no chat template) to its end; see `LLM.generate` for lists and `n`."""
        prompts, alone = listed(prompt)
        if alone and n is None:
            return self.stream(prompts[0], progress=progress, **params)
        return self._batch(prompts, lambda model: model._asks(params), n, alone, progress)

    @overload
    def chat(
        self,
        messages: Conversation,
        *,
        n: None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> AsyncAnswerStream: ...
    @overload
    def chat(
        self,
        messages: Conversation,
        *,
        n: int,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> Coroutine[Any, Any, list[Generation]]: ...
    @overload
    def chat(
        self,
        messages: Conversations,
        *,
        n: None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> Coroutine[Any, Any, list[Generation]]: ...
    @overload
    def chat(
        self,
        messages: Conversations,
        *,
        n: int,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> Coroutine[Any, Any, list[list[Generation]]]: ...
    def chat(
        self,
        messages: Conversation | Conversations,
        *,
        n: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        **params: Unpack[AnswerKeywords],
    ) -> AsyncAnswerStream | Coroutine[Any, Any, list[Generation] | list[list[Generation]]]:
        """Answer a conversation, with the file's own chat template; see `LLM.chat`."""

        def asks(model: LLM) -> Callable[[Conversation], Request]:
            common = model._asks(params)
            return lambda one: common(model.render(one, tools=tools, template_variables=template_variables))

        conversations, alone = listed_conversations(messages)
        if alone and n is None:
            return self._answer(lambda model: asks(model)(conversations[0]), progress)
        return self._batch(conversations, asks, n, alone, progress)

    async def score(self, text: str | Sequence[int], *, top: int = 0) -> list[TokenLogprob]:
        """How likely the model finds a text; see `LLM.score`."""
        request = await self._off_loop(lambda model: model.request(text, max_tokens=0))
        scored = (await (await self._submitted(request, prompt_logprobs=top)).result()).prompt_logprobs
        assert scored is not None, "they were asked for"
        return scored

    # ---- texts and tokens ----

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """A text as token ids; see `LLM.tokenize`."""
        return await self._off_loop(
            lambda model: model.tokenize(text, add_special=add_special, parse_special=parse_special)
        )

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """A text that becomes these tokens again; see `LLM.detokenize`."""
        return await self._off_loop(lambda model: model.detokenize(tokens))

    async def count(
        self,
        text: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template_variables: Mapping[str, Any] | None = None,
    ) -> int:
        """How many tokens a text or a conversation has; see `LLM.count`."""
        return await self._off_loop(lambda model: model.count(text, tools=tools, template_variables=template_variables))

    # ---- what it is ----

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def draft_info(self) -> ModelInfo | None:
        state = self._runtime.state(_ID)
        return state.draft_info if state is not None else None

    @property
    def numerics(self) -> Numerics | None:
        state = self._runtime.state(_ID)
        return state.numerics if state is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What the load decided on its own, in words."""
        state = self._runtime.state(_ID)
        return state.notes if state is not None else ()

    @property
    def speculation(self) -> SpeculationStatus:
        """What the draft is doing now, and why."""
        state = self._runtime.state(_ID)
        return state.speculation if state is not None else SpeculationStatus("off", "It has been closed.")

    async def set_draft(
        self, draft: str | Path | None, *, required: bool = False, force: bool = False, device: str | None = None
    ) -> None:
        """Change the draft, when the answers that are being written have ended; see `LLM.set_draft`."""
        self._require_open()
        await self._runtime.set_draft(_ID, _word(draft), required=required, force=force, device=device)

    async def close(self) -> None:
        """End every answer and free both models. Whatever is asked afterwards raises `ClosedError`; closing again does
        nothing."""
        self._closed = True
        await self._runtime.close(0.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        draft = f", draft {self.draft_info.name}" if self.draft_info is not None else ", no draft"
        state = "closed" if self._closed else f"context {self.info.n_ctx:,}, answers at once: {self.info.n_slots}"
        return f"AsyncLLM({self.info.name} {self.info.quantisation}{draft}, {state})"

    # ---- inside ----

    def _answer(self, request: Callable[[LLM], Request], progress: Progress | None) -> AsyncAnswerStream:
        async def submit() -> RequestHandle:
            return await self._submitted(await self._off_loop(request))

        return AsyncAnswerStream(submit, self.info.name, progress)

    async def _batch(
        self,
        prompts: Sequence[P],
        asks: Callable[[LLM], Callable[[P], Request]],
        n: int | None,
        alone: bool,
        progress: Progress | None,
    ) -> Any:
        """What `LLM.generate` says of lists and `n`."""
        each = 1 if n is None else checked_n(n)
        request = await self._off_loop(asks)
        room, ended = asyncio.Semaphore(AHEAD * self.info.n_slots), 0

        async def answer(prompt: P, number: int) -> Generation | ForedraftError:
            nonlocal ended
            async with room:
                try:
                    asked = await self._off_loop(lambda _: with_seed(request(prompt), number))
                    return await AsyncAnswerStream(partial(self._submitted, asked), self.info.name)
                except ForedraftError as error:
                    return error
                finally:
                    ended += 1
                    if progress is not None:
                        progress("answers", ended / (each * len(prompts)))

        tasks = [asyncio.create_task(answer(prompt, number)) for prompt in prompts for number in range(each)]
        try:
            results = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        answers = [result for result in results if not isinstance(result, ForedraftError)]
        if len(answers) < len(results):
            raise BatchError(results)
        groups = [answers[at : at + each] for at in range(0, len(answers), each)]
        return groups[0] if alone else groups if n is not None else answers

    async def _submitted(self, request: Request, *, prompt_logprobs: int | None = None) -> RequestHandle:
        """The answer to a request that the scheduler has taken. Raises what is wrong with it."""
        self._require_open()
        handle = self._runtime.submit(_ID, request, prompt_logprobs=prompt_logprobs)
        try:
            await handle.accepted()
        except (ModelUnloadedError, RuntimeClosedError):
            raise ClosedError(self.info.name) from None
        except BaseException:
            handle.cancel()
            raise
        return handle

    async def _off_loop(self, work: Callable[[LLM], T]) -> T:
        """Do something with the model that is safe beside the model thread, on a thread of asyncio's."""
        self._require_open()

        def kept() -> T:
            with self._runtime.use(_ID) as model:  # here: it stays for as long as the thread has it
                return work(cast(LLM, model))

        try:
            return await asyncio.to_thread(kept)
        except (ModelUnloadedError, RuntimeClosedError):
            raise ClosedError(self.info.name) from None

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(self.info.name)


class Loading(Awaitable[AsyncLLM]):
    """A load: await it for the model, or use it with `async with`, which closes the model at the end."""

    def __init__(self, load: Callable[[], Coroutine[Any, Any, AsyncLLM]]) -> None:
        self._load = load
        self._loaded: AsyncLLM | None = None

    def __await__(self) -> Generator[Any, Any, AsyncLLM]:
        return self._load().__await__()

    async def __aenter__(self) -> AsyncLLM:
        self._loaded = await self._load()
        return self._loaded

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loaded is not None:
            await self._loaded.close()


async def _loaded(
    cls: type[AsyncLLM],
    load: Callable[[LoadSpec, LoadProgress], LoadedModel],
    draft: str | None,
    progress: Progress | None,
) -> AsyncLLM:
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
        await runtime.load(LoadSpec(id=_ID, draft=draft, ttl_s=None))
        with runtime.use(_ID) as model:
            return cls(runtime, model.info)
    except Exception:
        await runtime.close(0.0)
        raise
    except BaseException:  # nobody waits any more: the load ends, and its threads, as soon as it notices
        given_up.set()
        threading.Thread(target=runtime.close_now, name="foredraft-close", daemon=True).start()
        raise


def _word(draft: str | Path | None) -> str | None:
    return None if draft is None else str(draft)
