"""Answers as notebooks and consoles show them: tokens in colour as HTML, and short texts for a `repr`.

The HTML needs nothing from elsewhere: no script, no style sheet, no network. Colours are see-through, so that they
suit a light page and a dark one, and each has a line of its own for those who do not see colours.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from foredraft.scheduling.stream import Piece

SHORT = 40
"""Characters of a text that a `repr` shows."""
_ACCEPTED = "background:rgba(15,133,113,.2);border-bottom:2px solid #0f8571"
_CORRECTED = "background:rgba(180,83,9,.14);border-bottom:2px dotted #b45309"
_STYLES = {"accepted": _ACCEPTED, "corrected": _CORRECTED}


def short(text: str) -> str:
    """The beginning of a text, quoted."""
    return repr(text if len(text) <= SHORT else f"{text[: SHORT - 1]}…")


def coloured(pieces: Iterable[Piece], text: str, note: str) -> str:
    """An answer as HTML: its tokens, coloured by where they came from (the `text` alone where there are none), with a
    legend and a `note` below."""
    spans = "".join(_span(piece) for piece in pieces if piece.text or piece.reasoning) or escape(text)
    legend = (
        f'<span style="{_ACCEPTED}">accepted guess</span> · '
        f'<span style="{_CORRECTED}">corrected by the main model</span> · plain: the main model’s own'
    )
    return (
        f'<div style="white-space:pre-wrap;line-height:1.6">{spans}</div>'
        f'<div style="font-size:smaller;opacity:.75;margin-top:.4em">{legend}<br>{escape(note)}</div>'
    )


def _span(piece: Piece) -> str:
    style, said = _STYLES.get(piece.origin), escape(piece.text)
    if piece.reasoning:
        said = f'<i style="opacity:.6">{escape(piece.reasoning)}</i>{said}'
    if style is None:
        return said
    return f'<span style="{style}" title="{escape(_origin(piece))}">{said}</span>'


def _origin(piece: Piece) -> str:
    if piece.origin == "accepted":
        return f"accepted: guess {piece.draft_position} of its round, by {piece.source or 'the draft'}"
    return f"corrected: the guess was {piece.guess!r}" if piece.guess else "corrected"
