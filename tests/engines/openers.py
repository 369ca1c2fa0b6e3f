"""What the processes of the tests load: a toy, with ways to end its process, and small files."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foredraft.core.errors import MemoryLimitError
from foredraft.engines.base import Engine
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.engines.toy import ToyEngine

ASSERTION = "/build/llama.cpp/ggml/src/ggml.c:1234: GGML_ASSERT(ne > 0) failed"


def toy(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """A random toy. `given` are its settings, and how it ends: `dies_at` (pass number: "abort", "hang")."""
    settings = {name: value for name, value in given.items() if name not in ("path", "dies")}
    report(0.5)
    engine = ToyEngine.random(settings.pop("seed", 3), **settings)
    dies = given.get("dies", "")
    if dies == "loading":
        os.kill(os.getpid(), signal.SIGKILL)
    if dies == "refused":
        raise MemoryLimitError("It does not fit.", path="toy.gguf", needed=5, free=3)
    if dies == "fault":
        raise ValueError("no ForedraftError")

    def during() -> None:
        if dies == "abort" and engine.passes[-1][0][2] == 7:  # a pass of seven tokens is its end
            print("a prompt that nobody shall see", file=sys.stderr)
            print(ASSERTION, file=sys.stderr, flush=True)
            os.abort()
        if dies == "slow":
            until = time.monotonic() + 30.0
            while time.monotonic() < until and not engine._aborted:
                time.sleep(0.002)

    engine.during = during
    report(1.0)
    return engine


def llamacpp(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """A GGUF file. `given`: `path`, and fields of `LoadOptions`."""
    options = {name: value for name, value in given.items() if name != "path"}
    return LlamaCppEngine(Path(given["path"]), LoadOptions(**options), progress=report)
