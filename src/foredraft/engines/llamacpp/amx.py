"""Can this build of llama.cpp use the processor's matrix tiles (AMX) without ending the process?

GCC before 12.4 and 13.3 drops most of the tile configuration as dead stores (GCC PR 114098; llama.cpp #20824, #26954):
such a build dies at the first pass of two tokens on every processor that has tiles. `make setup` compiles around it
(`-fno-dse`), but pip alone does not, and its cache may hold an older build. So where tiles would be used, one pass is
tried in a process of its own, once for each build; a build that fails is used without them.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from foredraft.config.folders import cache_folder
from foredraft.core.errors import ModelError
from foredraft.demo import draft_path
from foredraft.engines.llamacpp.library import build_mark, library
from foredraft.engines.llamacpp.trial_process import DeadlyFileError, ends_well

TRIED = "FOREDRAFT_TILES_UNTRIED"
"""Set in a process that tries something: 1 lets it use tiles, 0 does not. It asks nobody: under its limits of memory
the answer would be another one."""


@functools.cache
def tiles_work() -> bool:
    """True where tiles may be used, or where this build would not use any. The first call for a build that would takes
    about a second; what it found is kept in the cache folder."""
    if b"AMX_INT8 = 1" not in library().api.llama_print_system_info():
        return True
    if told := os.environ.get(TRIED):
        return told == "1"
    found = _place()
    try:
        return found.read_text(encoding="utf-8") == "work"
    except OSError:
        works = _try()
    if works is None:
        return False  # the trial was ended, or the machine was too busy: it is tried again at the next start
    try:
        found.parent.mkdir(parents=True, exist_ok=True)
        found.write_text("work" if works else "fail", encoding="utf-8")
    except OSError:
        pass  # it is tried again at the next start
    return works


def _try() -> bool | None:
    """Whether a pass with tiles ends well; None where the trial did not come to an end of its own."""
    try:
        return ends_well(draft_path(), {TRIED: "1"}, timeout_s=120.0)
    except DeadlyFileError:
        return False
    except ModelError:
        return None


def _place() -> Path:
    """The file of this build's result."""
    return cache_folder() / f"tiles-{build_mark('ggml-cpu')}"
