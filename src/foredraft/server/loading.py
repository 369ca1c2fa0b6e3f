"""The runtime's loader: a spec to a loaded pair."""

from __future__ import annotations

import dataclasses

from foredraft.core.errors import ParameterError
from foredraft.llm import LLM, LoadSettings
from foredraft.scheduling.hosted import LoadedModel, LoadSpec, Progress


def load_pair(spec: LoadSpec, progress: Progress) -> LoadedModel:
    """Load a main model and its draft from files (`Runtime(load_pair)`)."""
    return LLM.load(
        spec.model or None,
        spec.draft,
        settings=load_settings(dict(spec.settings)),
        draft_required=spec.draft_required,
        force=spec.force,
        progress=progress,
    )


def load_settings(given: dict[str, object]) -> LoadSettings:
    """Settings by name; an unknown one is named with those there are."""
    known = {field.name for field in dataclasses.fields(LoadSettings)}
    for name in given:
        if name not in known:
            raise ParameterError(name, given[name], f"left out: the load settings are {', '.join(sorted(known))}")
    return LoadSettings(**given)  # type: ignore[arg-type]
