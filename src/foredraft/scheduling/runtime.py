"""The runtime: the one thread that owns the models. Async begins here.

    runtime = Runtime(loader)                       # loader(spec, progress) -> a loaded model, such as foredraft.LLM
    model_id = await runtime.load(LoadSpec("llama.gguf", draft="auto"))
    running = runtime.submit(model_id, request)
    async for event in running.events():            # PromptProgress, NewPieces, then Finished or Failed
        ...

Two threads: the *model thread* steps every loaded model, the *loader thread* opens and closes files, so that answers go
on while a model is being loaded. A model belongs to exactly one of them at any moment; what needs a model to itself
(changing its draft, closing it) waits in the model's own queue until its running answers have ended, and later requests
wait behind it. Nothing here blocks an event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from foredraft.core.errors import EngineError, ForedraftError
from foredraft.core.params import Request
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.answer import Answer, Generation
from foredraft.scheduling.errors import ModelUnloadedError, QueueFullError, RuntimeClosedError
from foredraft.scheduling.events import Event, Failed, Finished, NewPieces, PromptProgress
from foredraft.scheduling.hosted import Exclusive, Hosted, LoadedModel, Loader, LoadSpec, ModelState, Submission
from foredraft.scheduling.running import Bell, RunningAnswer

QUEUE_LIMIT = 64
KEPT_ANSWERS = 64
"""Finished answers that can still be followed again (after a page was reloaded)."""
LONGEST_PAUSE_S = 1.0
"""How often an idle runtime looks whether a model's time has come."""

