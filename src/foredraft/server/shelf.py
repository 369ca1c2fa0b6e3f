"""The shelf of GGUF files as the server asks it: names to what is to be loaded, with the settings of each model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foredraft.config.load_settings import LoadSettings
from foredraft.config.settings import Settings
from foredraft.core.errors import ModelNotFoundError
from foredraft.core.params import BUILTIN
from foredraft.models.head_fit import made_for, own_head
from foredraft.models.places import EMBEDDED
from foredraft.models.store import DRAFT_KINDS, ModelStore
from foredraft.runtime.managed_model import LoadSpec

DEFAULT_SLOTS = 4
"""Answers at once, where neither the settings nor the command say otherwise."""
_OF_EMBEDDERS = ("context", "gpu_layers", "threads", "flash_attention", "mmap", "isolation")
"""Settings that mean something to a model that turns texts into vectors."""


class StoreShelf:
    """`ModelStore` and the user's settings."""

    def __init__(self, store: ModelStore, settings: Settings, *, slots: int | None = None) -> None:
        self.store = store
        self._settings = settings
        self._slots = slots
        self._given: dict[str, Path] = {}
        """Files that were given by their path: later they can be asked for by name, as if they were on the shelf."""

    def names(self) -> Sequence[str]:
        """Every model that can write text or make embeddings."""
        able = [model.name for model in self.store.models() if model.usable or model.embeds]
        return list(dict.fromkeys([*able, *self._given]))

    def embedding_names(self) -> Sequence[str]:
        """Those that make embeddings."""
        able = [model.name for model in self.store.models() if model.embeds]
        return list(
            dict.fromkeys([*able, *(name for name, file in self._given.items() if self.store.find(file).embeds)])
        )

    def embedded(self) -> str:
        """The name of the embedded main model; empty where it is missing."""
        own = [model for model in self.store.models() if model.source == EMBEDDED and model.usable]
        return max(own, key=lambda model: model.size_bytes).name if own else ""

    def describe(self, name: str) -> dict[str, Any]:
        """Facts of one model. Raises `ModelNotFoundError`."""
        model = self.store.find(self._given.get(name, name))
        facts = model.facts
        described: dict[str, Any] = {
            "name": model.name,
            "path": str(model.path),
            "source": model.source,
            "publisher": model.publisher,
            "size_bytes": model.size_bytes,
        }
        if facts is not None:
            described |= {
                "architecture": facts.architecture,
                "kind": facts.kind,
                "quantisation": facts.quantisation,
                "quantisation_said": facts.quantisation_said,
                "n_params": facts.n_params,
                "n_ctx_train": facts.n_ctx_train,
                "own_draft": facts.heads.here > 0 and not own_head(facts),
            }
        return described

    def name_of(self, path: str) -> str:
        """The name of a file; empty where it is not on the shelf."""
        if path == BUILTIN:
            return BUILTIN
        given = next((name for name, file in self._given.items() if str(file) == path), "")
        return given or next((model.name for model in self.store.models() if str(model.path) == path), "")

    def drafts(self) -> Sequence[dict[str, Any]]:
        """See `Shelf.drafts`."""
        return [
            {
                **self.describe(model.name),
                "made_for": str(made_for(model.facts)) if model.facts is not None else "",
                "fits": [main.name for main in self.store.mains(model)],
            }
            for model in self.store.models()
            if model.drafts_only
        ]

    def spec(self, name: str, draft: str | None = "auto") -> LoadSpec:
        """How to load a model, with its own settings and those of its draft."""
        if not name:
            raise ModelNotFoundError("", hint="Name a model, or start the server with --model.")
        model = self.store.require(self._given.get(name, name), kinds=("text", "embedding"))
        if all(known.path != model.path for known in self.store.models()):
            self._given[model.name] = model.path
        own, load = self._settings.for_model(model.name), self._settings.load
        said = self._settings.defaults(LoadSettings, model.name)
        settings = {name: value for name, value in said.items() if value is not None}
        settings["isolation"] = self._settings.server.isolation
        if model.embeds:
            settings = {name: settings[name] for name in _OF_EMBEDDERS if name in settings}
            return LoadSpec(str(model.path), draft=None, id=model.name, kind="embedding", settings=settings)
        settings["slots"] = self._slots or (load.slots if load.slots != 1 else DEFAULT_SLOTS)
        wish = own.draft or "auto" if draft == "auto" else draft
        return LoadSpec(str(model.path), draft=self._draft(wish), id=model.name, settings=settings)

    def _draft(self, wish: str | None) -> str | None:
        """The draft as the loader wants it; it finds the best one for "auto" itself."""
        if wish is None or wish in ("", "off"):
            return None
        return "auto" if wish == "auto" else self.draft(wish)

    def draft(self, name: str) -> str:
        """A draft as the loader wants it. Raises what `ModelStore.require` raises."""
        return BUILTIN if name == BUILTIN else str(self.store.require(name, DRAFT_KINDS).path)
