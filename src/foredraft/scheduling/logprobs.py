"""Log probabilities of tokens, and of those that could have stood in their place: of what is written, and of a prompt.

They are those of the model itself (`sampling/logprobs.py`): the same with and without a draft, because row i of a
verify pass is the row that plain decoding would have had there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.engines.base import Logits, Tokenizer
from foredraft.sampling.logprobs import logprobs
from foredraft.sampling.search import Row


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token, its bytes (of a control token, its name) and ln of its probability; -inf where it cannot come."""

    token: int
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that stands in a text, and the likeliest ones in its place, by falling probability."""

    chosen: Alternative
    top: tuple[Alternative, ...]

    @classmethod
    def of(cls, tokenizer: Tokenizer, row: Row, token: int, top: int, position: int) -> TokenLogprob:
        """Of the token at `position`, from the row of logits before it."""
        chosen, likeliest = logprobs(row, token, top, position)

        def alternative(token: int, logprob: float) -> Alternative:
            return Alternative(token, tokenizer.piece(token, special=True), logprob)

        return cls(alternative(token, chosen), tuple(alternative(*other) for other in likeliest))


class PromptLogprobs:
    """Of a prompt's own tokens, collected while it is read, a piece at a time: rows are never kept."""

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], top: int) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._top = top
        self._told = False
        self.tokens: list[TokenLogprob] = []
        """Of `prompt[1:]`, as far as it has been read: before the first token there is no row."""

    @property
    def done(self) -> bool:
        return len(self.tokens) == len(self._prompt) - 1

    def read(self, rows: Logits) -> None:
        """The rows behind the next tokens of the prompt. Raises `NonFiniteLogitsError`."""
        for row in rows:
            at = len(self.tokens) + 1
            self.tokens.append(TokenLogprob.of(self._tokenizer, row, self._prompt[at], self._top, at))

    def restart(self) -> None:
        """The prompt will be read again from its beginning. What was whole stays."""
        if not self.done:
            self.tokens.clear()

    def take(self) -> tuple[TokenLogprob, ...] | None:
        """All of them, once; None before they are whole, and afterwards."""
        if self._told or not self.done:
            return None
        self._told = True
        return tuple(self.tokens)
