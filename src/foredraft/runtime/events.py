"""What happens to an answer, as values: the same for the API, the app and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from foredraft.core.errors import ForedraftError
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.request import Generation
from foredraft.scheduling.stream import Piece


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """Prompt tokens read so far, of how many, and how many of them were in the cache already."""

    read: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class PromptScored:
    """The log probabilities of the prompt's tokens but the first, where they were asked for: once, before all text."""

    tokens: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class NewPieces:
    """The tokens of one round, as far as their text is sure, with their origins."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of an answer that ended well, or was cancelled (`stop_reason` says which)."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Failed:
    """The last event of an answer that could not be given or completed."""

    error: ForedraftError


Event = PromptProgress | PromptScored | NewPieces | Finished | Failed
