"""Embedder: a model that turns texts into vectors.

>>> from foredraft import Embedder
>>> with Embedder.load("nomic-ai/nomic-embed-text-v1.5-GGUF:Q8_0") as embedder:  # doctest: +SKIP
...     vectors = embedder.embed(["a cat", "a kitten", "a lorry"])               # (3, dimensions), each of length 1
...     print(vectors @ vectors[0])                                              # how alike they are to the first
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self, Unpack

from foredraft.config.load_settings import LoadSettings
from foredraft.core.errors import ClosedError
from foredraft.core.reasons import Reason
from foredraft.engines.base import ModelInfo
from foredraft.engines.embedding import EmbeddingEngine, Vectors
from foredraft.pair.fetching import embedding_file
from foredraft.pair.files import SMALL_MODEL_BYTES
from foredraft.pair.load_keywords import LoadKeywords, settings_of
from foredraft.pair.opening import isolation, open_embedder
from foredraft.pair.stream import Progress
from foredraft.runtime.embedder import Embedder as Queue
from foredraft.runtime.embedder import Embeddings


class Embedder:
    """A loaded embedding model. Several threads may use it: they take turns, a pass each."""

    def __init__(self, engine: EmbeddingEngine, notes: Sequence[Reason] = ()) -> None:
        """From parts, for tests and experiments; `load` is the usual way."""
        self._queue = Queue(engine, notes)
        self._turn = threading.Lock()
        self._closed = False

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        settings: LoadSettings | None = None,
        download: bool = True,
        progress: Progress | None = None,
        **fields: Unpack[LoadKeywords],
    ) -> Embedder:
        """Load an embedding model from a GGUF file: a path, a name on the shelf, or a repository of the hub, as with
        `LLM.load`. Of the settings those about context, threads, GPU and memory count. Raises what `LLM.load` raises,
        and `UnsupportedModelError` for a model that writes text."""
        path = embedding_file(model, download=download, progress=progress)
        queue = open_queue(path, settings_of(settings, fields), progress)
        return cls(queue.engine, queue.notes)

    def embed(self, texts: str | Sequence[str] | Sequence[Sequence[int]]) -> Vectors:
        """The vector of a text, shape (dimensions,), or those of several, shape (texts, dimensions), in their order;
        each has length 1, so that `@` gives the cosine. Raises `TextTooLongError` or `ParameterError`, which name the
        text by its number, and `ClosedError`."""
        if isinstance(texts, str):
            vector: Vectors = self._embedded([texts]).vectors[0]
            return vector
        return self._embedded(list(texts)).vectors

    def tokenize(self, text: str) -> list[int]:
        """A text's tokens as the model reads it, its marks at both ends included."""
        self._require_open()
        return self._queue.engine.tokenizer.encode(text, parse_special=False)

    def count(self, text: str) -> int:
        """How many tokens a text has; at most `info.n_ctx` can be read."""
        return len(self.tokenize(text))

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return self._queue.engine.dimensions

    @property
    def info(self) -> ModelInfo:
        return self._queue.info

    @property
    def notes(self) -> list[Reason]:
        """What the load decided on its own."""
        return self._queue.notes

    def close(self) -> None:
        """Free the model. Whatever is asked afterwards raises `ClosedError`; closing again does nothing."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._queue.fail_all(ClosedError(self.info.name))
                self._queue.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{self.dimensions} dimensions, texts of up to {self.info.n_ctx:,} tokens"
        return f"Embedder({self.info.name} {self.info.quantisation}, {state})"

    def _embedded(self, texts: Sequence[str | Sequence[int]]) -> Embeddings:
        self._require_open()
        tokens, future = self._queue.read(texts), Future[Embeddings]()
        with self._turn:
            self._require_open()
            self._queue.submit(tokens, future)
        try:
            while not future.done():
                with self._turn:
                    if not future.done():
                        self._queue.step(_nobody_listens)
            return future.result()
        finally:
            future.cancel()  # whoever was interrupted wants them no more

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(self.info.name)


def open_queue(path: Path, settings: LoadSettings, progress: Progress | None) -> Queue:
    """An embedding model with its queue, as a model thread steps it."""
    from foredraft.engines.llamacpp import LoadOptions
    from foredraft.models.facts import read_facts

    facts = read_facts(path)  # refuses damaged headers with a typed error; some would end the process in the library
    options = LoadOptions(
        n_ctx=settings.context,
        n_threads=1 if settings.threads is None and facts.size_bytes < SMALL_MODEL_BYTES else settings.threads,
        gpu_layers=settings.gpu_layers,
        flash_attention=settings.flash_attention,
        use_mmap=settings.mmap,
    )
    where = isolation(path, options, settings.isolation)
    told = None if progress is None else (lambda share: progress("main", share))
    engine = open_embedder(path, options, where=where, progress=told)
    return Queue(engine, engine.notes, place_reason=where.reason)


def _nobody_listens(_: object) -> None:
    """Whoever waits has the future."""
