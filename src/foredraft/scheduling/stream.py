"""Tokens to text, piece by piece: whole characters only, stop strings held back.

A token may be half a character, and a stop string may begin in one token and end in another. So text waits here until
it is sure: bytes until they make a character, characters while they could be the beginning of a stop string.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.engines.base import Tokenizer
from foredraft.scheduling.logprobs import TokenLogprob


@dataclass(slots=True)
class Piece:
    """One token of an answer, with the text it completed (possibly none: half a character, an end token)."""

    token: int
    text: str = ""
    origin: str = "main"
    """accepted (drafted, and kept), corrected (the main model's, where a guess failed), bonus (the main model's, after
    all guesses stood) or main (nothing was guessed)."""
    draft_position: int = 0
    """1, 2, … for an accepted guess; 0 for the main model's own token."""
    source: str = ""
    """Who guessed it: model, suffix …; empty for the main model's own token."""
    guess: str = ""
    """For a corrected token: the text of the guess that failed in its place."""
    logprob: TokenLogprob | None = None
    """Where log probabilities were asked for."""
    control: str = ""
    """The name of a control token (`<|im_end|>`), which is no part of the text; empty for others."""
    reasoning: str = ""
    """What it added to the thinking, for those who are given that apart (`LLM.chat`); it is then no part of `text`."""

    def __repr__(self) -> str:
        by = f" by {self.source}" if self.source else ""
        instead = f" instead of {self.guess!r}" if self.guess else ""
        return f"Piece({(self.text or self.reasoning or self.control)!r}, {self.origin}{by}{instead})"

    def __str__(self) -> str:
        return self.text


class TextStream:
    """The text of one answer. Fed by `RunningSequence.extend` (as its stop watch), emptied by the scheduler."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = (), eog: frozenset[int] | None = None) -> None:
        self._tokenizer = tokenizer
        self._stop = tuple(stop)
        self._eog = tokenizer.eog if eog is None else eog
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting: list[Piece] = []
        self._unlabelled = 0
        self._cut = False
        self.found = ""
        """The stop string that ended the answer; empty as long as none has."""
        self.end_logprob: TokenLogprob | None = None
        """Of the token that ended the answer, which is no part of its text and no piece."""

    def feed(self, token: int) -> bool:
        """Add one token; True when a stop string is complete. The text then ends before the stop string."""
        said = b"" if token in self._eog else self._tokenizer.piece(token)
        text = self._decoder.decode(said)
        control = "" if said else self._tokenizer.piece(token, special=True).decode("utf-8", "replace")
        self._waiting.append(Piece(token, text, control=control))
        self._unlabelled += 1
        if not self._stop or not text:
            return False
        waiting = "".join(piece.text for piece in self._waiting)
        ends = [(at, stop) for stop in self._stop if (at := waiting.find(stop)) >= 0]
        if not ends:
            return False
        end, self.found = min(ends, key=lambda found: found[0])
        self._truncate(end)
        return True

    def label(self, accepted: int, kind: str, source: str, guess: int | None = None) -> None:
        """Say where the tokens fed since the last call came from: `accepted` guesses, then one of the target's own, in
        place of the `guess` that failed."""
        start = len(self._waiting) - self._unlabelled
        for i, piece in enumerate(self._waiting[start:]):
            if i < accepted:
                piece.origin, piece.draft_position, piece.source = "accepted", i + 1, source
            else:
                piece.origin = "main" if kind == "plain" else kind
                if guess is not None:
                    piece.guess = self._tokenizer.piece(guess, special=True).decode("utf-8", "replace")
        self._unlabelled = 0

    def unlabelled(self) -> list[Piece]:
        """The pieces of the round that is being recorded, for observers that attach something."""
        return self._waiting[len(self._waiting) - self._unlabelled :] if self._unlabelled else []

    def take(self, *, final: bool = False) -> list[Piece]:
        """The pieces whose text is sure. At the end (`final`) everything that waits, half characters as U+FFFD."""
        if final:
            rest = "" if self._cut else self._decoder.decode(b"", final=True)
            if rest and self._waiting:
                self._waiting[-1].text += rest
            elif rest:
                self._waiting.append(Piece(-1, rest))
            ready, self._waiting = self._waiting, []
            return ready
        held = self._held()
        count = len(self._waiting)
        while held > 0 and count > 0:
            count -= 1
            held -= len(self._waiting[count].text)
        # A piece without text yet (half a character) waits with the token that will complete it only when it is last.
        ready, self._waiting = self._waiting[:count], self._waiting[count:]
        return ready

    def _held(self) -> int:
        """Characters at the end that could be the beginning of a stop string."""
        waiting = "".join(piece.text for piece in self._waiting) if self._stop else ""
        held = 0
        for stop in self._stop:
            for n in range(min(len(stop) - 1, len(waiting)), held, -1):
                if waiting.endswith(stop[:n]):
                    held = n
                    break
        return held

    def _truncate(self, length: int) -> None:
        for piece in self._waiting:
            if self._cut:
                piece.control = ""
            self._cut |= len(piece.text) > length
            piece.text = piece.text[:length]
            length -= len(piece.text)
        self._cut = True
