"""An answer's pieces as the caller gets them: as they were written, or with thinking, text and calls told apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from foredraft.formats.token_parser import Placed, TokenParser
from foredraft.pair.results import Answer
from foredraft.pair.structure import Structure
from foredraft.requests.generation_request import TokenizedRequest
from foredraft.scheduling.request import Generation
from foredraft.scheduling.stream import Piece


class Reading:
    """Reads one answer. With `apart` the parts are told apart, as the request's template writes them."""

    def __init__(
        self,
        tokenized: TokenizedRequest | None = None,
        *,
        apart: bool = False,
        structure: Structure | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        self.tokenized = tokenized
        """The request that it answers; None where that was made beforehand."""
        self._apart = apart
        self._structure = structure
        self._warnings = warnings
        self._parser = self._new_parser()

    def read(self, piece: Piece) -> Iterable[Piece]:
        """What is sure after one more piece of the answer."""
        return (piece,) if self._parser is None else map(_told, self._parser.place([piece]))

    def rest(self) -> Iterable[Piece]:
        """What was still waiting, at the end of the answer."""
        return () if self._parser is None else map(_told, self._parser.rest())

    def text(self, written: str) -> str:
        """The answer's text so far, of what was `written`."""
        return written if self._parser is None else self._parser.content

    def answer(self, generation: Generation) -> Answer:
        """The finished answer."""
        parser = self._new_parser()  # whoever stopped reading has not read all that was written
        if parser is not None:
            placed = [*parser.place(generation.pieces), *parser.rest()]
            generation = dataclasses.replace(generation, pieces=list(map(_told, placed)))
        return Answer.of(generation, parser, structure=self._structure, warnings=self._warnings)

    def _new_parser(self) -> TokenParser | None:
        return self.tokenized.parser(TokenParser) if self._apart and self.tokenized is not None else None


def _told(placed: Placed) -> Piece:
    piece, seen = placed.piece, placed.seen
    if placed.thinking:
        return dataclasses.replace(piece, text="", reasoning=seen)
    return piece if seen == piece.text else dataclasses.replace(piece, text=seen)
