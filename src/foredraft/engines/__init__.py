"""Models one can ask: the protocol (`base`), GGUF files (`llamacpp`), any of them in a process of its own
(`isolated`), and an exact toy (`toy`). To add one, write it and add a line to `core/tables.py`."""

from collections.abc import Callable

from foredraft.core import tables
from foredraft.core.registry import Registry
from foredraft.engines.base import Engine

__all__ = ["ENGINES", "Engine"]

ENGINES: Registry[Callable[..., Engine]] = tables.ENGINES
"""How to make an engine, by name; what is heavy is imported with the first one."""
