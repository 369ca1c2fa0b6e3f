"""Admit, pack, round, finish: every pass of the model serves whoever is there.

Prompt pieces of new requests and the rounds of running answers share one `Engine.forward`, so batching and speculation
work together. Not thread-safe: one thread steps it (`runtime.py`), `ScheduledRequest.cancel` may be called from any.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from foredraft.core.errors import (
    CacheFullError,
    Cancelled,
    ContextOverflowError,
    EmptyPromptError,
    EngineDiedError,
    EngineError,
    ForedraftError,
    NonFiniteLogitsError,
    ParameterError,
)
from foredraft.core.params import Request
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk, Engine
from foredraft.sampling.sampler import Constraint, Sampler
from foredraft.scheduling.checkpoints import stops
from foredraft.scheduling.logprob_observer import LogprobObserver
from foredraft.scheduling.logprobs import PromptLogprobs
from foredraft.scheduling.packing import Packer, sequence_of, unread
from foredraft.scheduling.request import ScheduledRequest
from foredraft.scheduling.slots import Slots
from foredraft.scheduling.stream import TextStream
from foredraft.speculative.acceptance import rule_of
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.record import Round
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import Observer, RunningSequence


class Scheduler:
    """Requests of one loaded pair. `step` does one pass; call it while `busy`."""

    def __init__(
        self,
        engine: Engine,
        drafter: Drafter,
        controller: DraftController,
        *,
        clock: Callable[[], float] = time.perf_counter,
        on_round: Callable[[Round], None] | None = None,
    ) -> None:
        self.engine = engine
        self.drafter = drafter
        self.controller = controller
        self.on_round = on_round
        self.on_finish: Callable[[ScheduledRequest], None] | None = None
        """Called with every answer that has ended, whole or cut short, but for those that failed."""
        self.slots = Slots(engine)
        self.waiting: deque[ScheduledRequest] = deque()
        self.running: list[ScheduledRequest] = []
        self._clock = clock
        self._in_pass: list[ScheduledRequest] = []
        """Those for whom a pass is being made."""
        self._pass_lock = threading.Lock()
        self._packer = Packer(engine, self.slots)
        self._suspects: list[ScheduledRequest] = []
        """After a pass failed: those who were in it, to be tried one at a time."""
        self._begun: list[ScheduledRequest] = []
        """Whose last piece to read was in the last round: the draft has not read it yet."""

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def submit(
        self,
        request: Request,
        *,
        constraint: Constraint | None = None,
        observer: Observer | None = None,
        top_logprobs: int | None = None,
        prompt_logprobs: int | None = None,
    ) -> ScheduledRequest:
        """Queue a request. Raises `EmptyPromptError`, `ContextOverflowError` or `ParameterError` at once.

        `top_logprobs` (0 is just the chosen token) puts a `TokenLogprob` in every piece. `prompt_logprobs` is the same
        for the tokens of the prompt: it is then read whole, without what the cache holds of it, also with
        `max_tokens` 0.
        """
        n_vocab, n_ctx = self.engine.info.n_vocab, self.engine.info.n_ctx
        if not request.prompt:
            raise EmptyPromptError
        if len(request.prompt) >= n_ctx:
            raise ContextOverflowError(len(request.prompt), n_ctx)
        for name, tokens in (("prompt", request.prompt), ("prediction", request.prediction)):
            if tokens and not 0 <= min(tokens) <= max(tokens) < n_vocab:
                raise ParameterError(name, "a token id", Reason("allowed_tokens", {"high": n_vocab - 1}))
        unknown = [t for t in request.sampling.logit_bias if t >= n_vocab]
        if unknown:
            raise ParameterError("logit_bias", unknown[0], Reason("allowed_token_table", {"high": n_vocab - 1}))
        stream = TextStream(self.engine.tokenizer, request.stop, self.engine.tokenizer.eog | request.end_tokens)
        if top_logprobs is not None:
            observer = LogprobObserver(self.engine.tokenizer, stream, top_logprobs)
        answer = ScheduledRequest(request, stream, self._clock(), constraint=constraint, observer=observer)
        answer.on_cancel = self._abort_unwanted_pass
        if prompt_logprobs is not None:
            answer.prompt_logprobs = PromptLogprobs(self.engine.tokenizer, request.prompt, prompt_logprobs)
        self.waiting.append(answer)
        return answer

    def step(self) -> list[ScheduledRequest]:
        """One pass of the model for everyone. Returns the answers that moved: their `pieces` or `done` changed."""
        moved = [*self._drop_cancelled(), *self._admit()]
        for answer in self._begun:  # the draft reads along when the first token is out
            if answer in self.running and not answer.parked:
                self._read_along(sequence_of(answer))
        self._begun = []
        rounds, prefill, reading = self._packer.pack(self._active())
        if not rounds and not prefill:
            return moved
        everyone = [*rounds, *reading]
        with self._pass_lock:
            self._in_pass = everyone
        try:
            record = self._pass(rounds, prefill, reading)
        except CacheFullError as error:
            if not self.slots.make_room() and not self._park_youngest(everyone):
                self._finish(everyone[-1], "error", error)
                moved.append(everyone[-1])
            return moved
        except Cancelled:
            return moved
        except EngineError as error:
            return [*moved, *self._blame(everyone, error)]
        finally:
            with self._pass_lock:
                self._in_pass = []
        self._suspects = [answer for answer in self._suspects if answer not in everyone]
        for answer, chunk in zip(reading, prefill, strict=True):
            self._read(answer, chunk)
        if record is not None:
            self._deliver(rounds, record)
        return [*moved, *everyone]

    def _active(self) -> list[ScheduledRequest]:
        """Who may be in the coming pass: after one that failed, those who were in it one at a time."""
        active = [answer for answer in self.running if not answer.parked]
        self._suspects = [answer for answer in self._suspects if not answer.parked]
        return [answer for answer in active if answer is self._suspects[0]] if self._suspects else active

    def _abort_unwanted_pass(self) -> None:
        """End the pass that is being made, where everybody in it has been cancelled. From any thread."""
        with self._pass_lock:
            if self._in_pass and all(answer.cancelled for answer in self._in_pass):
                self.engine.abort()

    def fail_all(self, error: ForedraftError) -> list[ScheduledRequest]:
        """End every answer with an error: nothing is known any more about the state it was in."""
        ended = [*self.running, *self.waiting]
        for answer in list(self.running):
            self._finish(answer, "error", error)
        for answer in self.waiting:
            answer.done, answer.stop_reason, answer.error = True, "error", error
        self.waiting.clear()
        with contextlib.suppress(EngineDiedError):
            self.slots.clear()
        return ended

    def close(self) -> None:
        """End every answer; the engines stay the owner's."""
        for answer in [*self.running, *self.waiting]:
            answer.cancelled = True
        self._drop_cancelled()

    # ---- admit ----

    def _drop_cancelled(self) -> list[ScheduledRequest]:
        gone = [answer for answer in self.running if answer.cancelled]
        for answer in gone:
            self._finish(answer, "cancelled")
        for answer in [answer for answer in self.waiting if answer.cancelled]:
            self.waiting.remove(answer)
            answer.done, answer.stop_reason = True, "cancelled"
            gone.append(answer)
        return gone

    def _admit(self) -> list[ScheduledRequest]:
        """Waiting requests into free slots, in the order they came; returns those that ended at once.

        A request whose beginning is just being read for another one waits until it can be copied: with `n` choices the
        prompt is read once.
        """
        ended = []
        for answer in list(self.waiting):
            if not self.slots.free:
                break
            if self._soon_copied(answer):
                continue
            self.waiting.remove(answer)
            try:
                self._begin(answer)
            except BaseException:
                self.waiting.appendleft(answer)  # whoever ends them all shall find it
                raise
            sequence = answer.sequence
            assert sequence is not None
            if sequence.done and not answer.scoring:
                self._finish(answer, sequence.stop_reason or "length")
                ended.append(answer)
        return ended

    def _soon_copied(self, answer: ScheduledRequest) -> bool:
        if not self.engine.rewind_limit.possible or answer.scoring:
            return False
        prompt = answer.request.prompt
        return any(
            self.slots.grows_into(other.sequence.slot, other.sequence.tokens, prompt, other.stops)
            for other in self.running
            if other.sequence is not None and not other.parked and unread(other.sequence)
        )

    def _begin(self, answer: ScheduledRequest) -> None:
        request = answer.request
        slot, shared = self.slots.take(request.prompt, request.session, reuse=not answer.scoring)
        self.drafter.forget(slot)
        info = self.engine.info
        sampler = Sampler(request.sampling, request.prompt, n_vocab=info.n_vocab, constraint=answer.constraint)
        answer.sequence = sequence = RunningSequence(
            request,
            slot,
            sampler,
            rule=rule_of(request.speculation.acceptance),
            eog=self.engine.tokenizer.eog | request.end_tokens,
            n_ctx=info.n_ctx,
            stopwatch=answer.stream,
            observer=answer.observer,
            n_read=shared,
            stats=answer.stats,
        )
        if not self.engine.rewind_limit.free:
            answer.stops = stops(request.prompt, sequence.eog, shared)
        answer.seed = sampler.seed
        answer.admitted_at = self._clock()
        answer.stats.prompt_tokens = len(request.prompt)
        answer.stats.cached_tokens = shared
        self.running.append(answer)
        if not unread(sequence):
            self._read_along(sequence)
            answer.prefilled_at = answer.admitted_at

    # ---- pack ----

    def _pass(
        self, rounds: list[ScheduledRequest], prefill: list[Chunk], reading: list[ScheduledRequest]
    ) -> Round | None:
        if rounds:
            sequences = [sequence_of(answer) for answer in rounds]
            record = run_round(sequences, self.engine, self.drafter, self.controller, prefill, self._clock)
            if self.on_round is not None:
                self.on_round(record)
            return record
        for answer, rows in zip(reading, self.engine.forward(prefill), strict=True):
            if answer.prompt_logprobs is not None and len(rows):
                try:
                    answer.prompt_logprobs.read(rows)
                except NonFiniteLogitsError as error:
                    sequence = sequence_of(answer)
                    sequence.stop_reason, sequence.error = "error", error
        self.drafter.target_read(prefill)
        return None

    # ---- when a pass fails ----

    def _park_youngest(self, everyone: list[ScheduledRequest]) -> bool:
        """The cache is full of running answers: the youngest gives its cells back and reads its text again later."""
        if len(everyone) < 2 and all(answer in everyone or answer.parked for answer in self.running):
            return False
        youngest = [answer for answer in self.running if not answer.parked][-1]
        sequence = sequence_of(youngest)
        self.engine.rewind(sequence.slot, 0)
        self.slots.note(sequence.slot, [])
        self.drafter.forget(sequence.slot)
        sequence.n_read = 0
        if youngest.prompt_logprobs is not None:
            youngest.prompt_logprobs.restart()
        youngest.parked = True
        return True

    def _blame(self, everyone: list[ScheduledRequest], error: EngineError) -> list[ScheduledRequest]:
        """A pass failed. One answer alone ends with the error; several are tried one by one: who is at fault?"""
        if len(everyone) > 1:
            self._suspects = everyone
            return []
        self._suspects = [answer for answer in self._suspects if answer not in everyone]
        self._finish(everyone[0], "error", error)
        return everyone

    # ---- finish ----

    def _read(self, answer: ScheduledRequest, chunk: Chunk) -> None:
        sequence = sequence_of(answer)
        sequence.n_read += len(chunk.tokens)
        if sequence.n_read in answer.stops:
            self.engine.keep(sequence.slot)
        self.slots.note(sequence.slot, sequence.tokens[: sequence.n_read])
        if answer.prefilled_at is None and not unread(sequence):
            answer.prefilled_at = self._clock()
            answer.stats.prefill_s = answer.prefilled_at - answer.admitted_at
        if not sequence.done:
            self._read_along(sequence)
        elif sequence.error is not None or not answer.scoring:  # nothing is to be written
            self._finish(answer, sequence.stop_reason or "length", sequence.error)

    def _read_along(self, sequence: RunningSequence) -> None:
        """Let the drafter read what the target has read of this text, if the controller wants it to."""
        if self.controller.reads_along(sequence):
            self.drafter.prefill([Chunk(sequence.slot, 0, sequence.tokens[: sequence.n_read])])

    def _deliver(self, rounds: list[ScheduledRequest], record: Round) -> None:
        """Label the new tokens with their origin, hand out the sure text, end what has ended."""
        now = self._clock()
        for answer, x, verdict, prompt in zip(
            rounds, record.proposals, record.verdicts, record.own_prompt, strict=True
        ):
            sequence, stats = sequence_of(answer), answer.stats
            failed = x.tokens[verdict.accepted] if verdict.kind == "corrected" else None
            answer.stream.label(verdict.accepted, verdict.kind, x.source, failed)
            answer.last_round = now
            if stats.time_to_first_token_s == 0.0 and stats.tokens:
                stats.time_to_first_token_s = now - answer.submitted
            if answer.prefilled_at is None:  # its rows' share of the pass was for the token, the rest for the prompt
                answer.prefilled_at = now - record.verify_s * record.rows_share - (record.total_s - record.verify_s)
                stats.prefill_s = answer.prefilled_at - answer.admitted_at
            if prompt:  # an answer that had been parked reads its text again in the same way
                self.slots.note(sequence.slot, sequence.tokens[: sequence.n_read])
                sequence.ceiling = None
                self._begun.append(answer)
            stats.generation_s = now - answer.prefilled_at
            if sequence.done:
                self._finish(answer, sequence.stop_reason or "error", sequence.error)
            else:
                self._hand_out(answer, final=False)

    def _hand_out(self, answer: ScheduledRequest, *, final: bool) -> None:
        for piece in answer.stream.take(final=final):
            answer.pieces.append(piece)
            answer.text += piece.text

    def _finish(self, answer: ScheduledRequest, reason: str, error: ForedraftError | None = None) -> None:
        sequence = answer.sequence
        if sequence is not None:
            answer.tokens = sequence.tokens[sequence.n_prompt :]
            self.drafter.forget(sequence.slot)
            self.slots.release(sequence.slot, sequence.tokens[: sequence.n_read])
        self._hand_out(answer, final=True)
        answer.done, answer.stop_reason, answer.error = True, reason, error
        self.running.remove(answer)
        if answer in self._suspects:
            self._suspects.remove(answer)
        parked = [other for other in self.running if other.parked]
        if parked:
            parked[0].parked = False
        if error is None and self.on_finish is not None:
            self.on_finish(answer)
