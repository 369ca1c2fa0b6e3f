"""The settings of a load as keyword arguments: `LLM.load("model", slots=4, context=8192)`.

The names and defaults are those of `LoadSettings`, but for `controller`, which `LLM.load` takes itself
(`tests/test_llm_keywords.py` compares them).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypedDict

from foredraft.config.load_settings import LoadSettings
from foredraft.pair.keywords import check_names


class LoadKeywords(TypedDict, total=False):
    """Single fields of `LoadSettings`, instead of `settings`'s."""

    context: int | None
    slots: int
    batch: int
    threads: int | None
    draft_threads: int | None
    gpu_layers: int
    draft_gpu_layers: int
    draft_device: str
    kv_type: str
    flash_attention: str
    numerics: str
    mmap: bool
    isolation: str
    promise: str
    fixed_look_ahead: int | None
    guardrail: str
    engine: str
    probe: bool
    remember: bool
    remember_answers: bool


def settings_of(settings: LoadSettings | None, given: Mapping[str, Any]) -> LoadSettings:
    """All settings: `settings`, with the single fields instead of its own. Raises `ParameterError` for names that
    nobody knows, with the nearest, and for values that cannot be."""
    check_names(given, LoadKeywords.__annotations__)
    return dataclasses.replace(settings or LoadSettings(), **given)
