"""Each loaded model's vocabulary as grammars read it."""

from __future__ import annotations

import asyncio
from functools import partial
from weakref import WeakKeyDictionary

from foredraft.engines.base import Tokenizer
from foredraft.grammars.constraints import GrammarVocabulary
from foredraft.runtime.managed_model import LoadedModel
from foredraft.runtime.runtime import Runtime
from foredraft.server.pools import Pool

_SLICE = 4096
"""Pieces read between two passes of the model thread, so that running answers do not wait for all of them."""


class Vocabularies:
    """Made when a model is first asked for a grammar, kept while it is loaded."""

    def __init__(self, runtime: Runtime, pool: Pool) -> None:
        self._runtime = runtime
        self._pool = pool
        self._made: WeakKeyDictionary[LoadedModel, GrammarVocabulary] = WeakKeyDictionary()
        self._lock = asyncio.Lock()

    async def of(self, model_id: str, model: LoadedModel) -> GrammarVocabulary:
        async with self._lock:
            made = self._made.get(model)
            if made is None:
                tokenizer = model.engine.tokenizer
                pieces: list[bytes] = []
                while len(pieces) < tokenizer.n_vocab:
                    last = min(len(pieces) + _SLICE, tokenizer.n_vocab)
                    wanted = range(len(pieces), last)
                    pieces += await self._runtime.call(model_id, partial(_pieces, tokenizer, wanted))
                made = await self._pool.run(GrammarVocabulary, pieces, tokenizer.eog, tokenizer)
                self._made[model] = made
            return made


def _pieces(tokenizer: Tokenizer, tokens: range, _: object) -> list[bytes]:
    return [tokenizer.piece(token) for token in tokens]
