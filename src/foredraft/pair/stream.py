"""An answer being written, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from foredraft.pair.reading import Reading
from foredraft.pair.results import Answer
from foredraft.requests.generation_request import TokenizedRequest
from foredraft.scheduling.notebook import short
from foredraft.scheduling.request import Generation, ScheduledRequest
from foredraft.scheduling.stream import Piece

Progress = Callable[[str, float], None]
"""Called with what is going on ("download", "main", "draft", "prompt") and the share done, 0 to 1."""


class Stepper(Protocol):
    """What writes the answer: a pass at a time."""

    def step(self, answer: ScheduledRequest) -> None: ...
    def finish(self, answer: ScheduledRequest) -> None: ...
    def generation(self, answer: ScheduledRequest, pieces: list[Piece]) -> Generation: ...


class AnswerStream:
    """An answer being written: iterate for its pieces, or ask for its `text` or `result`, which finish it. Leaving the
    loop early cancels the answer."""

    def __init__(
        self, llm: Stepper, answer: ScheduledRequest, progress: Progress | None = None, reading: Reading | None = None
    ) -> None:
        self._reading = reading or Reading()
        self._llm = llm
        self._answer = answer
        self._progress = progress
        self._kept: list[Piece] = []
        self._begun = False

    def __iter__(self) -> Iterator[Piece]:
        self._begun = True
        answer = self._answer
        try:
            while True:
                while answer.pieces:
                    piece = answer.pieces.popleft()
                    self._kept.append(piece)
                    yield from self._reading.read(piece)
                if answer.done:
                    break
                self._llm.step(answer)
                if self._progress is not None and not self._kept:
                    read, total = answer.prompt_progress
                    self._progress("prompt", read / total)
            yield from self._reading.rest()
        finally:
            self.cancel()
        if answer.error is not None:
            raise answer.error

    @property
    def done(self) -> bool:
        """Whether the answer has ended."""
        return self._answer.done

    def step(self) -> None:
        """A pass of the model, in which this answer has its share. Does nothing when it has ended."""
        self._llm.step(self._answer)

    def cancel(self) -> None:
        """End the answer with what it has. Does nothing when it has ended."""
        if self._answer.done:
            return
        self._answer.cancel()
        self._llm.finish(self._answer)
        self._kept.extend(self._answer.pieces)
        self._answer.pieces.clear()

    @property
    def text(self) -> str:
        """What has been written so far; of an answer that nobody has begun to read, all of it."""
        if not self._begun:
            self._finish()
        return self._reading.text(self._answer.text)

    @property
    def tokenized(self) -> TokenizedRequest | None:
        """The request that it answers, with what is needed to tell thinking and calls apart; None where it was made
        beforehand."""
        return self._reading.tokenized

    @property
    def result(self) -> Answer:
        """The finished (or cancelled) answer. Raises what ended it, if that was an error."""
        self._finish()
        if self._answer.error is not None:
            raise self._answer.error
        return self._reading.answer(self._llm.generation(self._answer, self._kept))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        answer = self._answer
        state = f"ended by {answer.stop_reason}" if answer.done else "being written"
        return f"{type(self).__name__}({short(answer.text)}, {answer.stats.tokens} tokens, {state})"

    def _repr_html_(self) -> str:
        """What notebooks show: the whole answer, its tokens in colour."""
        return self.result._repr_html_()

    def _finish(self) -> None:
        for _ in self:
            pass
