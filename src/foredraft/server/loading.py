"""The runtime's loader: a spec to a loaded pair, or to an embedding model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from foredraft.config.load_settings import LoadSettings
from foredraft.core.declared import declared
from foredraft.core.errors import ParameterError
from foredraft.pair.embedding import open_queue
from foredraft.pair.llm import LLM
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.managed_model import LoadedModel, LoadSpec, Progress


def load_pair(spec: LoadSpec, progress: Progress) -> LoadedModel | Embedder:
    """Load a main model and its draft from files (`Runtime(load_pair)`), or an embedding model where the spec says that
    it is one."""
    settings = load_settings(spec.settings)
    if spec.kind == "embedding":
        return open_queue(Path(spec.model), settings, progress)
    return LLM.load(
        spec.model or None,
        spec.draft,
        settings=settings,
        draft_required=spec.draft_required,
        force=spec.force,
        progress=progress,
        download=False,
    )


def load_settings(given: Mapping[str, object]) -> LoadSettings:
    """Settings by name; an unknown or a wrong one is named as it was given."""
    known = declared(LoadSettings)
    for name, value in given.items():
        one = known.get(_NAMES.get(name, name))
        if one is None:
            allowed = ", ".join(sorted(known))
            raise ParameterError(name, value, f"left out: the load settings are {allowed}")
        try:
            one.check(value)
        except ParameterError as error:
            raise ParameterError(name, value, error.allowed) from None
    return LoadSettings(**settings_by_name(given))  # type: ignore[arg-type]


def settings_by_name(given: Mapping[str, object]) -> dict[str, object]:
    """Settings by their own names, where others were used."""
    return {_NAMES.get(name, name): value for name, value in given.items()}


_NAMES = {alias: one.name for one in declared(LoadSettings).values() for alias in one.param.aliases}
