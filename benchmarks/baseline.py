"""The bare loop: `llama_decode`, the largest logit, again. What plain decoding through the whole stack is held to."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foredraft.core.errors import EngineError
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import describe, open_context, open_model
from foredraft.engines.llamacpp.options import LoadOptions


@dataclass(slots=True)
class Timed:
    """A greedy answer and the seconds that each of its tokens took (the first includes no prompt)."""

    tokens: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


class BareLoop:
    """One model and nothing around it. Keep it between runs, so that loading is not measured."""

    def __init__(self, path: str | Path, options: LoadOptions | None = None) -> None:
        options = options or LoadOptions()
        self._api = api = library().api
        self._model = open_model(Path(path), options)
        n_ctx = options.n_ctx or min(api.llama_model_n_ctx_train(self._model), 4096)
        self._info = describe(Path(path), self._model, options, n_ctx)
        self._ctx = open_context(Path(path), self._model, self._info, options)

    def run(self, prompt: Sequence[int], n: int, clock: Callable[[], float] = time.perf_counter) -> Timed:
        """Read the prompt, then write `n` tokens greedily, end of generation or not."""
        api, ctx, n_vocab = self._api, self._ctx, self._info.n_vocab
        api.llama_memory_clear(api.llama_get_memory(ctx), False)
        result = Timed()
        for first in range(0, len(prompt), self._info.n_batch):
            part = prompt[first : first + self._info.n_batch]
            self._decode((api.llama_token * len(part))(*part), len(part))
        one = (api.llama_token * 1)()
        for _ in range(n):
            started = clock()
            row = np.ctypeslib.as_array(api.llama_get_logits_ith(ctx, -1), shape=(n_vocab,))
            one[0] = token = int(row.argmax())
            self._decode(one, 1)
            result.seconds.append(clock() - started)
            result.tokens.append(token)
        return result

    def close(self) -> None:
        if self._ctx:
            self._api.llama_free(self._ctx)
            self._api.llama_model_free(self._model)
        self._ctx = self._model = None

    def _decode(self, tokens: ctypes.Array[ctypes.c_int32], count: int) -> None:
        code = self._api.llama_decode(self._ctx, self._api.llama_batch_get_one(tokens, count))
        if code:
            raise EngineError(f"llama_decode returned {code}.")


def bare_loop(path: str | Path, prompt: Sequence[int], n: int, options: LoadOptions | None = None) -> Timed:
    """Load, run once, close."""
    loop = BareLoop(path, options)
    try:
        return loop.run(prompt, n)
    finally:
        loop.close()
