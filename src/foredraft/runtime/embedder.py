"""Texts of many requests through one embedding model, a pass at a time.

A pass is short (`PASS_TOKENS`, or one longer text), because the thread that makes it also writes other models' answers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from foredraft.core.errors import EngineDiedError, EngineError, ForedraftError, ParameterError
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo
from foredraft.engines.embedding import EmbeddingEngine, Vectors
from foredraft.runtime.errors import TextTooLongError
from foredraft.runtime.thread import resolve
from foredraft.scheduling.request import SpeculationStatus

PASS_TOKENS = 512
"""Tokens of one pass, where single texts are not longer."""
_GUESSES_NOTHING = SpeculationStatus("off", Reason("embeds_only"))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one request, in the order of its texts."""

    vectors: Vectors
    tokens: int
    seconds: float
    """From the request to the last vector, waiting included."""


Report = Callable[[Embeddings | ForedraftError], None]


@dataclass(eq=False, slots=True)
class _Job:
    texts: Sequence[Sequence[int]]
    future: Future[Embeddings]
    submitted: float
    rows: list[Vectors] = field(default_factory=list)
    """Those that are done; the next text is number `len(rows)`."""


class Embedder:
    """A loaded embedding model with its queue. Not thread-safe but for `read`: the model thread steps it."""

    def __init__(
        self,
        engine: EmbeddingEngine,
        notes: Sequence[Reason] = (),
        *,
        place_reason: Reason | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`place_reason` says why the model lies where it does."""
        self.engine = engine
        self.notes = list(notes)
        self.place_reason = place_reason
        self.speculation = _GUESSES_NOTHING
        self._clock = clock
        self._jobs: deque[_Job] = deque()

    @property
    def info(self) -> ModelInfo:
        return self.engine.info

    @property
    def pid(self) -> int | None:
        """Of its process, where it has one of its own."""
        return getattr(self.engine, "pid", None)

    @property
    def died(self) -> EngineDiedError | None:
        """Why the model's process has ended; None while it lives, and where it has none of its own."""
        return getattr(self.engine, "died", None)

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    @property
    def waiting(self) -> int:
        """Requests that are not finished."""
        return len(self._jobs)

    def read(self, texts: Sequence[str | Sequence[int]]) -> list[list[int]]:
        """Texts (or token ids, taken as they are) as tokens. Safe on any thread. Raises `TextTooLongError` or
        `ParameterError`, which names the text by its number."""
        n_vocab, longest = self.info.n_vocab, self.info.n_ctx
        found = []
        for i, text in enumerate(texts):
            tokens = self.engine.tokenizer.encode(text, parse_special=False) if isinstance(text, str) else list(text)
            if not text or not tokens:
                raise ParameterError(f"input.{i}", "", "a text of at least one character, or token ids")
            if not 0 <= min(tokens) <= max(tokens) < n_vocab:
                raise ParameterError(f"input.{i}", "a token id", f"made of token ids from 0 to {n_vocab - 1}")
            if len(tokens) > longest:
                raise TextTooLongError(i, len(tokens), longest)
            found.append(tokens)
        return found

    def submit(self, texts: Sequence[Sequence[int]], future: Future[Embeddings]) -> None:
        """Queue the texts of one request, as `read` gave them. Whoever cancels `future` gives it up."""
        self._jobs.append(_Job(texts, future, self._clock()))

    def step(self, report: Report) -> None:
        """One pass. Whatever has come to an end is reported before whoever waits for it is told."""
        for job in [job for job in self._jobs if job.future.cancelled()]:
            self._jobs.remove(job)
        picked = self._pick()
        try:
            self._pass(picked)
        except EngineError as error:
            if len(picked) == 1:
                self._fail(picked[0][0], error, report)
            else:  # one by one: whose text is at fault?
                for job, text in picked:
                    self._alone(job, text, report)
        for job in [job for job in self._jobs if len(job.rows) == len(job.texts)]:
            self._jobs.remove(job)
            vectors = np.stack(job.rows) if job.rows else np.empty((0, self.engine.dimensions), dtype=np.float32)
            done = Embeddings(vectors, sum(map(len, job.texts)), self._clock() - job.submitted)
            report(done)
            resolve(job.future, done)

    def fail_all(self, error: ForedraftError) -> None:
        """End every request with an error."""
        for job in self._jobs:
            resolve(job.future, error=error)
        self._jobs.clear()

    def close(self) -> None:
        self.engine.close()

    def _pick(self) -> list[tuple[_Job, Sequence[int]]]:
        """Texts of the next pass, in the order they came."""
        picked: list[tuple[_Job, Sequence[int]]] = []
        room = min(PASS_TOKENS, self.info.n_batch)
        for job in self._jobs:
            for text in job.texts[len(job.rows) :]:
                if picked and (len(text) > room or len(picked) == self.info.n_slots):
                    return picked
                picked.append((job, text))
                room -= len(text)
        return picked

    def _pass(self, picked: Sequence[tuple[_Job, Sequence[int]]]) -> None:
        if picked:
            vectors = self.engine.embed([text for _, text in picked])
            for (job, _), vector in zip(picked, vectors, strict=True):
                job.rows.append(vector)

    def _alone(self, job: _Job, text: Sequence[int], report: Report) -> None:
        if job not in self._jobs:  # failed with an earlier text of its own
            return
        try:
            self._pass([(job, text)])
        except EngineError as error:
            self._fail(job, error, report)

    def _fail(self, job: _Job, error: ForedraftError, report: Report) -> None:
        self._jobs.remove(job)
        report(error)
        resolve(job.future, error=error)
