"""GGUF embedding models through llama.cpp: one sequence a text, pooled by the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foredraft.core.errors import ClosedError, EngineError, UnsupportedModelError
from foredraft.core.reasons import Reason
from foredraft.engines.base import Chunk, ModelInfo
from foredraft.engines.embedding import Vectors
from foredraft.engines.llamacpp.amx import tiles_work
from foredraft.engines.llamacpp.batch import Batch
from foredraft.engines.llamacpp.failures import load_error, reason
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.loading import describe, metadata, open_model
from foredraft.engines.llamacpp.options import LoadOptions
from foredraft.engines.llamacpp.safe_load import require_survival
from foredraft.engines.llamacpp.tokenizer import LlamaTokenizer
from foredraft.engines.processor import cores

DEFAULT_CONTEXT = 2048
"""Longest text when nothing is asked for. A text is read in one piece, whose scratch memory grows with its length."""
TEXTS = 64
"""Most texts in one pass."""


class LlamaCppEmbedder:
    """One loaded embedding model; `EmbeddingEngine` is its contract."""

    def __init__(
        self,
        path: str | Path,
        options: LoadOptions | None = None,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model. Of the options, those about the batch, the slots and the KV cache do not apply. `progress` is
        called with the share read so far, 0 to 1.

        Raises a `ModelError`: not found, not GGUF or damaged, no embedding model, too little memory.
        """
        options = options or LoadOptions()
        self.notes: list[Reason] = []
        """What the load decided on its own, in words for the user."""
        self._model: Any = None
        self._ctx: Any = None
        self._api = api = library().api
        path = Path(path)
        try:
            require_survival(path)
            self._model = open_model(path, options, progress=progress)
            if not tiles_work():
                self.notes.append(Reason("tiles_unused"))
            self.pooling = self._pooling(path)
            self.tokenizer = LlamaTokenizer(api.llama_model_get_vocab(self._model), path=str(path))
            n_ctx = self._longest(options)
            options = dataclasses.replace(options, n_ctx=n_ctx, n_batch=n_ctx, n_slots=TEXTS)
            self.info: ModelInfo = describe(path, self._model, options, n_ctx)
            self._open_context(path, options)
            self.dimensions: int = api.llama_model_n_embd_out(self._model)
            self._batch = Batch(api, n_ctx, n_ctx)
            # Encoders keep nothing; decoders that were trained to embed read through a KV cache.
            self._memory = api.llama_get_memory(self._ctx)
            self._read = api.llama_decode if self._memory else api.llama_encode
        except BaseException:
            self.close()
            raise

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """See `EmbeddingEngine.embed`."""
        if not texts:
            return np.empty((0, self.dimensions), dtype=np.float32)
        if not self._ctx:
            raise ClosedError(self.info.name)
        if len(texts) > self.info.n_slots:
            raise EngineError(f"{len(texts)} texts are more than the {self.info.n_slots} of one pass.")
        if not all(texts) or sum(map(len, texts)) > self.info.n_batch:
            raise EngineError(f"A pass takes texts of 1 to {self.info.n_batch} tokens together.")
        if not all(0 <= min(text) <= max(text) < self.info.n_vocab for text in texts):
            raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.")
        n = 0
        for slot, text in enumerate(texts):
            n = self._batch.put(n, Chunk(slot, 0, text, want=len(text)))
        self._batch.struct.n_tokens = n
        if self._memory:
            self._api.llama_memory_clear(self._memory, True)
        code = self._read(self._ctx, self._batch.struct)
        if code:
            why = reason(list(library().recent)[-3:])
            raise EngineError(f"{self.info.name} could not read {n} tokens (code {code}). {why}".rstrip())
        vectors = np.empty((len(texts), self.dimensions), dtype=np.float32)
        for slot in range(len(texts)):
            row = self._api.llama_get_embeddings_seq(self._ctx, slot)
            if not row:
                raise EngineError(f"{self.info.name} gave no vector.")
            vectors[slot] = np.ctypeslib.as_array(row, (self.dimensions,))
        if not np.isfinite(vectors).all():
            raise EngineError(f"The vectors of {self.info.name} are not numbers; the file may be damaged.")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def close(self) -> None:
        if hasattr(self, "tokenizer"):  # of a load that failed early there is none
            self.tokenizer.close()
        if self._ctx:
            self._api.llama_free(self._ctx)
        if self._model:
            self._api.llama_model_free(self._model)
        self._ctx = self._model = None

    def _pooling(self, path: Path) -> str:
        """What the file says about pooling; mean where an encoder says nothing."""
        api, meta = self._api, metadata(self._model)
        architecture = meta.get("general.architecture", "")
        stated = meta.get(f"{architecture}.pooling_type", "")
        known = {"1": "mean", "2": "cls", "3": "last"}
        encoder = (
            not api.llama_model_has_decoder(self._model)
            or meta.get(f"{architecture}.attention.causal", "true") == "false"
        )
        if stated in known:
            return known[stated]
        if stated == "4":
            kind = "reranker"
        elif not encoder:
            kind = "writes"
        else:
            self.notes.append(Reason("pooling_mean"))
            return "mean"
        raise UnsupportedModelError(
            Reason("is_of_kind", {"path": str(path), "kind": Reason(f"is_{kind}"), "architecture": architecture}),
            path=str(path),
            hint=Reason("hint_embedding_model"),
        )

    def _longest(self, options: LoadOptions) -> int:
        trained: int = self._api.llama_model_n_ctx_train(self._model)  # beyond it some have no positions
        longest = min(options.n_ctx or DEFAULT_CONTEXT, trained or DEFAULT_CONTEXT)
        if not options.n_ctx and trained > longest:
            self.notes.append(Reason("texts_longest", {"n": longest, "trained": trained}))
        return longest

    def _open_context(self, path: Path, options: LoadOptions) -> None:
        api = self._api
        params = api.llama_context_default_params()
        # A text must lie in one piece: the batch, its physical part and the context are all as long as the longest.
        params.n_ctx = params.n_batch = params.n_ubatch = self.info.n_ctx
        params.n_seq_max = self.info.n_slots
        params.kv_unified = True
        params.embeddings = True
        params.pooling_type = {"mean": 1, "cls": 2, "last": 3}[self.pooling]
        params.n_threads = params.n_threads_batch = options.n_threads_batch or options.n_threads or cores()
        params.flash_attn_type = {
            "auto": api.LLAMA_FLASH_ATTN_TYPE_AUTO,
            "on": api.LLAMA_FLASH_ATTN_TYPE_ENABLED,
            "off": api.LLAMA_FLASH_ATTN_TYPE_DISABLED,
        }[options.flash_attention]
        with library().record() as lines:
            self._ctx = api.llama_init_from_model(self._model, params)
        if not self._ctx:
            raise load_error(path, lines)
