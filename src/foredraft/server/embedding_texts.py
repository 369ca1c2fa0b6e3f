"""Texts to embed as tokens. Not for the event loop."""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.core.cancellation import still_wanted
from foredraft.core.errors import ParameterError
from foredraft.requests.tokenizing import BoundedTokenizer, n_bytes
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.errors import TextTooLongError


def tokens_to_embed(
    tokenizer: BoundedTokenizer, model: Embedder, texts: Sequence[str | Sequence[int]], *, cut: bool = False
) -> list[list[int]]:
    """Texts to embed (or token ids, taken as they are) as tokens. Raises what is wrong with one; with `cut` the end of
    a text that is too long is left out instead."""
    tokens = []
    for i, text in enumerate(texts):
        still_wanted()
        if cut and isinstance(text, str):
            text = _cut(tokenizer, model, text)
        elif isinstance(text, str):
            tokenizer.check(model.engine, n_bytes(text), f"input.{i}")
        try:
            tokens += model.read([text])
        except TextTooLongError as error:
            raise TextTooLongError(i, error.tokens, error.longest) from None
        except ParameterError as error:
            raise ParameterError(f"input.{i}", error.value, error.allowed) from None
    return tokens


def _cut(bounded: BoundedTokenizer, model: Embedder, text: str) -> str | list[int]:
    """A text, or its first tokens (and the last, where the vocabulary puts a mark there) where it is too long."""
    n_ctx, tokenizer = model.info.n_ctx, model.engine.tokenizer
    if n_bytes(text) + 2 <= n_ctx:  # a token is a byte at least, but for a mark at each end
        return text
    text = text[: n_ctx * bounded.longest(model.engine)]
    tokens = tokenizer.encode(text, parse_special=False)
    if len(tokens) <= n_ctx:
        return text
    return [*tokens[: n_ctx - 1], tokens[-1]] if tokenizer.add_eos else tokens[:n_ctx]
