"""What the numerics probe found, kept between starts: nothing is measured twice.

A probe takes a second or two of a load. What it found holds for a file, a machine, a build of llama.cpp and the
settings that choose its kernels; it is kept under all of these, in the user's cache folder. Where a slow model left the
probe no time for everything, the next load goes on where the last one stopped.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

from foredraft.engines.base import Engine, Numerics
from foredraft.speculative.controllers import disk
from foredraft.tuning import identity, library_version, machine

FORMAT = 1
"""Of the probe: another one finds other things."""
_KIND = "numerics"


class Probed(Engine, Protocol):
    """An engine that can measure itself."""

    def probe(self, known: Numerics | None = None) -> Numerics: ...


def measure(engine: Probed, settings: dict[str, str | int | None], folder: Path | None, notes: list[str]) -> Numerics:
    """The engine's numerics: as kept in `folder`, completed and kept where something was lacking.

    `settings` are those that choose kernels (threads, KV type, GPU layers …). `folder` None keeps nothing. Raises
    `NonFiniteLogitsError` when the model computes NaN.
    """
    key: disk.Key = {
        **settings,
        "main": identity(engine),
        "machine": machine(),
        "library": library_version(),
        "context": engine.info.n_ctx,
        "probe": FORMAT,
    }
    stored = disk.read(folder, _KIND, key, notes)
    known = None if stored is None else _from_json(stored, notes)
    found = engine.probe(known)
    if found != known:
        disk.write(folder, _KIND, key, _to_json(found), notes)
    return found


def _to_json(found: Numerics) -> dict[str, Any]:
    return {
        "by_batch": {str(size): difference for size, difference in found.by_batch.items()},
        "argmax_flips": found.argmax_flips,
        "positions": found.positions,
        "context": found.context,
        "beside": found.beside,
        "ordered": found.ordered,
    }


def _from_json(stored: dict[str, Any], notes: list[str]) -> Numerics | None:
    try:
        by_batch = {int(size): _difference(value) for size, value in stored["by_batch"].items()}
        beside = None if stored["beside"] is None else _difference(stored["beside"])
        flips, positions, context = (int(stored[name]) for name in ("argmax_flips", "positions", "context"))
    except (KeyError, TypeError, ValueError, AttributeError):
        notes.append("The stored numerics are damaged and are measured anew.")
        return None
    worst = max(by_batch.values(), default=0.0)
    return Numerics(worst, by_batch, flips, positions, context, beside, stored.get("ordered") is True)


def _difference(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number >= 0.0):
        raise ValueError(value)
    return number
