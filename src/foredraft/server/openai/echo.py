"""A prompt, given back in front of its answer, with the log probabilities of its tokens where they were asked for."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.engines.base import Tokenizer
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.server.openai.convert import TextLogprobs


@dataclass(frozen=True, slots=True)
class Echo:
    """The text of a prompt, and the bytes of its first token."""

    text: str
    first: bytes

    @classmethod
    def of(cls, tokenizer: Tokenizer, prompt: str | Sequence[int], tokens: Sequence[int]) -> Echo:
        """`prompt` as it was asked, and its tokens as they were read. A prompt of tokens is spelt out, control tokens
        by their names."""
        if not isinstance(prompt, str):
            prompt = b"".join(tokenizer.piece(token, special=True) for token in tokens).decode("utf-8", "replace")
        return cls(prompt, tokenizer.piece(tokens[0], special=True))

    def logprobs(self, scored: Sequence[TokenLogprob]) -> dict[str, list[Any]]:
        """The older form of OpenAI's logprobs object for all of the prompt's tokens. Before the first there is nothing,
        so it has none. A token that the tokenizer put in front, and its space, take no room in the text."""
        pieces = [self.first, *(token.chosen.bytes for token in scored)]
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        offsets, length = [], 0
        for piece in pieces:
            offsets.append(length)
            length += len(decoder.decode(piece))
        length += len(decoder.decode(b"", final=True))
        added = length - len(self.text)
        result = TextLogprobs()
        result.first(self.first)
        for token, offset in zip(scored, offsets[1:], strict=True):
            result.add(token, max(0, offset - added))
        return result.as_dict()


NO_ECHO = Echo("", b"")
