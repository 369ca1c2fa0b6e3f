"""Model manager: load, unload, change of draft, idle timeout and eviction of loaded models.

Files are opened and closed on a thread of their own, the *loader thread*, so that answers go on meanwhile. A model
belongs to exactly one of the two threads at any moment: what needs a model to itself waits in the model's own queue
until its running answers have ended, then the model thread hands it over.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from foredraft.core.errors import EngineDiedError, ForedraftError
from foredraft.runtime.condition import CrossLoopCondition
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.errors import ModelUnloadedError, RuntimeClosedError, WrongKindError
from foredraft.runtime.managed_model import (
    Death,
    ExclusiveJob,
    LoadedModel,
    Loader,
    LoadSpec,
    ManagedModel,
    ModelState,
    Submission,
)
from foredraft.runtime.restart_policy import RestartPolicy
from foredraft.runtime.thread import ModelThread, resolve

logger = logging.getLogger(__name__)


class ModelManager:
    """The models of one runtime. Methods may be called from any thread, but for those that say otherwise."""

    def __init__(self, loader: Loader, thread: ModelThread, *, auto_evict: bool) -> None:
        self._loader = loader
        self._thread = thread
        self._auto_evict = auto_evict
        self._managed: dict[str, ManagedModel] = {}
        self._loading: dict[str, Future[str]] = {}
        self._lock = threading.Lock()
        self._opener = ThreadPoolExecutor(max_workers=1, thread_name_prefix="foredraft-loader")
        self._version = 0
        self.condition = CrossLoopCondition()
        """Rings at every change."""
        self.closing = False
        """Nothing new is loaded any more."""
        self.on_death: list[Callable[[Death], None]] = []
        """Called on the model thread when the process of a model has ended."""
        self.on_lost: list[Callable[[str, Exception], None]] = []
        """Called on the loader thread when such a model could not be loaded again."""
        self._restarts = RestartPolicy()

    # ---- looking ----

    def __iter__(self) -> Iterator[ManagedModel]:
        """Those that are loaded or being loaded, in the order of loading."""
        return iter(list(self._managed.values()))

    def get(self, model_id: str) -> ManagedModel | None:
        return self._managed.get(model_id)

    def loaded(self, model_id: str) -> ManagedModel:
        """Raises `ModelUnloadedError`."""
        managed = self._managed.get(model_id)
        if managed is None or managed.model is None:
            raise ModelUnloadedError(model_id)
        return managed

    def changed(self) -> None:
        """Something that `watch` shows is different now."""
        self._version += 1
        self.condition.notify()

    async def watch(self) -> AsyncGenerator[list[ModelState], None]:
        """The models now and after every change; changes that come faster than they are read are seen as one."""
        seen = -1
        while True:
            await self.condition.wait_for(partial(self._changed_since, seen))
            seen = self._version
            yield [managed.state() for managed in self]

    def _changed_since(self, version: int) -> bool:
        return self._version != version

    # ---- keeping in memory ----

    @contextlib.contextmanager
    def use(self, model_id: str) -> Iterator[LoadedModel | Embedder]:
        """The loaded model, kept for as long as the block runs. Raises `ModelUnloadedError`."""
        with self._lock:
            managed = self._managed.get(model_id)
            if managed is None or managed.model is None or managed.status not in ("ready", "changing"):
                raise ModelUnloadedError(model_id)
            managed.leases += 1
            managed.touch()
            model = managed.model
        try:
            yield model
        finally:
            self.unpin(managed)
            self._thread.wake()

    @contextlib.contextmanager
    def use_text(self, model_id: str) -> Iterator[LoadedModel]:
        """A model that writes. Raises `ModelUnloadedError` or `WrongKindError`."""
        with self.use(model_id) as model:
            yield _text(model_id, model)

    def pin(self, managed: ManagedModel) -> None:
        """It must not expire until `unpin`."""
        with self._lock:
            managed.leases += 1

    def unpin(self, managed: ManagedModel) -> None:
        with self._lock:
            managed.leases -= 1

    # ---- loading ----

    def load(self, spec: LoadSpec) -> Future[str]:
        """The id under which the model is asked for, when it is loaded. The same id again only sets its time to live;
        two callers at once wait for one load. Raises `RuntimeClosedError`, and `ModelGivenUpError` for a model that a
        request names and whose process died too often."""
        with self._lock:
            if self.closing:
                raise RuntimeClosedError
            key = spec.id or spec.model or "default"
            managed = self._managed.get(key)
            if managed is not None and managed.status in ("ready", "changing"):
                managed.ttl_s = spec.ttl_s
                managed.touch()
                known: Future[str] = Future()
                known.set_result(key)
                return known
            future = self._loading.get(key)
            if future is None and managed is None:
                self._restarts.check(key, on_demand=spec.on_demand)
                future = self._loading[key] = self._opener.submit(self._open, ManagedModel(key, spec))
            elif future is None:  # it is leaving: if another took its place now, its answers would never go on
                assert managed is not None
                future = self._loading[key] = Future()
                managed.gone.add_done_callback(partial(self._open_after, key, spec, future))
            return future

    def _open_after(self, key: str, spec: LoadSpec, future: Future[str], _: Future[None]) -> None:
        """Load what has just left."""
        try:
            opened = self._opener.submit(self._open, ManagedModel(key, spec))
        except RuntimeError:  # the loader thread has ended
            resolve(future, error=RuntimeClosedError())
            return
        opened.add_done_callback(lambda done: resolve(future, key, error=done.exception()))

    def _open(self, managed: ManagedModel) -> str:
        """On the loader thread."""
        key, spec = managed.id, managed.spec
        try:
            if self._auto_evict and spec.on_demand:
                self._evict(spec.kind)
            with self._lock:
                self._managed[key] = managed
            self.changed()
            began = time.perf_counter()
            model = self._loader(spec, self._progress_of(managed))
            managed.load_s = time.perf_counter() - began
            managed.loaded_at = time.time()
            managed.touch()
            managed.speculation = model.speculation
            with self._lock:
                managed.model, managed.status, managed.progress = model, "ready", 1.0
        except BaseException:
            with self._lock:
                self._managed.pop(key, None)
            raise
        finally:
            with self._lock:
                self._loading.pop(key, None)
            self.changed()
            self._thread.wake()
        return key

    def _progress_of(self, managed: ManagedModel) -> Callable[[str, float], None]:
        def progress(part: str, share: float) -> None:
            managed.part, managed.progress = part, share
            self.changed()

        return progress

    def _evict(self, kind: str) -> None:
        """Unload what was loaded on demand before, of this kind (a chat and its search need a model of each). Idle
        models leave now, busy ones when their answers have ended."""
        for other in self:
            if other.spec.on_demand and other.spec.kind == kind and other.model is not None:
                if other.idle:
                    self._close_idle(other)
                else:
                    self.unload_when_idle(other, cancel=False)

    def _close_idle(self, managed: ManagedModel) -> None:
        """Close an idle model from the loader thread itself (which cannot wait for its own queue)."""
        taken: Future[LoadedModel | Embedder | None] = Future()

        def take() -> None:
            if managed.model is None or not managed.idle:
                taken.set_result(None)
                return
            managed.handed_over, managed.status = True, "leaving"
            taken.set_result(managed.model)

        self._thread.do(take)
        model = taken.result()
        if model is not None:
            self._remove(managed, model)

    # ---- when a process dies ----

    def revive(self, managed: ManagedModel, model: LoadedModel | Embedder, error: EngineDiedError) -> None:
        """On the model thread, when all of its answers have ended: load a model again whose process has died, unless it
        was to leave, or dies too often."""
        leaves = self.closing or any(
            isinstance(job, ExclusiveJob) and job.status == "leaving" for job in managed.pending
        )
        again = not leaves and self._restarts.may_restart(managed.id)
        for job in managed.pending:
            assert isinstance(job, ExclusiveJob), "requests have been ended"
            resolve(job.done, None, error=None if job.status == "leaving" else error)
        managed.pending.clear()
        with self._lock:
            managed.model, managed.status = None, "leaving"
            if again:
                coming = self._managed[managed.id] = managed.reborn(error)
                self._loading[managed.id] = self._opener.submit(self._open_again, coming, model)
            else:
                self._managed.pop(managed.id, None)
                if not leaves:
                    self._restarts.give_up(managed.id, error)
                self._opener.submit(_close, model)
        if not again:
            resolve(managed.gone, None)  # whoever has asked for it since waits for that
        self._tell(Death(managed.id, "main", error, again))

    def renew_draft(self, managed: ManagedModel, model: LoadedModel, error: EngineDiedError) -> None:
        """On the model thread: a draft's process has died. Answers go on without guesses; it is loaded again when they
        have ended, unless it dies too often."""
        if managed.dead_draft is error:
            return
        managed.dead_draft = error
        managed.speculation = model.speculation
        again = not self.closing and self._restarts.may_restart(f"{managed.id} (draft)")
        if again:
            done: Future[None] = Future()
            job = self.change_draft(managed, managed.spec.draft, required=False, force=managed.spec.force, done=done)
            managed.pending.append(job)
        self._tell(Death(managed.id, "draft", error, again))

    def _open_again(self, managed: ManagedModel, dead: LoadedModel | Embedder) -> str:
        """On the loader thread."""
        _close(dead)
        try:
            return self._open(managed)
        except Exception as error:
            logger.warning("%s could not be loaded again: %s", managed.id, error)
            for listener in self.on_lost:
                listener(managed.id, error)
            raise

    def _tell(self, death: Death) -> None:
        logger.warning("%s", death)
        for listener in self.on_death:
            listener(death)
        self.changed()

    # ---- unloading ----

    def expire(self) -> None:
        """On the model thread: send away those whose time has come."""
        for managed in self:
            left = managed.expires_in
            if left is not None and left <= 0 and managed.idle:
                logger.info("Unloading %s: idle for %.0f s", managed.id, managed.idle_s)
                self.unload_when_idle(managed, cancel=False)

    def unload_when_idle(self, managed: ManagedModel, *, cancel: bool) -> Future[None]:
        """Queue the end of a model. Later requests are refused, earlier ones are cancelled or served."""
        future: Future[None] = Future()

        def job() -> None:
            if managed.status == "leaving" and managed.model is None:
                resolve(future, None)
                return
            if cancel:
                for waiting in [waiting for waiting in managed.pending if isinstance(waiting, Submission)]:
                    managed.pending.remove(waiting)
                    waiting.running.fail(ModelUnloadedError(managed.id))
                for running in managed.live.values():
                    running.cancel()
                if isinstance(managed.model, Embedder):
                    managed.model.fail_all(ModelUnloadedError(managed.id))
            if not managed.handed_over:
                managed.status = "leaving"
            managed.pending.append(ExclusiveJob(lambda model: self._remove(managed, model), future, "leaving"))
            self.changed()

        if cancel:  # the model thread may be in the middle of a long pass: it ends now, not after it
            for running in tuple(managed.live.values()):
                running.cancel()
        self._thread.do(job)
        return future

    def end_waiting(self, error: ForedraftError) -> None:
        """Fail every request that has not begun."""
        self._thread.do(lambda: self._fail(error, begun=False))

    def end_all(self, error: ForedraftError) -> None:
        """Fail every request, those that are being answered too."""
        self._thread.do(lambda: self._fail(error, begun=True))

    def _fail(self, error: ForedraftError, *, begun: bool) -> None:
        for managed in self:
            for waiting in [waiting for waiting in managed.pending if isinstance(waiting, Submission)]:
                managed.pending.remove(waiting)
                waiting.running.fail(error)
            if isinstance(managed.model, Embedder):
                if begun:
                    managed.model.fail_all(error)
                continue
            queued = set(managed.model.scheduler.waiting) if managed.model is not None else set()
            for answer, running in managed.live.items():
                if begun or answer in queued:
                    running.cancel()
                    running.fail(error)

    def _remove(self, managed: ManagedModel, model: LoadedModel | Embedder) -> None:
        """On the loader thread."""
        with self._lock:
            if self._managed.get(managed.id) is managed:
                del self._managed[managed.id]
            managed.model = None
        resolve(managed.gone, None)
        for job in managed.pending:
            if isinstance(job, Submission):
                job.running.fail(ModelUnloadedError(managed.id))
            else:
                resolve(job.done, None)
        managed.pending.clear()
        model.close()
        self.changed()

    def shut(self) -> None:
        """Wait for the loader thread to end."""
        self._opener.shutdown()

    # ---- work that needs a model to itself ----

    def change_draft(
        self,
        managed: ManagedModel,
        draft: str | None,
        *,
        required: bool,
        force: bool,
        done: Future[None],
        device: str | None = None,
    ) -> ExclusiveJob:
        """The work of changing a model's draft, or where it runs, to be queued with the model; `done` gets what it
        raises."""

        def work(any_model: LoadedModel | Embedder) -> None:
            model = _text(managed.id, any_model)
            moves = device is not None and device != managed.spec.settings.get("draft_device", "")
            if draft == managed.spec.draft and managed.speculation.status != "unavailable" and not moves:
                return
            try:
                progress = self._progress_of(managed)
                model.set_draft(draft, required=required, force=force, device=device, progress=progress)
                settings = (
                    managed.spec.settings if device is None else {**managed.spec.settings, "draft_device": device}
                )
                managed.spec = dataclasses.replace(managed.spec, draft=draft, settings=settings)
            except BaseException:
                managed.spec = dataclasses.replace(managed.spec, draft=None)
                raise
            finally:
                managed.speculation = model.speculation

        return ExclusiveJob(work, done, "changing")

    def exclusive(self, managed: ManagedModel, work: Callable[[LoadedModel], None], done: Future[None]) -> ExclusiveJob:
        """Work that needs the model to itself, to be queued with the model; `done` gets what it raises."""
        return ExclusiveJob(lambda model: work(_text(managed.id, model)), done, "changing")

    def hand_over(self, managed: ManagedModel, model: LoadedModel | Embedder, job: ExclusiveJob) -> None:
        """On the model thread, when the model is idle: let the loader thread have it for this work."""
        managed.handed_over, managed.status = True, job.status
        self.changed()
        with contextlib.suppress(RuntimeError):  # the interpreter is ending: nobody waits any more
            self._opener.submit(self._work_alone, managed, model, job)

    def _work_alone(self, managed: ManagedModel, model: LoadedModel | Embedder, job: ExclusiveJob) -> None:
        failure: BaseException | None = None
        try:
            job.work(model)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            failure = error

        def take_back() -> None:
            managed.handed_over = False
            if managed.model is not None:
                managed.status = "ready"
            resolve(job.done, None, error=failure)
            self.changed()

        self._thread.do(take_back)


def _close(model: LoadedModel | Embedder) -> None:
    """What is left of a model whose process has died."""
    try:
        model.close()
    except Exception:  # nothing hangs on it any more
        logger.exception("A model whose process had died could not be closed")


def _text(model_id: str, model: LoadedModel | Embedder) -> LoadedModel:
    if isinstance(model, Embedder):
        raise WrongKindError(model_id, "embedding")
    return model
