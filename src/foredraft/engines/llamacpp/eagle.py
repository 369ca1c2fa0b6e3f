"""EAGLE-3: a draft of one layer that reads what goes into three layers of its main model.

Its encoder makes one row of those three for each token (`LayerRows`, which stands where a main model's hidden rows do),
and its decoder reads pairs of a token and the row before it, as any head does. Recipe: llama.cpp's
`common/speculative.cpp` (draft-eagle3); the paper is arXiv:2503.01840.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foredraft.core.errors import EngineError, IncompatibleDraftError
from foredraft.core.reasons import Reason
from foredraft.engines.base import Hidden
from foredraft.engines.llamacpp.batch import Batch
from foredraft.engines.llamacpp.extended import extended
from foredraft.engines.llamacpp.failures import reason
from foredraft.engines.llamacpp.head import LlamaCppHead, MainModel
from foredraft.engines.llamacpp.hidden import HiddenRows, as_rows
from foredraft.engines.llamacpp.library import library
from foredraft.engines.llamacpp.options import LoadOptions

DEFAULT = 0
"""`LLAMA_CONTEXT_TYPE_DEFAULT`."""


class LlamaCppEagle(LlamaCppHead):
    """A head whose rows come from `source`. Whether its main model gives the inputs of its layers must be known before
    (`models/heads.py`): asked of another architecture, the library ends the process."""

    context_type = DEFAULT

    def __init__(self, main: MainModel, path: Path, options: LoadOptions, layers: Sequence[int]) -> None:
        """`layers`: those whose input it reads, as its header says."""
        if extended().layers_lack:
            why = Reason("no_layer_inputs", {"function": extended().layers_lack})
            raise IncompatibleDraftError(Reason("head_unusable", {"why": why}))
        super().__init__(main, path, options)
        self.source = self._layer_rows = LayerRows(self, main, layers)
        main.readers.append(self._layer_rows)

    def _check_width(self) -> None:
        """What it reads of the main model is made its own width by its encoder."""

    def _looks_into_main(self) -> bool:
        """It may take the main model's embedding, and has a memory of its own."""
        return False

    def encode(self, features: Hidden) -> Hidden:
        """Rows of three layers' inputs, side by side, to rows that the decoder reads; at most a batch of them."""
        n = len(features)
        batch = Batch(self._api, n, n)
        rows = np.ascontiguousarray(features)
        batch.set_rows(rows)
        batch.rows_alone(n, self._lengths[0])  # nothing is remembered, but the library checks that positions go on
        code = self._api.llama_encode(self._ctx, batch.struct)
        if code:
            why = reason(list(library().recent)[-3:])
            raise EngineError(f"{self.info.name} could not encode {n} rows (code {code}). {why}".rstrip())
        return np.array(as_rows(self._more.get_hidden(self._ctx), n, self.width))

    def close(self) -> None:
        rows = getattr(self, "_layer_rows", None)  # of a load that failed there are none
        if rows in self._main.readers:
            rows.stop()
            self._main.readers.remove(rows)
        super().close()


class LayerRows(HiddenRows):
    """What a main model's layers were given in its last pass, encoded by the draft that reads it."""

    def __init__(self, draft: LlamaCppEagle, main: MainModel, layers: Sequence[int]) -> None:
        super().__init__(main.context, main.model)
        self._draft, self._layers = draft, list(layers)
        self._last = int(library().api.llama_model_n_layer(main.model))

    def switch(self, on: bool) -> None:
        for layer in self._layers:
            if layer < self._last:
                self._more.set_layer_input(self._context, layer, on)
            else:  # what comes out of the last layer
                self._more.set_hidden(self._context, on, False)

    def stop(self) -> None:
        """Whoever reads them has gone."""
        while self._readers:
            self.offer(False)

    def view(self, total: int) -> Hidden:
        parts: list[Any] = []
        for layer in self._layers:
            last = layer >= self._last
            pointer = self._more.get_hidden(self._context) if last else self._more.get_layer_input(self._context, layer)
            parts.append(as_rows(pointer, total, self.width))
        return np.concatenate(parts, axis=1)

    @property
    def hidden(self) -> list[Hidden]:
        """See `OffersHidden`: encoded when they are asked for, so that a draft that fails ends no pass."""
        features = self.rows()
        if not features:
            return []
        together = np.concatenate(features)
        most = min(self._draft.options.n_ubatch, self._draft.info.n_batch)
        encoded = [self._draft.encode(together[at : at + most]) for at in range(0, len(together), most)]
        return np.split(np.concatenate(encoded), np.cumsum([len(rows) for rows in features])[:-1])

    def offer_hidden(self, on: bool) -> None:
        """See `OffersHidden`."""
        self.offer(on)
