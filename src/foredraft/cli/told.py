"""Answers as the commands print them: thinking told from the answer, wherever the model runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from foredraft.cli import terminal
from foredraft.cli.structured import structure_of
from foredraft.cli.words import t
from foredraft.formats.response_parser import ResponseParser
from foredraft.formats.token_parser import Placed, TokenParser
from foredraft.scheduling.stream import Piece

if TYPE_CHECKING:
    from foredraft.cli.options import GenerateOptions
    from foredraft.pair.llm import LLM
    from foredraft.pair.stream import AnswerStream, Progress
    from foredraft.scheduling.request import Generation
    from foredraft.server.client import RemoteAnswer


class Told(Protocol):
    """An answer on its way. Ask for `result` first, then for the texts."""

    @property
    def reasoning(self) -> str: ...

    @property
    def content(self) -> str: ...

    @property
    def result(self) -> Generation: ...

    def __iter__(self) -> Iterator[Placed]: ...


class ToldHere:
    """An answer of a model in this program. Without a `reader` (the text has no template) all of it is the answer."""

    def __init__(self, stream: AnswerStream, reader: TokenParser | None) -> None:
        self._stream, self._reader = stream, reader
        self._read = 0
        self._text = ""

    def __iter__(self) -> Iterator[Placed]:
        for piece in self._stream:
            self._read += 1
            if self._reader is None:
                yield Placed(piece, piece.text, False)
            else:
                yield from self._reader.place([piece])
        if self._reader is not None:
            yield from self._reader.rest()

    @property
    def result(self) -> Generation:
        generation = self._stream.result
        self._text = generation.text
        if self._reader is not None:  # of an answer that was interrupted, some pieces have not been asked for
            self._reader.place(generation.pieces[self._read :])
            self._read = len(generation.pieces)
            self._reader.end()
        return generation

    @property
    def reasoning(self) -> str:
        return "" if self._reader is None else self._reader.reasoning

    @property
    def content(self) -> str:
        return self._text if self._reader is None else self._reader.content


class ToldByServer:
    """An answer of the running server, which has told thinking apart already. Colours come with the tokens and texts
    with their kind: they are brought together by the text."""

    def __init__(self, answer: RemoteAnswer) -> None:
        self._answer = answer
        self.reasoning = self.content = ""

    def __iter__(self) -> Iterator[Placed]:
        origins = _Origins()
        for pieces, choice in self._answer.parts():
            if "delta" not in choice:  # a text without a template
                self.content += "".join(piece.text for piece in pieces)
                yield from (Placed(piece, piece.text, False) for piece in pieces)
                continue
            origins.add(pieces)
            for name, thinking in (("reasoning_content", True), ("content", False)):
                said = choice["delta"].get(name) or ""
                if thinking:
                    self.reasoning += said
                else:
                    self.content += said
                yield from (Placed(piece, piece.text, thinking) for piece in origins.of(said))

    @property
    def result(self) -> Generation:
        generation = self._answer.result
        if not self.reasoning and self.content != generation.text:
            # Thinking that was ended without having been begun came as content: what has been sent is not taken back.
            reader = ResponseParser()
            reader.feed(generation.text)
            reader.end()
            if reader.reasoning:
                self.reasoning, self.content = reader.reasoning, reader.content
        return generation


class _Origins:
    """Tokens whose text has not been said yet."""

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()

    def add(self, pieces: Sequence[Piece]) -> None:
        self._pieces.extend(piece for piece in pieces if piece.text)

    def of(self, said: str) -> list[Piece]:
        """A text as the tokens that it is of; what stands before it (a mark) is dropped."""
        skip = "".join(piece.text for piece in self._pieces).find(said)
        if not said or skip < 0:
            return [Piece(-1, said)] if said else []
        found: list[Piece] = []
        left = len(said)
        while left:
            piece = self._pieces.popleft()
            if skip >= len(piece.text):
                skip -= len(piece.text)
                continue
            text = piece.text[skip : skip + left]
            if skip + left < len(piece.text):
                self._pieces.appendleft(replace(piece, text=piece.text[skip + left :]))
            found.append(replace(piece, text=text))
            left, skip = left - len(text), 0
        return found


def begin_here(
    llm: LLM, what: str | Sequence[Mapping[str, Any]], asked: GenerateOptions, progress: Progress | None = None
) -> ToldHere:
    """Begin to answer a conversation, or to continue a text without the chat template."""
    stream = llm.stream(asked.wish(what), progress=progress)
    if isinstance(what, str):
        return ToldHere(stream, None)
    assert stream.tokenized is not None, "it was prepared"
    return ToldHere(stream, stream.tokenized.parser(TokenParser))


def as_message(told: Told) -> dict[str, str]:
    """The answer as a message of the conversation."""
    thought = {"reasoning_content": told.reasoning} if told.reasoning else {}
    return {"role": "assistant", "content": told.content, **thought}


def as_dict(told: Told, generation: Generation) -> dict[str, Any]:
    """The object of `--json`: `text` is all that the model wrote; where it thought, both parts stand beside it."""
    parts = {"reasoning": told.reasoning, "content": told.content} if told.reasoning else {}
    return {**generation.as_dict(), **parts}


def say_what_is_left_out(asked: GenerateOptions) -> None:
    """What of a schema answers are not held to, on stderr."""
    structure = structure_of(asked)
    for sentence in structure.left_out if structure is not None else ():
        terminal.errors().print(t()("cli.note", note=sentence), style="yellow", markup=False)
