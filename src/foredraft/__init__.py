"""Foredraft: lossless speculative decoding for language models on your own machine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foredraft.config.load_settings import LoadSettings
    from foredraft.core.errors import ForedraftError
    from foredraft.core.params import Request, SamplingParams, SpeculationParams
    from foredraft.pair.async_llm import AsyncLLM
    from foredraft.pair.async_stream import AsyncAnswerStream
    from foredraft.pair.batch import BatchError
    from foredraft.pair.embedding import Embedder
    from foredraft.pair.keywords import AnswerKeywords, ChatKeywords, RequestKeywords
    from foredraft.pair.llm import LLM
    from foredraft.pair.results import Answer, ToolCall
    from foredraft.pair.stream import AnswerStream
    from foredraft.pair.structure import StructureError
    from foredraft.pair.verification import verify
    from foredraft.scheduling.request import Generation
    from foredraft.scheduling.stream import Piece

__all__ = [
    "LLM",
    "Answer",
    "AnswerKeywords",
    "AnswerStream",
    "AsyncAnswerStream",
    "AsyncLLM",
    "BatchError",
    "ChatKeywords",
    "Embedder",
    "ForedraftError",
    "Generation",
    "LoadSettings",
    "Piece",
    "Request",
    "RequestKeywords",
    "SamplingParams",
    "SpeculationParams",
    "StructureError",
    "ToolCall",
    "verify",
]
__version__ = "0.1.0"

_HOMES = {
    "LLM": "foredraft.pair.llm",
    "Answer": "foredraft.pair.results",
    "AnswerKeywords": "foredraft.pair.keywords",
    "AnswerStream": "foredraft.pair.stream",
    "AsyncAnswerStream": "foredraft.pair.async_stream",
    "AsyncLLM": "foredraft.pair.async_llm",
    "BatchError": "foredraft.pair.batch",
    "ChatKeywords": "foredraft.pair.keywords",
    "Embedder": "foredraft.pair.embedding",
    "ForedraftError": "foredraft.core.errors",
    "Generation": "foredraft.scheduling.request",
    "LoadSettings": "foredraft.config.load_settings",
    "Piece": "foredraft.scheduling.stream",
    "Request": "foredraft.core.params",
    "RequestKeywords": "foredraft.pair.keywords",
    "SamplingParams": "foredraft.core.params",
    "SpeculationParams": "foredraft.core.params",
    "StructureError": "foredraft.pair.structure",
    "ToolCall": "foredraft.pair.results",
    "verify": "foredraft.pair.verification",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first asked for, so that `foredraft ls` does not pay for the engine."""
    if name not in _HOMES:
        raise AttributeError(f"module 'foredraft' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """With the names that have not been imported yet: consoles and notebooks complete them."""
    return sorted({*globals(), *__all__})