logger = logging.getLogger(__name__)
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
        """`queue_limit` requests may wait for one model; `auto_evict` keeps at most one model that was loaded on
        demand."""
        self._loader = loader
        self._queue_limit = queue_limit
        self._auto_evict = auto_evict
        self.listeners: list[Callable[[str, Generation | ForedraftError], None]] = []
        """Called with (model id, generation or error) on the model thread, at the end of every answer."""
        self._hosted: dict[str, Hosted] = {}
        self._answers: dict[str, RunningAnswer] = {}
        self._loading: dict[str, Future[str]] = {}
        self._numbers = itertools.count(1)
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._bell = Bell()
        self._version = 0
        self._lock = threading.Lock()
        self._closing = False
        self._opener = ThreadPoolExecutor(max_workers=1, thread_name_prefix="foredraft-loader")
        self._thread = threading.Thread(target=self._run, name="foredraft-models", daemon=True)
        self._thread.start()

    # ---- what is loaded ----

    def models(self) -> list[ModelState]:
        """Every model that is loaded or being loaded, in the order of loading."""
        return [hosted.state() for hosted in list(self._hosted.values())]

    def state(self, model_id: str) -> ModelState | None:
        hosted = self._hosted.get(model_id)
        return hosted.state() if hosted is not None else None

    async def watch(self) -> AsyncGenerator[list[ModelState], None]:
        """`models()` now and after every change (loading progress, speculation status, draft, who is running); changes
        that come faster than they are read are seen as one."""
        seen = -1
        while True:
            await self._bell.until(partial(self._changed_since, seen))
            seen = self._version
            yield self.models()

    @contextlib.contextmanager
    def use(self, model_id: str) -> Iterator[LoadedModel]:
        """The loaded model, kept in memory for as long as the block runs. Inside, only what is safe beside the model
        thread: reading its facts, rendering its chat template, encoding text. Raises `ModelUnloadedError`."""
        with self._lock:
            hosted = self._hosted.get(model_id)
            if hosted is None or hosted.model is None or hosted.status not in ("ready", "changing"):
                raise ModelUnloadedError(model_id)
            hosted.leases += 1
            hosted.touch()
            model = hosted.model
        try:
            yield model
        finally:
            with self._lock:
                hosted.leases -= 1
            self._wake()

    # ---- loading and unloading ----

    async def load(self, spec: LoadSpec) -> str:
        """Load a model (and its draft) and return the id under which it is asked for. The same id again only sets its
        time to live; two callers at once wait for one load. Raises what the loader raises."""
        with self._lock:
            if self._closing:
                raise RuntimeClosedError
            key = spec.id or spec.model or "default"
            hosted = self._hosted.get(key)
            if hosted is not None and hosted.status in ("ready", "changing"):
                hosted.ttl_s = spec.ttl_s
                hosted.touch()
                return key
            future = self._loading.get(key)
            if future is None:
                future = self._loading[key] = self._opener.submit(self._open, key, spec)
        return await asyncio.shield(asyncio.wrap_future(future))

    async def unload(self, model_id: str, *, cancel: bool = True) -> None:
        """Free a model and its draft. Running answers are cancelled, or waited for (`cancel=False`). Raises
        `ModelUnloadedError` if it is not loaded."""
        hosted = self._hosted.get(model_id)
        if hosted is None or hosted.model is None:
            raise ModelUnloadedError(model_id)
        await asyncio.wrap_future(self._leave(hosted, cancel=cancel))

    async def set_draft(
        self, model_id: str, draft: str | None, *, required: bool = False, force: bool = False
    ) -> ModelState:
        """Change a model's draft (None: take it out); the main model stays in memory. Running answers end first. A
        draft that does not fit raises with `required`, else the state's `speculation` says why there is none."""
        hosted = self._hosted.get(model_id)
        if hosted is None or hosted.model is None:
            raise ModelUnloadedError(model_id)
        future: Future[None] = Future()
        self._do(lambda: hosted.pending.append(self._change_draft(hosted, draft, required, force, future)))
        await asyncio.wrap_future(future)
        return hosted.state()

    # ---- answering ----

    def submit(
        self,
        model_id: str,
        request: Request,
        *,
        constraint: Constraint | None = None,
        top_logprobs: int | None = None,
        draft: str | None = "auto",
        draft_required: bool = False,
        answer_id: str = "",
        keep: bool = False,
    ) -> RunningAnswer:
        """Queue a request; returns at once. What is wrong with it comes as its `Failed` event, and from `accepted()`.

        `draft` names the draft that should guess: "auto" is whichever is loaded; another name changes the model's
        draft first. (To do without a draft for one request, switch its `SpeculationParams` off.) `top_logprobs` asks
        for log probabilities in every piece's `extra`. With `keep` the answer can be found again by its id
        (`answer()`) for a while after its end.
        """
        hosted = self._hosted.get(model_id)
        running = RunningAnswer(answer_id or f"a{next(self._numbers)}", model_id, request)
        if hosted is None or self._closing or hosted.status == "leaving":
            running.fail(RuntimeClosedError() if self._closing else ModelUnloadedError(model_id))
            return running
        if keep:
            self._keep(running)
        submission = Submission(running, request, constraint, top_logprobs)
        with self._lock:
            hosted.leases += 1  # until it is in the queue: the model must not expire in between

        def job() -> None:
            with self._lock:
                hosted.leases -= 1
            self._queue(hosted, submission, draft, draft_required)

        self._do(job)
        return running

    def answer(self, answer_id: str) -> RunningAnswer | None:
        """An answer that was submitted with `keep`: to follow it again, or to cancel it."""
        return self._answers.get(answer_id)

    async def call(self, model_id: str, work: Callable[[LoadedModel], T]) -> T:
        """Run something short on the model thread, between two passes, inside a `use` block. It must leave the
        scheduler alone."""
        hosted = self._hosted.get(model_id)
        future: Future[T] = Future()

        def job() -> None:
            try:
                if hosted is None or hosted.model is None or hosted.status == "leaving":
                    raise ModelUnloadedError(model_id)
                _resolve(future, work(hosted.model))
            except Exception as error:  # noqa: BLE001 - raised again where it is awaited
                _resolve(future, error=error)

        self._do(job)
        return await asyncio.wrap_future(future)

    # ---- the end ----

    @property
    def closing(self) -> bool:
        """True from the moment on when nothing new is taken."""
        return self._closing

    def refuse(self) -> None:
        """Take nothing new; what runs goes on."""
        self._closing = True

    async def close(self, grace_s: float = 10.0) -> None:
        """Take nothing new, let running answers end for `grace_s` seconds, cancel the rest, free every model. A second
        call does nothing."""
        self._closing = True
        if not self._thread.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._bell.until(lambda: not self._busy()), grace_s)
        for hosted in list(self._hosted.values()):
            if hosted.model is not None:
                await asyncio.wrap_future(self._leave(hosted, cancel=True))
        self._do(self._stop)
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._opener.shutdown)

    def close_now(self) -> None:
        """The same without an event loop and without grace."""
        asyncio.run(self.close(0.0))

    # ---- inside: jobs for the model thread ----

    def _do(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def _wake(self) -> None:
        self._jobs.put(_nothing)

    def _changed(self) -> None:
        self._version += 1
        self._bell.ring()

    def _changed_since(self, version: int) -> bool:
        return self._version != version

    def _busy(self) -> bool:
        return any(hosted.live or hosted.pending or hosted.lent for hosted in list(self._hosted.values()))

    def _stop(self) -> None:
        raise _Stop

    def _run(self) -> None:
        try:
            while True:
                self._take_jobs()
                for hosted in list(self._hosted.values()):
                    if hosted.model is None or hosted.lent:
                        continue
                    model = hosted.model
                    self._start(hosted, model)
                    if model.scheduler.busy:  # never while it is lent: it is lent when it is idle
                        self._step(hosted, model)
                self._expire()
        except _Stop:
            return

    def _take_jobs(self) -> None:
        """Everything that was asked for; sleeps only when there is nothing to step."""
        working = any(
            hosted.model is not None and not hosted.lent and hosted.model.scheduler.busy
            for hosted in self._hosted.values()
        )
        with contextlib.suppress(queue.Empty):
            if not working:
                self._do_job(self._jobs.get(timeout=LONGEST_PAUSE_S))
            while True:
                self._do_job(self._jobs.get_nowait())

    def _do_job(self, job: Callable[[], None]) -> None:
        try:
            job()
        except _Stop:
            raise
        except Exception:  # a fault of ours must not end the thread that everyone waits for
            logger.exception("A job of the model thread failed")

    def _queue(self, hosted: Hosted, submission: Submission, draft: str | None, required: bool) -> None:
        model = hosted.model
        if model is None or hosted.status == "leaving":
            submission.running.fail(ModelUnloadedError(hosted.id))
            return
        waiting = len(model.scheduler.waiting) + sum(1 for job in hosted.pending if isinstance(job, Submission))
        if waiting >= self._queue_limit + model.scheduler.slots.free:
            rounds = waiting / max(1, model.info.n_slots)
            error = QueueFullError(waiting, max(1, min(60, round(rounds * hosted.answer_s))))
            submission.running.fail(error)
            return
        if draft not in (None, "auto", hosted.spec.draft):
            changed: Future[None] = Future()
            hosted.pending.append(self._change_draft(hosted, draft, required, False, changed))
            changed.add_done_callback(lambda done: _fail_if(done, submission.running))
        hosted.touch()
        hosted.pending.append(submission)

    def _start(self, hosted: Hosted, model: LoadedModel) -> None:
        """Hand waiting requests to the scheduler, in order, up to the next piece of exclusive work."""
        while hosted.pending:
            job = hosted.pending[0]
            if isinstance(job, Exclusive):
                if not model.scheduler.busy and not hosted.leases:
                    hosted.pending.popleft()
                    hosted.lent, hosted.status = True, job.status
                    self._changed()
                    with contextlib.suppress(RuntimeError):  # the interpreter is ending: nobody waits any more
                        self._opener.submit(self._work_alone, hosted, model, job)
                return
            hosted.pending.popleft()
            running = job.running
            if running.done:
                continue
            try:
                answer = model.scheduler.submit(job.request, constraint=job.constraint, top_logprobs=job.top_logprobs)
            except ForedraftError as error:
                self._report(hosted, error)
                running.fail(error)
                continue
            hosted.live[answer] = running
            running.accept(answer)
            self._changed()

    def _step(self, hosted: Hosted, model: LoadedModel) -> None:
        try:
            moved = model.scheduler.step()
        except Exception as error:  # a fault of ours: this model's answers end, the program goes on
            logger.exception("A pass of %s failed", hosted.id)
            failure = error if isinstance(error, ForedraftError) else EngineError(f"Unexpected: {error!r}")
            model.scheduler.fail_all(failure)
            moved = list(hosted.live)
        ended = False
        for answer in moved:
            running = hosted.live.get(answer)
            if running is not None:
                ended |= self._publish(hosted, model, answer, running)
        status = model.speculation
        if ended or status != hosted.speculation:
            hosted.speculation = status
            self._changed()

    def _publish(self, hosted: Hosted, model: LoadedModel, answer: Answer, running: RunningAnswer) -> bool:
        """Hand out what is new about an answer; True when it has ended."""
        news: list[Event] = []
        if not running.pieces and not answer.pieces and not answer.done:
            read, total = answer.prompt_progress
            news.append(PromptProgress(read, total, answer.stats.cached_tokens))
        if answer.pieces:
            news.append(NewPieces(tuple(answer.pieces)))
            answer.pieces.clear()
        if answer.done:
            hosted.touch()
            del hosted.live[answer]
            outcome: Generation | ForedraftError
            if answer.error is not None:
                outcome = answer.error
                news.append(Failed(answer.error))
            else:
                kept = [*running.pieces, *(piece for n in news if isinstance(n, NewPieces) for piece in n.pieces)]
                outcome = model.generation(answer, kept)
                news.append(Finished(outcome))
            self._report(hosted, outcome)
        if news:
            running.put(*news)
        return answer.done

    def _report(self, hosted: Hosted, outcome: Generation | ForedraftError) -> None:
        if isinstance(outcome, Generation):
            hosted.totals.add(outcome)
            stats = outcome.stats
            hosted.answer_s += 0.2 * (stats.time_to_first_token_s + stats.generation_s - hosted.answer_s)
        else:
            hosted.totals.failed += 1
        for listener in self.listeners:
            listener(hosted.id, outcome)

    def _expire(self) -> None:
        now = time.time()
        for hosted in list(self._hosted.values()):
            expires = hosted.expires_at
            if expires is not None and now >= expires and hosted.idle:
                logger.info("Unloading %s: idle for %.0f s", hosted.id, now - hosted.last_used)
                self._leave(hosted, cancel=False)

    # ---- inside: work of the loader thread ----

    def _open(self, key: str, spec: LoadSpec) -> str:
        hosted = Hosted(key, spec)
        try:
            if self._auto_evict and spec.on_demand:
                self._make_way()
            with self._lock:
                self._hosted[key] = hosted
            self._changed()
            began = time.perf_counter()

            def progress(part: str, share: float) -> None:
                hosted.part, hosted.progress = part, share
                self._changed()

            model = self._loader(spec, progress)
            hosted.load_s = time.perf_counter() - began
            hosted.loaded_at = hosted.last_used = time.time()
            hosted.speculation = model.speculation
            with self._lock:
                hosted.model, hosted.status, hosted.progress = model, "ready", 1.0
        except BaseException:
            with self._lock:
                self._hosted.pop(key, None)
            raise
        finally:
            with self._lock:
                self._loading.pop(key, None)
            self._changed()
            self._wake()
        return key

    def _make_way(self) -> None:
        """Unload what was loaded on demand before. Idle models leave now, busy ones when their answers have ended."""
        for other in list(self._hosted.values()):
            if other.spec.on_demand and other.model is not None:
                if other.idle:
                    self._close_idle(other)
                else:
                    self._leave(other, cancel=False)

    def _close_idle(self, hosted: Hosted) -> None:
        """Close an idle model from the loader thread itself (which cannot wait for its own queue)."""
        taken: Future[LoadedModel | None] = Future()

        def take() -> None:
            if hosted.model is None or not hosted.idle:
                taken.set_result(None)
                return
            hosted.lent, hosted.status = True, "leaving"
            taken.set_result(hosted.model)

        self._do(take)
        model = taken.result()
        if model is not None:
            self._remove(hosted, model)

    def _leave(self, hosted: Hosted, *, cancel: bool) -> Future[None]:
        """Queue the end of a model. Later requests are refused, earlier ones are cancelled or served."""
        future: Future[None] = Future()

        def job() -> None:
            if hosted.status == "leaving" and hosted.model is None:
                _resolve(future, None)
                return
            if cancel:
                for job in [job for job in hosted.pending if isinstance(job, Submission)]:
                    hosted.pending.remove(job)
                    job.running.fail(ModelUnloadedError(hosted.id))
                for running in hosted.live.values():
                    running.cancel()
            if not hosted.lent:
                hosted.status = "leaving"
            hosted.pending.append(Exclusive(lambda model: self._remove(hosted, model), future, "leaving"))
            self._changed()

        self._do(job)
        return future

    def _remove(self, hosted: Hosted, model: LoadedModel) -> None:
        with self._lock:
            if self._hosted.get(hosted.id) is hosted:
                del self._hosted[hosted.id]
            hosted.model = None
        for job in hosted.pending:
            if isinstance(job, Submission):
                job.running.fail(ModelUnloadedError(hosted.id))
            else:
                _resolve(job.done, None)
        hosted.pending.clear()
        model.close()
        self._changed()

    def _change_draft(
        self, hosted: Hosted, draft: str | None, required: bool, force: bool, future: Future[None]
    ) -> Exclusive:
        def work(model: LoadedModel) -> None:
            if draft == hosted.spec.draft and hosted.speculation.status != "unavailable":
                return

            def progress(part: str, share: float) -> None:
                hosted.part, hosted.progress = part, share
                self._changed()

            try:
                model.set_draft(draft, required=required, force=force, progress=progress)
                hosted.spec = _with_draft(hosted.spec, draft)
            except BaseException:
                hosted.spec = _with_draft(hosted.spec, None)
                raise
            finally:
                hosted.speculation = model.speculation

        return Exclusive(work, future, "changing")

    def _work_alone(self, hosted: Hosted, model: LoadedModel, job: Exclusive) -> None:
        failure: BaseException | None = None
        try:
            job.work(model)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            failure = error

        def give_back() -> None:
            hosted.lent = False
            if hosted.model is not None:
                hosted.status = "ready"
            _resolve(job.done, None, error=failure)
            self._changed()

        self._do(give_back)

    def _keep(self, running: RunningAnswer) -> None:
        with self._lock:
            self._answers[running.id] = running
            finished = [key for key, kept in self._answers.items() if kept.done]
            for key in finished[: max(0, len(finished) - KEPT_ANSWERS)]:
                del self._answers[key]


class _Stop(Exception):
    """A signal to the model thread, not an error."""


def _resolve(future: Future[T], value: T | None = None, *, error: BaseException | None = None) -> None:
    """Answer a future, unless whoever waited for it has gone."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)  # type: ignore[arg-type]


def _nothing() -> None:
    """A job that only wakes the model thread."""


def _fail_if(done: Future[Any], running: RunningAnswer) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        running.fail(error if isinstance(error, ForedraftError) else EngineError(f"Unexpected: {error!r}"))


def _with_draft(spec: LoadSpec, draft: str | None) -> LoadSpec:
    return dataclasses.replace(spec, draft=draft)
