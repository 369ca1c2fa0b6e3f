"""A toy model as a file: what `foredraft run -m model.toy` opens."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from foredraft.core.errors import ModelFormatError
from foredraft.core.reasons import Reason
from foredraft.engines.toy.engine import ToyEngine

_DEFAULTS: dict[str, float] = {"seed": 0, "n_vocab": 330, "order": 2, "sharpness": 2.0, "blur": 0.0}


def open_toy(path: Path, context: int | None = None, slots: int = 1, batch: int = 512) -> ToyEngine:
    """The model that a file describes in TOML: `seed`, `n_vocab`, `order` and `sharpness` as `ToyEngine.random` has
    them, `blur` from 0 to 1 for a draft of it. `context` in tokens, shared by all slots; None or 0 is 4096."""
    try:
        said: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        if said.keys() - _DEFAULTS.keys():
            raise ValueError(f"a toy has {', '.join(_DEFAULTS)}")
        given = {name: type(usual)(said.get(name, usual)) for name, usual in _DEFAULTS.items()}
    except (OSError, ValueError, TypeError) as error:
        raise ModelFormatError(
            Reason("toy_unreadable", {"path": str(path), "why": str(error)}), path=str(path)
        ) from None
    blur, seed = given.pop("blur"), int(given.pop("seed"))
    sizes: dict[str, Any] = {"n_ctx": context or 4096, "n_slots": slots, "n_batch": batch}
    engine = ToyEngine.random(seed, name=path.stem, **sizes, **given)  # type: ignore[arg-type]
    if blur:
        engine = engine.blurred(blur, name=path.stem, n_batch=batch)
    engine.info = dataclasses.replace(engine.info, path=str(path), size_bytes=path.stat().st_size)
    return engine
