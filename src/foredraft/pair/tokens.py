"""Tokens back to text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from foredraft.core.errors import ParameterError
from foredraft.engines.base import Tokenizer


def spelt(tokenizer: Tokenizer, tokens: Sequence[int], between: Callable[[], None] = lambda: None) -> str:
    """A text that becomes these tokens again, where there is one; control tokens by their names. `between` is called
    now and then. Raises `ParameterError` for ids that are none."""
    pieces = []
    for number, token in enumerate(tokens):
        if number % 4096 == 0:
            between()
        try:
            pieces.append(tokenizer.piece(token, special=True))
        except ParameterError as error:
            raise ParameterError("tokens", token, error.allowed) from None
    text = b"".join(pieces).decode("utf-8", "replace")
    if tokenizer.kind == "spm" and text.startswith(" "):  # a space that it puts in front of every text, or one more
        again = tokenizer.encode(text[1:], add_special=False)
        return text[1:] if again == list(tokens) else text
    return text
