"""The runtime's loader: a spec to a loaded pair, or to an embedding model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import get_type_hints

from pydantic import TypeAdapter, ValidationError

from foredraft.core.errors import ParameterError
from foredraft.pair.embedding import open_queue
from foredraft.pair.llm import LLM
from foredraft.pair.load_settings import LoadSettings
from foredraft.runtime.embedder import Embedder
from foredraft.runtime.managed_model import LoadedModel, LoadSpec, Progress


def load_pair(spec: LoadSpec, progress: Progress) -> LoadedModel | Embedder:
    """Load a main model and its draft from files (`Runtime(load_pair)`), or an embedding model where the spec says that
    it is one."""
    settings = load_settings(dict(spec.settings))
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


def load_settings(given: dict[str, object]) -> LoadSettings:
    """Settings by name; an unknown one is named with those there are."""
    known = {field.name for field in dataclasses.fields(LoadSettings)}
    for name in given:
        if name not in known:
            raise ParameterError(name, given[name], f"left out: the load settings are {', '.join(sorted(known))}")
    types = get_type_hints(LoadSettings)
    for name, value in given.items():
        try:
            TypeAdapter(types[name]).validate_python(value, strict=True)
        except ValidationError as error:
            wanted = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ParameterError(name, value, wanted) from None
    return LoadSettings(**given)  # type: ignore[arg-type]
