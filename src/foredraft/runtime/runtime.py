"""The runtime: loaded models and their running answers, from any thread or event loop. Async begins here.

    runtime = Runtime(loader)                       # loader(spec, progress) -> a loaded model, such as foredraft.LLM
    model_id = await runtime.load(LoadSpec("llama.gguf", draft="auto"))
    running = runtime.submit(model_id, request)
    async for event in running.events():            # PromptProgress, NewPieces, then Finished or Failed
        ...

Three parts do the work: `thread.py` is the one thread that owns the models, `manager.py` loads and unloads them (on a
second thread, so that answers go on meanwhile), `worker.py` is what the model thread does for each of them. Nothing
here blocks an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from foredraft.core.params import Request
from foredraft.runtime.embedder import Embedder, Embeddings
from foredraft.runtime.errors import ModelUnloadedError, RuntimeClosedError, WrongKindError
from foredraft.runtime.handle import RequestHandle
from foredraft.runtime.managed_model import LoadedModel, Loader, LoadSpec, ModelState, Submission
from foredraft.runtime.manager import ModelManager
from foredraft.runtime.thread import ModelThread, resolve
from foredraft.runtime.worker import Listener, ModelWorker
from foredraft.sampling.sampler import Constraint

QUEUE_LIMIT = 512
"""Requests that may wait for one model."""
KEPT_ANSWERS = 64
"""Finished answers that can still be followed again (after a page was reloaded)."""

T = TypeVar("T")


class Runtime:
    """Loaded models and their running answers. One for a process. Methods may be called from any thread or loop."""

    def __init__(
        self,
        loader: Loader,
        *,
        queue_limit: int = QUEUE_LIMIT,
        auto_evict: bool = True,
    ) -> None:
        """`queue_limit` requests may wait for one model; `auto_evict` keeps at most one model of each kind that was
        loaded on demand."""
        self.listeners: list[Listener] = []
        """Called with (model id, generation, embeddings or error) on the model thread, at the end of every answer."""
        self.ended = False
        """Nobody is waited for any more."""
        self._answers: dict[str, RequestHandle] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._thread = ModelThread(self._turn)
        self._manager = ModelManager(loader, self._thread, auto_evict=auto_evict)
        self.on_death = self._manager.on_death
        """Called with a `Death` on the model thread, when the process of a model has ended."""
        self.on_lost = self._manager.on_lost
        """Called with (model id, error) on the loader thread, when such a model could not be loaded again."""
        self._worker = ModelWorker(self._manager, queue_limit=queue_limit, listeners=self.listeners)
        self._thread.start()

    def _turn(self) -> bool:
        more = self._worker.run_once()
        self._manager.expire()
        return more

    # ---- what is loaded ----

    def models(self) -> list[ModelState]:
        """Every model that is loaded or being loaded, in the order of loading."""
        return [managed.state() for managed in self._manager]

    def state(self, model_id: str) -> ModelState | None:
        managed = self._manager.get(model_id)
        return managed.state() if managed is not None else None

    def watch(self) -> AsyncGenerator[list[ModelState], None]:
        """`models()` now and after every change (loading progress, speculation status, draft, who is running); changes
        that come faster than they are read are seen as one."""
        return self._manager.watch()

    def use(self, model_id: str) -> contextlib.AbstractContextManager[LoadedModel]:
        """The loaded model, kept in memory for as long as the block runs. Inside, only what is safe beside the model
        thread: reading its facts, rendering its chat template, encoding text. Raises `ModelUnloadedError`, or
        `WrongKindError` for one that writes no text."""
        return self._manager.use_text(model_id)

    @contextlib.contextmanager
    def use_embedder(self, model_id: str) -> Iterator[Embedder]:
        """The same for an embedding model: reading its facts, turning texts into tokens. Raises `ModelUnloadedError`,
        or `WrongKindError` for one that writes text."""
        with self._manager.use(model_id) as model:
            if not isinstance(model, Embedder):
                raise WrongKindError(model_id, "text")
            yield model

    # ---- loading and unloading ----

    async def load(self, spec: LoadSpec) -> str:
        """Load a model (and its draft) and return the id under which it is asked for. The same id again only sets its
        time to live; two callers at once wait for one load. Raises what the loader raises."""
        loading = asyncio.wrap_future(self._manager.load(spec))
        ended = asyncio.ensure_future(self._manager.condition.wait_for(lambda: self.ended))
        both: set[asyncio.Future[Any]] = {loading, ended}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        if not loading.done():
            raise RuntimeClosedError
        return loading.result()

    async def unload(self, model_id: str, *, cancel: bool = True) -> None:
        """Free a model and its draft. Running answers are cancelled, or waited for (`cancel=False`). Raises
        `ModelUnloadedError` if it is not loaded."""
        managed = self._manager.loaded(model_id)
        await asyncio.wrap_future(self._manager.unload_when_idle(managed, cancel=cancel))

    async def set_draft(
        self,
        model_id: str,
        draft: str | None,
        *,
        required: bool = False,
        force: bool = False,
        device: str | None = None,
    ) -> ModelState:
        """Change a model's draft (None: take it out), or where it runs (`device`; None: as before). The main model
        stays in memory; running answers end first. A draft that does not fit raises with `required`, else the state's
        `speculation` says why there is none."""
        managed = self._manager.loaded(model_id)
        if isinstance(managed.model, Embedder):
            raise WrongKindError(model_id, "embedding")
        done: Future[None] = Future()
        change = self._manager.change_draft(managed, draft, required=required, force=force, done=done, device=device)
        self._thread.do(lambda: managed.pending.append(change))
        await asyncio.wrap_future(done)
        return managed.state()

    async def exclusive(self, model_id: str, work: Callable[[LoadedModel], T]) -> T:
        """Run something with a model that nobody else uses meanwhile: running answers end first, later ones wait. It
        must leave the slots empty that it used."""
        managed = self._manager.loaded(model_id)
        if isinstance(managed.model, Embedder):
            raise WrongKindError(model_id, "embedding")
        done: Future[None] = Future()
        result: list[T] = []
        job = self._manager.exclusive(managed, lambda model: result.append(work(model)), done)
        self._thread.do(lambda: managed.pending.append(job))
        await asyncio.wrap_future(done)
        return result[0]

    # ---- answering ----

    def submit(
        self,
        model_id: str,
        request: Request,
        *,
        constraint: Constraint | None = None,
        top_logprobs: int | None = None,
        prompt_logprobs: int | None = None,
        draft: str | None = "auto",
        draft_required: bool = False,
        answer_id: str = "",
        keep: bool = False,
    ) -> RequestHandle:
        """Queue a request; returns at once. What is wrong with it comes as its `Failed` event, and from `accepted()`.

        `draft` names the draft that should guess: "auto" is whichever is loaded; another name changes the model's
        draft first. (To do without a draft for one request, switch its `SpeculationParams` off.) `top_logprobs` asks
        for log probabilities in every piece. With `keep` the answer can be found again by its id
        (`answer()`) for a while after its end.
        """
        managed = self._manager.get(model_id)
        running = RequestHandle(answer_id or f"a{next(self._numbers)}", model_id, request)
        if managed is None or self.closing or managed.status == "leaving":
            running.fail(RuntimeClosedError() if self.closing else ModelUnloadedError(model_id))
            return running
        if keep:
            self._keep(running)
        submission = Submission(running, request, constraint, top_logprobs, prompt_logprobs)
        self._manager.pin(managed)  # until it is in the queue: the model must not expire in between

        def job() -> None:
            self._manager.unpin(managed)
            self._worker.queue(managed, submission, draft, draft_required)

        self._thread.do(job)
        return running

    async def embed(self, model_id: str, texts: Sequence[str | Sequence[int]]) -> Embeddings:
        """The vectors of some texts (or token ids), in their order. Whoever stops waiting gives them up. Raises what is
        wrong with a text, `ModelUnloadedError`, `WrongKindError`, `QueueFullError` or `EngineError`."""
        with self.use_embedder(model_id) as model:
            managed = self._manager.loaded(model_id)
            tokens = await asyncio.to_thread(model.read, texts)
            future: Future[Embeddings] = Future()
            self._thread.do(lambda: self._worker.queue_texts(managed, tokens, future))
            return await asyncio.wrap_future(future)

    def answer(self, answer_id: str) -> RequestHandle | None:
        """An answer that was submitted with `keep`: to follow it again, or to cancel it."""
        return self._answers.get(answer_id)

    async def call(self, model_id: str, work: Callable[[LoadedModel], T]) -> T:
        """Run something short on the model thread, between two passes, inside a `use` block. It must leave the
        scheduler alone."""
        managed = self._manager.get(model_id)
        future: Future[T] = Future()

        def job() -> None:
            try:
                if managed is None or managed.model is None or managed.status == "leaving":
                    raise ModelUnloadedError(model_id)
                if isinstance(managed.model, Embedder):
                    raise WrongKindError(model_id, "embedding")
                resolve(future, work(managed.model))
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                resolve(future, error=error)

        self._thread.do(job)
        return await asyncio.wrap_future(future)

    def _keep(self, running: RequestHandle) -> None:
        with self._lock:
            self._answers[running.id] = running
            finished = [key for key, kept in self._answers.items() if kept.done]
            for key in finished[: max(0, len(finished) - KEPT_ANSWERS)]:
                del self._answers[key]

    # ---- the end ----

    @property
    def closing(self) -> bool:
        """True from the moment on when nothing new is taken."""
        return self._manager.closing

    def refuse(self) -> None:
        """Take nothing new; what has begun goes on, and what waits for its turn is told to come again."""
        if not self.closing:
            self._manager.closing = True
            self._manager.end_waiting(RuntimeClosedError())
            self._manager.changed()

    async def finish(self, grace_s: float) -> None:
        """Take nothing new, let running answers end for `grace_s` seconds, end the rest with `RuntimeClosedError`."""
        self.refuse()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._manager.condition.wait_for(lambda: not self._busy()), grace_s)
        self.ended = True
        self._manager.end_all(RuntimeClosedError())
        self._manager.changed()

    async def close(self, grace_s: float = 10.0) -> None:
        """Take nothing new, let running answers end for `grace_s` seconds, cancel the rest, free every model. A second
        call does nothing."""
        self.refuse()
        if not self._thread.alive:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._manager.condition.wait_for(lambda: not self._busy()), grace_s)
        for managed in self._manager:
            if managed.model is not None:
                await asyncio.wrap_future(self._manager.unload_when_idle(managed, cancel=True))
        await asyncio.to_thread(self._thread.stop)
        await asyncio.to_thread(self._manager.shut)

    def close_now(self) -> None:
        """The same without an event loop and without grace."""
        asyncio.run(self.close(0.0))

    def _busy(self) -> bool:
        return any(
            managed.live or managed.pending or managed.handed_over or managed.working for managed in self._manager
        )
