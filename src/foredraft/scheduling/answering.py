"""Requests to answers, on the model thread: into the scheduler, a pass at a time, and out to whoever follows. Texts to
vectors likewise."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from foredraft.core.errors import EngineDiedError, EngineError, ForedraftError
from foredraft.scheduling.answer import Answer, Generation
from foredraft.scheduling.embedder import Embedder, Embeddings
from foredraft.scheduling.errors import ModelUnloadedError, QueueFullError, WrongKindError
from foredraft.scheduling.events import Event, Failed, Finished, NewPieces, PromptProgress, PromptScored
from foredraft.scheduling.hosted import Exclusive, Hosted, LoadedModel, Submission
from foredraft.scheduling.hosting import Hosting
from foredraft.scheduling.running import RunningAnswer
from foredraft.scheduling.thread import resolve

logger = logging.getLogger(__name__)
Outcome = Generation | Embeddings | ForedraftError
Listener = Callable[[str, Outcome], None]


class Answering:
    """What the model thread does for every loaded model. Called by that thread alone."""

    def __init__(self, hosting: Hosting, *, queue_limit: int, listeners: list[Listener]) -> None:
        self._hosting = hosting
        self._queue_limit = queue_limit
        self._listeners = listeners

    def turn(self) -> bool:
        """One pass of every model that has something to do; True when there is more."""
        for hosted in self._hosting:
            model = hosted.model
            if model is None or hosted.lent:
                continue
            if model.died is not None:
                self._bury(hosted, model, model.died)
                continue
            if isinstance(model, Embedder):
                self._lend(hosted, model)
                if hosted.working:
                    self._embed(hosted, model)
                continue
            if model.draft_died is not None:
                self._hosting.renew_draft(hosted, model, model.draft_died)
            self._start(hosted, model)
            if hosted.working:
                self._step(hosted, model)
        return any(hosted.working for hosted in self._hosting)

    def queue(self, hosted: Hosted, submission: Submission, draft: str | None, required: bool) -> None:
        """Let a request wait for its turn, behind the change of draft that it asks for, or refuse it."""
        model = hosted.model
        if model is None or hosted.status == "leaving":
            submission.running.fail(ModelUnloadedError(hosted.id))
            return
        if isinstance(model, Embedder):
            submission.running.fail(WrongKindError(hosted.id, "embedding"))
            return
        waiting = len(model.scheduler.waiting) + sum(1 for job in hosted.pending if isinstance(job, Submission))
        if waiting >= self._queue_limit + model.scheduler.slots.free:
            submission.running.fail(QueueFullError(waiting, hosted.turn_away(model.info.n_slots)))
            return
        if draft not in (None, "auto", hosted.spec.draft):
            changed: Future[None] = Future()
            hosted.pending.append(
                self._hosting.change_draft(hosted, draft, required=required, force=False, done=changed)
            )
            changed.add_done_callback(lambda done: _fail_if(done, submission.running))
        hosted.touch()
        hosted.pending.append(submission)

    def queue_texts(self, hosted: Hosted, texts: Sequence[Sequence[int]], future: Future[Embeddings]) -> None:
        """Let texts wait for their vectors, or refuse them."""
        model = hosted.model
        if not isinstance(model, Embedder) or hosted.status == "leaving":
            resolve(future, error=ModelUnloadedError(hosted.id))
        elif model.waiting > self._queue_limit:
            resolve(future, error=QueueFullError(model.waiting, hosted.turn_away(1)))
        else:
            hosted.touch()
            model.submit(texts, future)
            self._hosting.changed()

    def _lend(self, hosted: Hosted, model: LoadedModel | Embedder) -> bool:
        """Give the model to the exclusive work that is next, if that can begin; True when there is such work."""
        job = hosted.pending[0] if hosted.pending else None
        if not isinstance(job, Exclusive):
            return False
        if not hosted.working and not hosted.leases:
            hosted.pending.popleft()
            self._hosting.lend(hosted, model, job)
        return True

    def _start(self, hosted: Hosted, model: LoadedModel) -> None:
        """Hand waiting requests to the scheduler, in order, up to the next piece of exclusive work."""
        while hosted.pending:
            if self._lend(hosted, model):
                return
            job = hosted.pending.popleft()
            assert isinstance(job, Submission), "exclusive work was lent"
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
                self._report(hosted, error)
                running.fail(error)
                continue
            hosted.live[answer] = running
            running.accept(answer)
            self._hosting.changed()

    def _step(self, hosted: Hosted, model: LoadedModel) -> None:
        try:
            moved = model.scheduler.step()
        except EngineDiedError as error:
            self._bury(hosted, model, error)
            return
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
        status, count = model.speculation, len(model.scheduler.running)
        if ended or status != hosted.speculation or count != hosted.running:
            hosted.speculation, hosted.running = status, count
            self._hosting.changed()

    def _bury(self, hosted: Hosted, model: LoadedModel | Embedder, error: EngineDiedError) -> None:
        """A model's process has ended: so do its answers, those that wait too, and it is loaded again."""
        if isinstance(model, Embedder):
            if model.busy:
                self._report(hosted, error)
            model.fail_all(error)
        else:
            model.scheduler.fail_all(error)
            for answer, running in list(hosted.live.items()):
                self._publish(hosted, model, answer, running)
        for job in list(hosted.pending):
            if isinstance(job, Submission):
                hosted.pending.remove(job)
                self._report(hosted, error)
                job.running.fail(error)
        self._hosting.revive(hosted, model, error)

    def _embed(self, hosted: Hosted, model: Embedder) -> None:
        def report(outcome: Embeddings | ForedraftError) -> None:
            hosted.touch()
            self._report(hosted, outcome)

        before = model.waiting
        try:
            model.step(report)
        except Exception as error:  # a fault of ours: this model's requests end, the program goes on
            logger.exception("A pass of %s failed", hosted.id)
            failure = EngineError(f"Unexpected: {error!r}")
            report(failure)
            model.fail_all(failure)
        if model.waiting != before:
            self._hosting.changed()

    def _publish(self, hosted: Hosted, model: LoadedModel, answer: Answer, running: RunningAnswer) -> bool:
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
            hosted.touch()
            del hosted.live[answer]
            outcome: Outcome
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

    def _report(self, hosted: Hosted, outcome: Outcome) -> None:
        hosted.refused = 0
        if isinstance(outcome, ForedraftError):
            hosted.totals.failed += 1
        else:
            hosted.totals.add(outcome)
            if isinstance(outcome, Generation):
                took = outcome.stats.prefill_s + outcome.stats.generation_s
            else:
                took = outcome.seconds
            hosted.answer_s += 0.2 * (took - hosted.answer_s)
        for listener in self._listeners:
            listener(hosted.id, outcome)


def _fail_if(done: Future[Any], running: RunningAnswer) -> None:
    error = None if done.cancelled() else done.exception()
    if error is not None:
        running.fail(error if isinstance(error, ForedraftError) else EngineError(f"Unexpected: {error!r}"))
