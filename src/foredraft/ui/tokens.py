"""An answer's tokens as the app keeps them and sends them to its pages.

A token is a list: [text, origin, draft position, source, probability, guess, kind, seen, control], without the last
ones where they say nothing. `origin` is a letter of `ORIGINS`; `kind` is "t" for thinking; `seen` is what is shown,
where that is not the whole text (a mark such as </think> is not shown at all); `control` is the name of a control
token, which has no text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from foredraft.chats.records import Token
from foredraft.formats.token_parser import Placed
from foredraft.scheduling.stream import Piece

ORIGINS = {"accepted": "a", "corrected": "c", "bonus": "b", "main": "m"}
_NOTHING: tuple[Any, ...] = ("", "m", 0, "", None, "", "", None, "")
_KIND, _SEEN, _CONTROL = 6, 7, 8
_THOUGHT = "t"


def token_of(placed: Placed) -> Token:
    """A token for the page and the chat history."""
    piece = placed.piece
    return _short(
        [
            piece.text,
            ORIGINS.get(piece.origin, "m"),
            piece.draft_position,
            piece.source,
            None if piece.logprob is None else round(math.exp(piece.logprob.chosen.logprob), 3),
            piece.guess,
            *_reading(placed),
        ]
    )


def pieces_of(tokens: Iterable[Token]) -> list[Piece]:
    """Kept tokens for the reader of answers, numbered -1, -2, … in place of their ids."""
    return [Piece(-1 - i, str(token[0]), control=_at(token, _CONTROL)) for i, token in enumerate(tokens)]


def placed_anew(token: Token, placed: Placed) -> Token:
    """A kept token, or a part of it, as it was read now."""
    piece = placed.piece
    own = [*token, *_NOTHING[len(token) :]]
    return _short([piece.text, *own[1:_KIND], *_reading(placed)])


def prompt_of(tokens: Iterable[Token]) -> str:
    """What the model wrote, as a prompt repeats it: with the names of control tokens."""
    return "".join(f"{token[0]}{_at(token, _CONTROL)}" for token in tokens)


def content_of(tokens: Iterable[Token]) -> str:
    """The answer without thinking and marks."""
    return "".join(_seen(token) for token in tokens if _at(token, _KIND) != _THOUGHT)


def thought_of(tokens: Iterable[Token]) -> str:
    """What was thought before the answer."""
    return "".join(_seen(token) for token in tokens if _at(token, _KIND) == _THOUGHT)


def turned(tokens: Iterable[Token]) -> list[Token]:
    """Tokens that were thinking after all."""
    return [[*token[:_KIND], *_NOTHING[len(token) : _KIND], _THOUGHT, *token[_SEEN:]] for token in tokens]


def _reading(placed: Placed) -> Token:
    piece = placed.piece
    return [_THOUGHT if placed.thinking else "", None if placed.seen == piece.text else placed.seen, piece.control]


def _seen(token: Token) -> str:
    seen = _at(token, _SEEN)
    return str(token[0] if seen is None else seen)


def _at(token: Token, place: int) -> Any:
    return token[place] if len(token) > place else _NOTHING[place]


def _short(token: Token) -> Token:
    length = len(token)
    while length > 3 and token[length - 1] == _NOTHING[length - 1]:
        length -= 1
    return token[:length]
