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
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast, overload

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import ClosedError, ForedraftError
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo, Numerics
from foredraft.pair.answering import Each, Prepared, Rule, grouped
from foredraft.pair.async_load import MODEL, Loading, open_runtime
from foredraft.pair.async_stream import AsyncAnswerStream
from foredraft.pair.batch import AHEAD, BatchError, checked_n
from foredraft.pair.keywords import (
    AnswerKeywords,
    ChatKeywords,
    Conversation,
    Conversations,
    Prompt,
    Prompts,
    listed,
    listed_conversations,
)
from foredraft.pair.llm import LLM
from foredraft.pair.load_keywords import LoadKeywords
from foredraft.pair.reading import Reading
from foredraft.pair.results import Answer
from foredraft.pair.speculation import Controller
from foredraft.pair.stream import Progress
from foredraft.pair.tools import Tool
from foredraft.runtime.errors import ModelUnloadedError, RuntimeClosedError
from foredraft.runtime.handle import RequestHandle
from foredraft.runtime.managed_model import LoadedModel, LoadSpec
from foredraft.runtime.managed_model import Progress as LoadProgress
from foredraft.runtime.runtime import Runtime
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import SpeculationStatus
from foredraft.speculative.drafters import Drafter

T = TypeVar("T")
Coming = Coroutine[Any, Any, T]
"""What an `await` gives."""


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
        drafter: Drafter | None = None,
        rule: Rule = "match",
        controller: Controller | None = None,
        settings: LoadSettings | None = None,
        draft_required: bool = False,
        force: bool = False,
        download: bool = True,
        progress: Progress | None = None,
        **fields: Unpack[LoadKeywords],
    ) -> Loading[Self]:
        """Load a pair as `LLM.load` does: `llm = await AsyncLLM.load(…)`, or `async with AsyncLLM.load(…) as llm`.
        `progress` is called on the loop."""
        given: dict[str, Any] = {"drafter": drafter, "rule": rule, "controller": controller, **fields}
        given |= {"settings": settings, "draft_required": draft_required, "force": force, "download": download}

        def load(spec: LoadSpec, told: LoadProgress) -> LoadedModel:
            wish = draft if spec.draft == _word(draft) else spec.draft
            return LLM.load(main, wish, progress=told, **given)

        return Loading(partial(cls._opened, load, _word(draft), progress))

    @classmethod
    def of(cls, llm: LLM) -> Loading[Self]:
        """A pair that was loaded before, or made from parts, from now on for event loops alone: closing this closes
        it."""
        return Loading(partial(cls._opened, lambda *_: llm, "auto", None))

    @classmethod
    async def _opened(
        cls,
        load: Callable[[LoadSpec, LoadProgress], LoadedModel],
        draft: str | None,
        progress: Progress | None,
    ) -> Self:
        return cls(*await open_runtime(load, draft, progress))

    # ---- answering ----

    def stream(self, prompt: Prompt, **params: Unpack[AnswerKeywords]) -> AsyncAnswerStream:
        """Continue a text (no chat template), piece by piece; or answer a request, as it is written."""

        def prepared(model: LLM) -> Prepared:
            ask = model._asked(params, AnswerKeywords)
            return model._prepared(ask.prompt(prompt), ask.structure)

        return self._answer(prepared, params.get("progress"))

    @overload
    def generate(self, prompt: Prompt, *, n: None = None, **params: Unpack[AnswerKeywords]) -> AsyncAnswerStream: ...
    @overload
    def generate(self, prompt: Prompt, *, n: int, **params: Unpack[AnswerKeywords]) -> Coming[list[Answer]]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, n: None = None, **params: Unpack[AnswerKeywords]
    ) -> Coming[list[Answer]]: ...
    @overload
    def generate(self, prompt: Prompts, *, n: int, **params: Unpack[AnswerKeywords]) -> Coming[list[list[Answer]]]: ...
    def generate(
        self, prompt: Prompt | Prompts, *, n: int | None = None, **params: Unpack[AnswerKeywords]
    ) -> AsyncAnswerStream | Coming[Any]:
        """Continue a text (no chat template) to its end; see `LLM.generate` for lists and `n`."""
        prompts, alone = listed(prompt)
        if alone and n is None:
            return self.stream(prompts[0], **params)

        def each(model: LLM) -> Each:
            ask = model._asked(params, AnswerKeywords)
            return model._each(ask.prompt, ask.structure, apart=False)

        return self._batch(prompts, each, n, alone, params.get("progress"))

    @overload
    def chat(self, messages: Conversation, *, n: None = None, **params: Unpack[ChatKeywords]) -> AsyncAnswerStream: ...
    @overload
    def chat(self, messages: Conversation, *, n: int, **params: Unpack[ChatKeywords]) -> Coming[list[Answer]]: ...
    @overload
    def chat(
        self, messages: Conversations, *, n: None = None, **params: Unpack[ChatKeywords]
    ) -> Coming[list[Answer]]: ...
    @overload
    def chat(
        self, messages: Conversations, *, n: int, **params: Unpack[ChatKeywords]
    ) -> Coming[list[list[Answer]]]: ...
    def chat(
        self, messages: Conversation | Conversations, *, n: int | None = None, **params: Unpack[ChatKeywords]
    ) -> AsyncAnswerStream | Coming[Any]:
        """Answer a conversation, with the file's own chat template; see `LLM.chat`."""
        conversations, alone = listed_conversations(messages)

        def prepared(model: LLM) -> Prepared:
            ask = model._asked(params, ChatKeywords)
            return model._prepared(ask.conversation(conversations[0]), ask.structure, apart=True)

        def each(model: LLM) -> Each:
            ask = model._asked(params, ChatKeywords)
            return model._each(ask.conversation, ask.structure, apart=True)

        if alone and n is None:
            return self._answer(prepared, params.get("progress"))
        return self._batch(conversations, each, n, alone, params.get("progress"))

    async def score(self, text: str | Sequence[int], *, top: int = 0) -> list[TokenLogprob]:
        """How likely the model finds a text; see `LLM.score`."""
        scored = (await self._answer(lambda model: model._scored(text, top))).prompt_logprobs
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
        text: Conversation,
        *,
        tools: Sequence[Tool] | None = None,
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
        state = self._runtime.state(MODEL)
        return state.draft_info if state is not None else None

    @property
    def numerics(self) -> Numerics | None:
        state = self._runtime.state(MODEL)
        return state.numerics if state is not None else None

    @property
    def notes(self) -> tuple[Reason, ...]:
        """What the load decided on its own."""
        state = self._runtime.state(MODEL)
        return state.notes if state is not None else ()

    @property
    def speculation(self) -> SpeculationStatus:
        """What the draft is doing now, and why."""
        state = self._runtime.state(MODEL)
        return (
            state.speculation
            if state is not None
            else SpeculationStatus("off", Reason("closed", {"model": self._info.name}))
        )

    async def set_draft(
        self, draft: str | Path | None, *, required: bool = False, force: bool = False, device: str | None = None
    ) -> None:
        """Change the draft, when the answers that are being written have ended; see `LLM.set_draft`."""
        self._require_open()
        await self._runtime.set_draft(MODEL, _word(draft), required=required, force=force, device=device)

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

    def _answer(self, prepare: Callable[[LLM], Prepared], progress: Progress | None = None) -> AsyncAnswerStream:
        async def submit() -> tuple[RequestHandle, Reading]:
            return await self._submitted(await self._off_loop(prepare))

        return AsyncAnswerStream(submit, self.info.name, progress)

    async def _batch(
        self,
        prompts: Sequence[Any],
        each: Callable[[LLM], Each],
        n: int | None,
        alone: bool,
        progress: Progress | None,
    ) -> Any:
        """What `LLM.generate` says of lists and `n`."""
        numbers = range(1 if n is None else checked_n(n))
        prepared = await self._off_loop(each)
        room, ended = asyncio.Semaphore(AHEAD * self.info.n_slots), 0

        async def answer(prompt: Any, number: int) -> Answer | ForedraftError:
            nonlocal ended
            async with room:
                result: Answer | ForedraftError
                try:
                    result = await self._answer(lambda _: prepared(prompt, number))
                except ForedraftError as error:
                    result = error
            ended += 1
            if progress is not None:
                progress("answers", ended / len(tasks))
            return result

        tasks = [asyncio.create_task(answer(prompt, number)) for prompt in prompts for number in numbers]
        try:
            results = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        answers = [result for result in results if not isinstance(result, ForedraftError)]
        if len(answers) < len(results):
            raise BatchError(results)
        return grouped(answers, n, alone=alone)

    async def _submitted(self, prepared: Prepared) -> tuple[RequestHandle, Reading]:
        """An answer that the scheduler has taken. Raises what is wrong with its request."""
        self._require_open()
        handle = self._runtime.submit(
            MODEL,
            prepared.request,
            constraint=prepared.constraint,
            top_logprobs=prepared.top_logprobs,
            prompt_logprobs=prepared.prompt_logprobs,
        )
        try:
            await handle.accepted()
        except (ModelUnloadedError, RuntimeClosedError):
            raise ClosedError(self.info.name) from None
        except BaseException:
            handle.cancel()
            raise
        return handle, prepared.reading

    async def _off_loop(self, work: Callable[[LLM], T]) -> T:
        """Do something with the model that is safe beside the model thread, on a thread of asyncio's."""
        self._require_open()

        def kept() -> T:
            with self._runtime.use(MODEL) as model:  # here: it stays for as long as the thread has it
                return work(cast(LLM, model))

        try:
            return await asyncio.to_thread(kept)
        except (ModelUnloadedError, RuntimeClosedError):
            raise ClosedError(self.info.name) from None

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(self.info.name)


def _word(draft: str | Path | None) -> str | None:
    return None if draft is None else str(draft)
