"""Models one can ask: the protocol (`base`), GGUF files (`llamacpp`), any of them in a process of its own
(`isolated`), and an exact toy (`toy`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foredraft.engines.base import Engine


def _llamacpp(*args: object, **settings: object) -> Engine:
    from foredraft.engines.llamacpp import LlamaCppEngine  # late: it brings llama.cpp's shared library

    return LlamaCppEngine(*args, **settings)  # type: ignore[arg-type]


def _toy(seed: int = 0, **settings: object) -> Engine:
    from foredraft.engines.toy import ToyEngine

    return ToyEngine.random(seed, **settings)  # type: ignore[arg-type]


def _isolated(opener: str, arguments: Mapping[str, Any], **settings: object) -> Engine:
    from foredraft.engines.isolated import IsolatedEngine

    return IsolatedEngine(opener, arguments, **settings)  # type: ignore[arg-type]


ENGINES: dict[str, Callable[..., Engine]] = {"isolated": _isolated, "llamacpp": _llamacpp, "toy": _toy}
"""How to make an engine, by name."""
