"""Many answers as one batch: as many at once as the model has slots, the next as soon as one ends."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from foredraft.core.errors import ForedraftError, ParameterError
from foredraft.core.params import Request
from foredraft.core.reasons import Reason
from foredraft.pair.stream import AnswerStream, Progress

MOST = 1024
"""Answers to one prompt."""
AHEAD = 2
"""Answers that wait in the scheduler for each slot: one is there as soon as a slot is free, and who asks from another
thread does not wait for the whole batch."""
R = TypeVar("R")


class BatchError(ForedraftError, Generic[R]):
    """Some answers of a batch failed; all have ended. `results` has, in the order of the prompts, the answers and in
    the place of those that failed their errors; `errors` has these by their number, from 0 on."""

    code = "batch"

    def __init__(self, results: Sequence[R | ForedraftError]) -> None:
        self.results = list(results)
        self.errors = {i: result for i, result in enumerate(self.results) if isinstance(result, ForedraftError)}
        first, error = next(iter(self.errors.items()))
        super().__init__(
            f"{len(self.errors)} of {len(self.results)} answers failed. Number {first}: {error}",
            hint="The others are in this error's `results`.",
        )


def checked_n(n: object) -> int:
    """A number of answers to one prompt. Raises `ParameterError` for one that cannot be."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST:
        raise ParameterError("n", n, Reason("allowed_whole_between", {"low": "1", "high": str(MOST)}))
    return n


def with_seed(request: Request, number: int) -> Request:
    """The request of answer `number` of several to one prompt: with a seed, each has its own."""
    seed = request.sampling.seed
    if number == 0 or seed is None:
        return request
    return dataclasses.replace(request, sampling=dataclasses.replace(request.sampling, seed=(seed + number) % 2**64))


def run_batch(
    begin: Sequence[Callable[[], AnswerStream]],
    collect: Callable[[AnswerStream], R],
    *,
    slots: int,
    progress: Progress | None = None,
) -> list[R]:
    """The results of some answers, in their order. Each of `begin` queues one; what it raises ends that answer alone.
    `progress` is called with "answers" and the share that has ended. Raises `BatchError` at the end if any failed;
    whatever else ends it cancels what is being written."""
    results: list[R | ForedraftError | None] = [None] * len(begin)
    waiting = list(range(len(begin)))[::-1]
    running: dict[int, AnswerStream] = {}
    ended = 0
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * slots:
                i = waiting.pop()
                try:
                    running[i] = begin[i]()
                except ForedraftError as error:
                    results[i], ended = error, ended + 1
            if running:
                next(iter(running.values())).step()
            for i in [i for i, stream in running.items() if stream.done]:
                results[i], ended = _outcome(running.pop(i), collect), ended + 1
                if progress is not None:
                    progress("answers", ended / len(begin))
    finally:
        for stream in running.values():
            stream.cancel()
    if any(isinstance(result, ForedraftError) for result in results):
        raise BatchError([result for result in results if result is not None])
    return [result for result in results if result is not None and not isinstance(result, ForedraftError)]


def _outcome(stream: AnswerStream, collect: Callable[[AnswerStream], R]) -> R | ForedraftError:
    try:
        return collect(stream)
    except ForedraftError as error:
        return error
