"""What the figures were measured on: nobody can read a speed without it."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import psutil

from foredraft.engines import processor

_QUIET = 0.5
"""Processes a thread that want to run on a machine that counts as quiet."""


def machine() -> dict[str, Any]:
    """Processor, memory (bytes), system, versions, and how busy it was (load: processes that want a core, on average
    over the last minute; None where the system does not say)."""
    return {
        "processor": processor.name(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "threads": os.cpu_count() or 1,
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "llama_cpp_python": _version("llama-cpp-python"),
        "foredraft": _version("foredraft"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def busy(facts: dict[str, Any]) -> str:
    """A warning where other programs want the machine too, from its facts before the run; "" where it is quiet."""
    load, threads = facts["load"], facts["threads"]
    if load is None or load <= _QUIET * threads:
        return ""
    return (
        f"The machine was busy when this began (load {load:.1f} on {threads} threads): the times are noisy. A quiet "
        "machine is best; --clock cpu helps where there is none."
    )


def in_words(facts: dict[str, Any]) -> str:
    """One line for a person."""
    load = "" if facts["load"] is None else f", load {facts['load']:g}"
    return (
        f"{facts['processor']}, {facts['cores']} cores ({facts['threads']} threads), "
        f"{facts['memory'] / 2**30:.0f} GiB, {facts['system']}{load}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
