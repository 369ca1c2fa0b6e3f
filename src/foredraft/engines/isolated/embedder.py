"""An embedding engine that lies in another process, as the rest of the program sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from foredraft.core.errors import EngineError
from foredraft.engines.base import Chunk, ModelInfo
from foredraft.engines.embedding import Vectors
from foredraft.engines.isolated import wire
from foredraft.engines.isolated.process import Isolated, ModelProcess
from foredraft.engines.isolated.tokenizer import IsolatedTokenizer
from foredraft.engines.isolated.wire import Kind


class IsolatedEmbedder(Isolated):
    """`EmbeddingEngine` is its contract. Whatever is asked after its process has ended raises `EngineDiedError`."""

    def __init__(
        self, opener: str, arguments: Mapping[str, Any], *, progress: Callable[[float], None] | None = None
    ) -> None:
        """`opener` and `arguments`: see `ModelProcess`. Raises what the load raises, and `EngineDiedError`."""
        self._process = ModelProcess(opener, arguments, progress=progress)
        facts = self._process.facts
        self.info: ModelInfo = wire.info_from_json(facts["info"])
        self.tokenizer = IsolatedTokenizer(self._process, facts["tokenizer"])
        self.dimensions: int = facts["dimensions"]
        self.pooling: str = facts["pooling"]
        self.notes = wire.reasons_from_json(facts["notes"])
        self._rows: Vectors = self._process.rows(self.dimensions)[0]

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """See `EmbeddingEngine.embed`."""
        try:
            body = wire.chunks_to_bytes([Chunk(slot, 0, text) for slot, text in enumerate(texts)])
        except OverflowError:
            raise EngineError(f"A token id is outside the vocabulary of {self.info.n_vocab} tokens.") from None
        said = self._process.ask(Kind.EMBED, body)
        if said.kind is Kind.FAILED:
            raise wire.error_from_json(wire.from_json(said.body))
        return self._rows[: len(texts)].copy()

    def close(self) -> None:
        self._process.close()
