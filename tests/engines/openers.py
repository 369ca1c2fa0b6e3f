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
from foredraft.engines.embedding import EmbeddingEngine
from foredraft.engines.llamacpp import LlamaCppEmbedder, LlamaCppEngine, LoadOptions
from foredraft.engines.rewind import Rewind
from foredraft.engines.toy import RecurrentToy, ToyEngine

FOLDER = "/build/llama.cpp/ggml/src/"
ASSERTION = "ggml.c:1234: GGML_ASSERT(ne > 0) failed"
SECRET = "a prompt that nobody shall see"
DEADLY, ENDLESS = 7, 5
"""Tokens of a pass that ends the process, and of one that only `abort` ends."""


def toy(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """A random toy. `given` are its settings; `pass_s`, what a pass takes at least; `dies`, how its load ends;
    `mortal`: passes of `DEADLY` and `ENDLESS` tokens are what they are called; and `way`, how it goes back."""
    settings = {name: value for name, value in given.items() if name not in ("path", "dies", "mortal", "pass_s")}
    dies, pass_s, mortal = given.get("dies", ""), given.get("pass_s", 0.0), given.get("mortal", False)
    report(0.5)
    if dies == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if dies == "refused":
        raise MemoryLimitError("It does not fit.", path="toy.gguf", needed=5, free=3)
    if dies == "fault":
        raise ValueError("no error of ours")
    way = settings.pop("way", None)
    kind: type[ToyEngine] = ToyEngine if way is None else RecurrentToy
    more = {} if way is None else {"rewind_limit": Rewind(*way)}
    engine = kind.random(settings.pop("seed", 3), **settings, **more)

    def during() -> None:
        count = engine.passes[-1][0][2]
        if mortal and count == DEADLY:
            print(SECRET, file=sys.stderr)
            print(FOLDER + ASSERTION, file=sys.stderr, flush=True)
            os.abort()
        while mortal and count == ENDLESS and not engine._aborted:
            time.sleep(0.001)
        time.sleep(pass_s)

    engine.during = during
    report(1.0)
    return engine


def llamacpp(given: Mapping[str, Any], report: Callable[[float], None]) -> Engine:
    """A GGUF file. `given`: `path`, and fields of `LoadOptions`."""
    options = {name: value for name, value in given.items() if name != "path"}
    return LlamaCppEngine(Path(given["path"]), LoadOptions(**options), progress=report)


def embedder(given: Mapping[str, Any], report: Callable[[float], None]) -> EmbeddingEngine:
    return LlamaCppEmbedder(Path(given["path"]), LoadOptions(n_threads=1), progress=report)
