"""The seam to a loaded embedding model: texts as tokens in, one vector a text out.

Another thing than an `Engine`: nothing is written, nothing is remembered between two passes, and a text is read whole.
One thread calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foredraft.engines.base import ModelInfo, Tokenizer

Vectors = NDArray[np.float32]
"""One row a text, shape (texts, dimensions), each of length 1 (Euclidean), but for texts whose vector is zero."""


class EmbeddingEngine(Protocol):
    """One loaded model. A text's vector does not depend on the texts beside it, but for rounding."""

    @property
    def info(self) -> ModelInfo:
        """`n_ctx` is the longest text, `n_batch` the most tokens of one pass, `n_slots` the most texts."""

    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""

    @property
    def pooling(self) -> str:
        """How the tokens' vectors become the text's: mean, cls (the first token's) or last (the last token's)."""

    def embed(self, texts: Sequence[Sequence[int]]) -> Vectors:
        """Read texts in one pass. Raises `EngineError` for what does not fit into one, ids out of range, and vectors
        that are not numbers."""

    def close(self) -> None:
        """Free the model's memory. Calling it twice does nothing."""
