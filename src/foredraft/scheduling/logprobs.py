"""Log probabilities of the emitted tokens, and of those that were nearly emitted.

They are those of the model itself, ln softmax of its logits before bias, penalties and temperature: the same with and
without a draft, because row i of a verify pass is the row that plain decoding would have had there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foredraft.engines.base import Tokenizer
from foredraft.sampling.sampler import Laws
from foredraft.scheduling.stream import TextStream
from foredraft.speculative.proposal import Proposal, Verification


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have come, its bytes and ln of its probability."""

    token: int
    bytes: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """What `Piece.extra` carries when log probabilities were asked for; `top` by falling probability."""

    chosen: Alternative
    top: tuple[Alternative, ...]


class LogprobObserver:
    """Writes log probabilities to the pieces of each round, while its rows of logits are alive."""

    def __init__(self, tokenizer: Tokenizer, stream: TextStream, top: int) -> None:
        self._tokenizer = tokenizer
        self._stream = stream
        self._top = top

    def __call__(self, laws: Laws, proposal: Proposal, verdict: Verification, emitted: list[int]) -> None:
        for row, piece in zip(laws.rows, self._stream.unlabelled(), strict=False):
            logits = row.astype(np.float64)
            top = logits.max()
            logits -= top + np.log(np.exp(logits - top).sum())
            best: list[int] = []
            if self._top:
                k = min(self._top, len(logits))
                found = np.argpartition(-logits, k - 1)[:k]
                best = [int(i) for i in found[np.lexsort((found, -logits[found]))]]
            piece.extra = TokenLogprob(
                self._alternative(piece.token, float(logits[piece.token])),
                tuple(self._alternative(token, float(logits[token])) for token in best),
            )

    def _alternative(self, token: int, logprob: float) -> Alternative:
        return Alternative(token, self._tokenizer.piece(token, special=True), max(logprob, -9999.0))
