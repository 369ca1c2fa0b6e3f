"""Try a file of unknown origin in a process of its own.

A damaged header can trip an assertion inside llama.cpp, which ends the process; about one in a hundred randomly damaged
headers does. Whoever brings a new file to the shelf can find out here first, at the price of one load.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from foredraft.core.errors import ForedraftError, ModelFormatError
from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp.engine import LlamaCppEngine
from foredraft.engines.llamacpp.options import LoadOptions

_REFUSED = 3


def survives(path: str | Path, *, environment: Mapping[str, str] | None = None, timeout_s: float = 300.0) -> bool:
    """Load the file elsewhere and read two tokens in one pass.

    False if it was refused with an ordinary error, which a load here will raise as well. Raises `ModelFormatError` if
    the file ended that process, or hung it for `timeout_s` seconds. `environment` is set there beside what is set here.
    """
    command = [sys.executable, "-m", "foredraft.engines.llamacpp.trial", os.fspath(path)]
    # without the first, llama.cpp calls a debugger when it fails
    environment = {**os.environ, "GGML_NO_BACKTRACE": "1", **(environment or {})}
    try:
        code = subprocess.run(command, env=environment, capture_output=True, timeout=timeout_s, check=False).returncode  # noqa: S603
    except subprocess.TimeoutExpired:
        code = -1
    if code not in (0, _REFUSED):
        raise ModelFormatError(
            f"{path} is damaged: loading it ends the program.", path=str(path), hint="Download the file again."
        )
    return code == 0


def main(path: str) -> int:
    try:
        engine = LlamaCppEngine(path, LoadOptions(n_ctx=64, n_threads=1, probe=False))
        engine.forward([Chunk(0, 0, [0, 0], want=2)])
    except ForedraftError:
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
