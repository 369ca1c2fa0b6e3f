"""Texts to tokens within a context: what cannot fit is refused by its bytes, and long texts are read in pieces.

A context of n tokens holds at most n times the longest token in bytes. Not for the event loop; long work stops when
nobody waits for it (`core/cancellation.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from foredraft.core.cancellation import still_wanted
from foredraft.core.errors import ContextOverflowError, ForedraftError, LimitError, ParameterError
from foredraft.core.reasons import Numbers, Reason
from foredraft.engines.base import ModelInfo, Tokenizer

SHORT = 8 << 10
"""Bytes of text that are turned into tokens without a look at the vocabulary."""
_TOGETHER = 256
"""Control tokens of one piece. llama.cpp looks for each from the text's beginning: time grows with their square."""
_CONTROL = re.compile(r"[<\[](?!0x..>).+[>\]]", re.DOTALL)
"""What control tokens look like."""


class PromptTooLongError(LimitError, ContextOverflowError):
    """A text that cannot fit, by its bytes alone (`has`, `most`). `prompt_tokens` is the fewest that it can have."""

    code = "context_overflow"

    def __init__(self, size: int, most: int, context: int, longest: int, param: str) -> None:
        sizes: Numbers = {"size": size, "most": most, "context": context, "longest": longest}
        ForedraftError.__init__(self, Reason("prediction_too_long" if param == "prediction" else "prompt_bytes", sizes))
        self.param, self.has, self.most, self.status = param, size, most, 400
        self.prompt_tokens, self.context = -(-size // longest), context


class Reader(Protocol):
    """What reads tokens: an engine, of whatever kind."""

    @property
    def info(self) -> ModelInfo: ...
    @property
    def tokenizer(self) -> Tokenizer: ...


@dataclass(frozen=True, slots=True)
class _Facts:
    longest: int
    """Bytes of the longest token."""
    control: re.Pattern[str] | None
    """Any control token in a text; None where pieces of a text may not be read one by one."""


class BoundedTokenizer:
    """Tokens of texts for loaded models. What must be known of a vocabulary is found out when the first long text
    comes."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Tokenizer, _Facts] = WeakKeyDictionary()

    def encode(self, engine: Reader, text: str, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        """A text as tokens. Raises `PromptTooLongError` for one that cannot fit, before it is read."""
        self.check(engine, n_bytes(text))
        return self.encode_all(engine, text, add_special=add_special, parse_special=parse_special)

    def encode_all(
        self, engine: Reader, text: str, *, add_special: bool = True, parse_special: bool = True
    ) -> list[int]:
        """A text as tokens, whether or not they fit."""
        tokenizer = engine.tokenizer
        if len(text) > SHORT and parse_special and (control := self._facts(tokenizer).control) is not None:
            pieces = _pieces(text, control)
            if len(pieces) > 1:
                return _encode_pieces(tokenizer, pieces, add_special)
        return tokenizer.encode(text, add_special=add_special, parse_special=parse_special)

    def check(self, engine: Reader, size: int, param: str = "messages") -> None:
        """Raises `PromptTooLongError` where a text of so many bytes cannot fit in the model's context."""
        context = engine.info.n_ctx
        if size < min(context, SHORT):  # a token is a byte at least
            return
        longest = self.longest(engine)
        if size > context * longest:
            raise PromptTooLongError(size, context * longest, context, longest, param)

    def longest(self, engine: Reader) -> int:
        """Bytes of the longest token."""
        return self._facts(engine.tokenizer).longest

    def _facts(self, tokenizer: Tokenizer) -> _Facts:
        found = self._known.get(tokenizer)
        if found is None:
            found = self._known[tokenizer] = _facts(tokenizer)
        return found


def n_bytes(text: str) -> int:
    """The length of a text in bytes."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _facts(tokenizer: Tokenizer) -> _Facts:
    longest, control = 1, []
    for token in range(tokenizer.n_vocab):
        if token % 4096 == 0:
            still_wanted()
        text = tokenizer.text(token)
        longest = max(longest, n_bytes(text))
        if _CONTROL.fullmatch(text) and _is_control(tokenizer, token, text):
            control.append(text)
    # Others (WordPiece, Unigram) look at a text as a whole, or end each piece with a token of their own.
    able = tokenizer.kind in ("spm", "bpe", "toy") and not tokenizer.add_eos
    names = sorted(control, key=len, reverse=True)
    return _Facts(longest, re.compile("|".join(map(re.escape, names))) if able and names else None)


def _is_control(tokenizer: Tokenizer, token: int, text: str) -> bool:
    if tokenizer.encode(text, add_special=False, parse_special=True) != [token]:
        return False
    try:
        return tokenizer.encode(text, add_special=False, parse_special=False) != [token]
    except ParameterError:  # a vocabulary that cannot spell it
        return True


def _pieces(text: str, control: re.Pattern[str]) -> list[str]:
    """A text, cut in front of control tokens: there the tokenizer cuts too. Not behind white space, which some control
    tokens take with them."""
    pieces, begin, seen = [], 0, 0
    for found in control.finditer(text):
        seen += 1
        at = found.start()
        if seen > _TOGETHER and not text[at - 1].isspace():
            pieces.append(text[begin:at])
            begin, seen = at, 1
            still_wanted()
    pieces.append(text[begin:])
    return pieces


def _encode_pieces(tokenizer: Tokenizer, pieces: Sequence[str], add_special: bool) -> list[int]:
    tokens: list[int] = []
    for number, piece in enumerate(pieces):
        still_wanted()
        tokens += tokenizer.encode(piece, add_special=add_special and number == 0, parse_special=True)
    return tokens
