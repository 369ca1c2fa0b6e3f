"""Admit, pack, round, finish: every pass of the model serves whoever is there.

Prompt pieces of new requests and the rounds of running answers share one `Engine.forward`, so batching and speculation
work together. Not thread-safe: one thread steps it (`runtime.py`), `Answer.cancelled` may be set from any.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from foredraft.core.errors import (
    CacheFullError,
    Cancelled,
    ContextOverflowError,
    EmptyPromptError,
    EngineError,
    ForedraftError,
    ParameterError,
)
from foredraft.core.params import Request
from foredraft.engines.base import Chunk, Engine
from foredraft.sampling.sampler import Constraint, Sampler
from foredraft.scheduling.answer import Answer
from foredraft.scheduling.slots import Slots
from foredraft.scheduling.stream import TextStream
from foredraft.speculative.acceptance import RULES
from foredraft.speculative.controllers.base import DraftController
from foredraft.speculative.drafters.base import Drafter
from foredraft.speculative.proposal import Round
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import Observer, Sequence

PREFILL_BESIDE_OTHERS = 128
"""Prompt tokens read in one pass while answers are running: their longest wait is one such piece."""


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
        self.slots = Slots(engine)
        self.waiting: deque[tuple[Answer, Constraint | None, Observer | None]] = deque()
        self.running: list[Answer] = []
        self._clock = clock
        self._on_round = on_round

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.running)

    def submit(
        self, request: Request, *, constraint: Constraint | None = None, observer: Observer | None = None
    ) -> Answer:
        """Queue a request. Raises `EmptyPromptError`, `ContextOverflowError` or `ParameterError` at once."""
        n_vocab, n_ctx = self.engine.info.n_vocab, self.engine.info.n_ctx
        if not request.prompt:
            raise EmptyPromptError
        if len(request.prompt) >= n_ctx:
            raise ContextOverflowError(len(request.prompt), n_ctx)
        for name, tokens in (("prompt", request.prompt), ("prediction", request.prediction)):
            if tokens and not 0 <= min(tokens) <= max(tokens) < n_vocab:
                raise ParameterError(name, "a token id", f"made of token ids from 0 to {n_vocab - 1}")
        unknown = [t for t in request.sampling.logit_bias if t >= n_vocab]
        if unknown:
            raise ParameterError("logit_bias", unknown[0], f"a table of token ids from 0 to {n_vocab - 1}")
        answer = Answer(request, TextStream(self.engine.tokenizer, request.stop), self._clock())
        self.waiting.append((answer, constraint, observer))
        return answer

    def cancel(self, answer: Answer) -> None:
        """Ask an answer to end with what it has. Takes effect at the next step; from any thread."""
        answer.cancelled = True

    def step(self) -> list[Answer]:
        """One pass of the model for everyone. Returns the answers that moved: their `pieces` or `done` changed."""
        moved = [answer for answer in self.running if answer.cancelled]
        for answer in moved:
            self._finish(answer, "cancelled")
        moved += self._admit()
        prefill, reading = self._pack()
        rounds = [a for a in self.running if a.sequence is not None and a.sequence.prefilled and a not in reading]
        if not rounds and not prefill:
            return moved
        try:
            record = self._pass(rounds, prefill)
        except CacheFullError as error:
            if not self.slots.make_room():
                self._finish(self.running[-1], "error", error)
            return moved
        except Cancelled:
            return moved
        except EngineError as error:
            for answer in list(self.running):
                self._finish(answer, "error", error)
            return [*moved, *rounds, *reading]
        for answer, chunk in zip(reading, prefill, strict=True):
            self._read(answer, chunk)
        if record is not None:
            self._deliver(rounds, record)
        return [*moved, *rounds, *reading]

    def close(self) -> None:
        """End every answer; the engines stay the owner's."""
        for answer in [*self.running, *(a for a, _, _ in self.waiting)]:
            answer.cancelled = True
        self.waiting.clear()
        for answer in list(self.running):
            self._finish(answer, "cancelled")

    def _admit(self) -> list[Answer]:
        """Waiting requests into free slots, in the order they came."""
        gone = []
        while self.waiting and (self.slots.free or self.waiting[0][0].cancelled):
            answer, constraint, observer = self.waiting.popleft()
            if answer.cancelled:
                answer.done, answer.stop_reason = True, "cancelled"
                gone.append(answer)
                continue
            request = answer.request
            slot, shared = self.slots.take(request.prompt)
            self.drafter.forget(slot)
            sampler = Sampler(
                request.sampling, request.prompt, n_vocab=self.engine.info.n_vocab, constraint=constraint
            )
            sequence = Sequence(
                request,
                slot,
                sampler,
                rule=RULES[request.speculation.acceptance](),
                eog=self.engine.tokenizer.eog,
                n_ctx=self.engine.info.n_ctx,
                stopwatch=answer.stream,
                observer=observer,
                n_read=shared,
                stats=answer.stats,
            )
            answer.sequence, answer.seed = sequence, sampler.seed
            answer.stats.prompt_tokens = len(request.prompt)
            answer.stats.cached_tokens = shared
            self.running.append(answer)
            if sequence.done:
                self._finish(answer, sequence.stop_reason or "length")
                gone.append(answer)
            elif sequence.prefilled:
                answer.prefilled_at = self._clock()
        return gone

    def _pack(self) -> tuple[list[Chunk], list[Answer]]:
        """Prompt pieces for the coming pass, the oldest request first, within the pass's room."""
        reading = [a for a in self.running if a.sequence is not None and not a.sequence.prefilled]
        others = len(self.running) - len(reading)
        room = self.engine.info.n_batch - others * 17  # a running answer may put up to 16 guesses and its last token
        if others:
            room = min(room, PREFILL_BESIDE_OTHERS)
        chunks, chosen = [], []
        for i, answer in enumerate(reading):
            sequence = answer.sequence
            assert sequence is not None
            share = max(room // (len(reading) - i), min(room, 16))
            piece = sequence.tokens[sequence.n_read : min(sequence.n_prompt - 1, sequence.n_read + share)]
            if not piece:
                break
            chunks.append(Chunk(sequence.slot, sequence.n_read, piece))
            chosen.append(answer)
            room -= len(piece)
        return chunks, chosen

    def _pass(self, rounds: list[Answer], prefill: list[Chunk]) -> Round | None:
        sequences = [a.sequence for a in rounds if a.sequence is not None]
        if sequences:
            record = run_round(sequences, self.engine, self.drafter, self.controller, prefill, self._clock)
            if self._on_round is not None:
                self._on_round(record)
            return record
        self.engine.forward(prefill)
        self.drafter.prefill(prefill)
        return None

    def _read(self, answer: Answer, chunk: Chunk) -> None:
        sequence = answer.sequence
        assert sequence is not None
        sequence.n_read += len(chunk.tokens)
        self.slots.note(sequence.slot, sequence.tokens[: sequence.n_read])
        if sequence.prefilled:
            answer.prefilled_at = self._clock()
            answer.stats.prefill_s = answer.prefilled_at - answer.submitted

    def _deliver(self, rounds: list[Answer], record: Round) -> None:
        """Label the new tokens with their origin, hand out the sure text, end what has ended."""
        now = self._clock()
        for answer, x, verdict in zip(rounds, record.proposals, record.verdicts, strict=True):
            sequence, stats = answer.sequence, answer.stats
            assert sequence is not None
            answer.stream.label(verdict.accepted, verdict.kind, x.source)
            if stats.time_to_first_token_s == 0.0 and stats.tokens:
                stats.time_to_first_token_s = now - answer.submitted
            if answer.prefilled_at is not None:
                stats.generation_s = now - answer.prefilled_at
            if sequence.done:
                self._finish(answer, sequence.stop_reason or "error", sequence.error)
            else:
                self._hand_out(answer, final=False)

    def _hand_out(self, answer: Answer, *, final: bool) -> None:
        for piece in answer.stream.take(final=final):
            answer.pieces.append(piece)
            answer.text += piece.text

    def _finish(self, answer: Answer, reason: str, error: ForedraftError | None = None) -> None:
        sequence = answer.sequence
        if sequence is not None:
            answer.tokens = sequence.tokens[sequence.n_prompt :]
            self.drafter.forget(sequence.slot)
            self.slots.release(sequence.slot, sequence.tokens[: sequence.n_read])
        self._hand_out(answer, final=True)
        answer.done, answer.stop_reason, answer.error = True, reason, error
        self.running.remove(answer)
