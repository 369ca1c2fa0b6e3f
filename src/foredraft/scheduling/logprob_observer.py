"""Observer of rounds that writes log probabilities to the pieces of an answer."""

from __future__ import annotations

from foredraft.engines.base import Tokenizer
from foredraft.sampling.sampler import Laws
from foredraft.scheduling.logprobs import TokenLogprob
from foredraft.scheduling.stream import TextStream
from foredraft.speculative.proposal import Proposal, Verification


class LogprobObserver:
    """Writes log probabilities to the pieces of each round, while its rows of logits are alive."""

    def __init__(self, tokenizer: Tokenizer, stream: TextStream, top: int) -> None:
        self._tokenizer = tokenizer
        self._stream = stream
        self._top = top

    def __call__(self, laws: Laws, proposal: Proposal, verdict: Verification, emitted: list[int]) -> None:
        pieces = self._stream.unlabelled()
        for i, (row, token) in enumerate(zip(laws.rows, emitted, strict=False)):
            scored = TokenLogprob.of(self._tokenizer, row, token, self._top, laws.position + i)
            if i < len(pieces):
                pieces[i].logprob = scored
            else:
                self._stream.end_logprob = scored
