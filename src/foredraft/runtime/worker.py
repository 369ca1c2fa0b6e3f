"""Model worker: on the model thread, moves requests into the scheduler, steps it, and publishes what was written.
Texts become vectors the same way."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from foredraft.core.errors import EngineDiedError, EngineError, ForedraftError
from foredraft.runtime.embedder import Embedder, Embeddings
from foredraft.runtime.errors import ModelUnloadedError, QueueFullError, WrongKindError
from foredraft.runtime.events import Event, Failed, Finished, NewPieces, PromptProgress, PromptScored
from foredraft.runtime.handle import RequestHandle
from foredraft.runtime.managed_model import ExclusiveJob, LoadedModel, ManagedModel, Submission
from foredraft.runtime.manager import ModelManager
from foredraft.runtime.thread import resolve
from foredraft.scheduling.request import Generation, ScheduledRequest

logger = logging.getLogger(__name__)
Outcome = Generation | Embeddings | ForedraftError
Listener = Callable[[str, Outcome], None]


class ModelWorker:
    """What the model thread does for every loaded model. Called by that thread alone."""

    def __init__(self, manager: ModelManager, *, queue_limit: int, listeners: list[Listener]) -> None:
        self._manager = manager
        self._queue_limit = queue_limit
        self._listeners = listeners

    def run_once(self) -> bool:
        """One pass of every model that has something to do; True when there is more."""
        for managed in self._manager:
            model = managed.model
            if model is None or managed.handed_over:
                continue
            if model.died is not None:
                self._bury(managed, model, model.died)
                continue
            if isinstance(model, Embedder):
                self._hand_over(managed, model)
                if managed.working:
                    self._embed(managed, model)
                continue
            if model.draft_died is not None:
                self._manager.renew_draft(managed, model, model.draft_died)
            self._start(managed, model)
            if managed.working:
                self._step(managed, model)
        return any(managed.working for managed in self._manager)

    def queue(self, managed: ManagedModel, submission: Submission, draft: str | None, required: bool) -> None:
        """Let a request wait for its turn, behind the change of draft that it asks for, or refuse it."""
        model = managed.model
        if model is None or managed.status == "leaving":
            submission.running.fail(ModelUnloadedError(managed.id))
            return
        if isinstance(model, Embedder):
            submission.running.fail(WrongKindError(managed.id, "embedding"))
            return
        waiting = len(model.scheduler.waiting) + sum(1 for job in managed.pending if isinstance(job, Submission))
        if waiting >= self._queue_limit + model.scheduler.slots.free:
            submission.running.fail(QueueFullError(waiting, managed.turn_away(model.info.n_slots)))
            return
        if draft not in (None, "auto", managed.spec.draft):
            changed: Future[None] = Future()
            managed.pending.append(
                self._manager.change_draft(managed, draft, required=required, force=False, done=changed)
            )
            changed.add_done_callback(lambda done: _fail_if(done, submission.running))
        managed.touch()
        managed.pending.append(submission)

    def queue_texts(self, managed: ManagedModel, texts: Sequence[Sequence[int]], future: Future[Embeddings]) -> None:
        """Let texts wait for their vectors, or refuse them."""
        model = managed.model
        if not isinstance(model, Embedder) or managed.status == "leaving":
            resolve(future, error=ModelUnloadedError(managed.id))
        elif model.waiting > self._queue_limit:
            resolve(future, error=QueueFullError(model.waiting, managed.turn_away(1)))
        else:
            managed.touch()
            model.submit(texts, future)
            self._manager.changed()

    def _hand_over(self, managed: ManagedModel, model: LoadedModel | Embedder) -> bool:
        """Give the model to the exclusive work that is next, if that can begin; True when there is such work."""
        job = managed.pending[0] if managed.pending else None
        if not isinstance(job, ExclusiveJob):
            return False
        if not managed.working and not managed.leases:
            managed.pending.popleft()
            self._manager.hand_over(managed, model, job)
        return True

    def _start(self, managed: ManagedModel, model: LoadedModel) -> None:
        """Hand waiting requests to the scheduler, in order, up to the next piece of exclusive work."""
        while managed.pending:
            if self._hand_over(managed, model):
                return
            job = managed.pending.popleft()
            assert isinstance(job, Submission), "exclusive work was handed over"
            running = job.running
            if running.done:
                continue
            try:
                answer = model.scheduler.submit(
                    job.request,
                    constraint=job.constraint,
                    top_logprobs=job.top_logprobs,
                    prompt_logprobs=job.prompt_logprobs,
                )
            except ForedraftError as error:
                self._report(managed, error)
                running.fail(error)
                continue
            managed.live[answer] = running
            running.accept(answer)
            self._manager.changed()

    def _step(self, managed: ManagedModel, model: LoadedModel) -> None:
        try:
            moved = model.scheduler.step()
        except EngineDiedError as error:
            self._bury(managed, model, error)
            return
        except Exception as error:  # a fault of ours: this model's answers end, the program goes on
            logger.exception("A pass of %s failed", managed.id)
            failure = error if isinstance(error, ForedraftError) else EngineError(f"Unexpected: {error!r}")
            model.scheduler.fail_all(failure)
            moved = list(managed.live)
        ended = False
        for answer in moved:
            running = managed.live.get(answer)
            if running is not None:
                ended |= self._publish(managed, model, answer, running)
        status, count = model.speculation, len(model.scheduler.running)
        if ended or status != managed.speculation or count != managed.running:
            managed.speculation, managed.running = status, count
            self._manager.changed()

    def _bury(self, managed: ManagedModel, model: LoadedModel | Embedder, error: EngineDiedError) -> None:
        """A model's process has ended: so do its answers, those that wait too, and it is loaded again."""
        if isinstance(model, Embedder):
            if model.busy:
                self._report(managed, error)
            model.fail_all(error)
        else:
            model.scheduler.fail_all(error)
            for answer, running in list(managed.live.items()):
                self._publish(managed, model, answer, running)
        for job in list(managed.pending):
            if isinstance(job, Submission):
                managed.pending.remove(job)
                self._report(managed, error)
                job.running.fail(error)
        self._manager.revive(managed, model, error)

    def _embed(self, managed: ManagedModel, model: Embedder) -> None:
        def report(outcome: Embeddings | ForedraftError) -> None:
            managed.touch()
            self._report(managed, outcome)

        before = model.waiting
        try:
            model.step(report)
        except Exception as error:  # a fault of ours: this model's requests end, the program goes on
            logger.exception("A pass of %s failed", managed.id)
            failure = EngineError(f"Unexpected: {error!r}")
            report(failure)
            model.fail_all(failure)
        if model.waiting != before:
            self._manager.changed()

    def _publish(
        self, managed: ManagedModel, model: LoadedModel, answer: ScheduledRequest, running: RequestHandle
    ) -> bool:
        """Hand out what is new about an answer; True when it has ended."""
        news: list[Event] = []
        if not running.pieces and not answer.pieces and not answer.done:
            read, total = answer.prompt_progress
            news.append(PromptProgress(read, total, answer.stats.cached_tokens))
        scored = answer.prompt_logprobs.take() if answer.prompt_logprobs is not None else None
        if scored is not None:
            news.append(PromptScored(scored))
        if answer.pieces:
            news.append(NewPieces(tuple(answer.pieces)))
            answer.pieces.clear()
        if answer.done:
            managed.touch()
            del managed.live[answer]
            outcome: Outcome
            if answer.error is not None:
                outcome = answer.error
                news.append(Failed(answer.error))
            else:
                kept = [*running.pieces, *(piece for n in news if isinstance(n, NewPieces) for piece in n.pieces)]
                outcome = model.generation(answer, kept)
                news.append(Finished(outcome))
            self._report(managed, outcome)
        if news:
            running.put(*news)
        return answer.done

    def _report(self, managed: ManagedModel, outcome: Outcome) -> None:
        managed.refused = 0
        if isinstance(outcome, ForedraftError):
            managed.totals.failed += 1
        else:
            managed.totals.add(outcome)
            if isinstance(outcome, Generation):
                took = outcome.stats.prefill_s + outcome.stats.generation_s
            else:
                took = outcome.seconds
            managed.answer_s += 0.2 * (took - managed.answer_s)
        for listener in self._listeners:
            listener(managed.id, outcome)


def _fail_if(done: Future[Any], running: RequestHandle) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        running.fail(error if isinstance(error, ForedraftError) else EngineError(f"Unexpected: {error!r}"))
