"""How a GGUF model is loaded: plain values, checked where they are made."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from foredraft.core.errors import ParameterError
from foredraft.core.reasons import Reason, one_of
from foredraft.engines.base import BLOCK
from foredraft.engines.llamacpp.memory import KV_TYPES

FLASH_ATTENTION = ("auto", "on", "off")
CPU = "cpu"
DEFAULT_CONTEXT = 8192
"""Most tokens of context when none is asked for: modern files name 128k and more, whose KV cache fills a laptop."""


def _whole(name: str, value: object, low: int, high: float, words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ParameterError(name, value, words)


def check_device(device: str) -> None:
    """Raises `ParameterError` for a word that names no place to run."""
    if device not in ("", CPU) and re.fullmatch(r"gpu\d{1,3}", device) is None:
        raise ParameterError("device", device, Reason("allowed_device"))


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of one load. Sizes are in tokens."""

    n_ctx: int | None = None
    """Context, shared by all slots. None or 0 takes the file's own, at most `DEFAULT_CONTEXT`."""
    n_slots: int = 1
    """Independent sequences."""
    n_batch: int = 512
    """Most tokens in one `forward`: also how soon a long prefill can be cancelled on a GPU."""
    n_ubatch: int = 512
    """Tokens computed at once inside a `forward`; larger takes more memory."""
    max_rows: int | None = None
    """Most rows of logits in one `forward`; None is 64, or 32 for each slot. With a large vocabulary a row takes half a
    megabyte of scratch memory."""
    n_threads: int | None = None
    """Threads for one token; None is one for each physical core."""
    n_threads_batch: int | None = None
    """Threads for several tokens; None is the same as `n_threads`."""
    gpu_layers: int = -1
    """Layers on the GPU, where the library was built with one; -1 is all."""
    device: str = ""
    """Where the model runs: "" leaves it to the library (all GPUs, else the processor); "cpu"; "gpu0" …"""
    kv_type: str = "f16"
    """Number type of the KV cache. Quantised ones save memory and move logits a little."""
    key_type: str | None = None
    value_type: str | None = None
    """Number types of the keys and of the values where they differ from `kv_type`. On a processor llama.cpp attends in
    three ways (one token in parts, a few row by row, 64 and more in tiles) that round differently, but only where keys
    and values are of one type: two types make it attend row by row always (`exactness.py`)."""
    flash_attention: str = "auto"
    """auto, on or off, as llama.cpp means them. off is attention as a matrix product."""
    repack: bool = True
    """Let llama.cpp lay the weights out anew for this processor: faster, but some of its kernels then round a pass of
    several tokens otherwise than single steps."""
    snapshots: int = 0
    """Recurrent states of the last so many tokens of a pass that are kept, where the architecture allows that: as many
    guesses can be taken back (rollback). Each takes as much memory as the state itself. 0 keeps none: then the state
    before the guesses is (fork)."""
    checkpoints: int = 4
    """Recurrent states of earlier places that are kept for each slot in main memory: the end of the system prompt, of a
    question, of the last answers. A text that parts there is read from there, not from its beginning."""
    ordered: bool = True
    """Keep the cells of every slot in the order of its text, whatever the others do, so that its logits are those it
    has alone (`cells.py`). Only exact numerics need it. Not on a GPU."""
    heads: bool = False
    """Load the weights of a head that is inside the file, too (`head.py`)."""
    use_mmap: bool = True
    """Map the file instead of reading it: a faster start, and memory shared between processes."""
    use_mlock: bool = False
    """Keep the weights from being swapped out."""
    probe: bool = True
    """Measure the numerics (`engines/probe.py`) as part of the load."""

    def rows(self, n_batch: int) -> int:
        """`max_rows`, worked out for a pass of `n_batch` tokens: enough for the log probabilities of a piece of prompt,
        which in exact numerics may have up to 2 · `BLOCK` tokens."""
        return min(self.max_rows or max(2 * BLOCK, 32 * self.n_slots), n_batch)

    def __post_init__(self) -> None:
        if self.n_ctx is not None:
            _whole("n_ctx", self.n_ctx, 0, 2**24, "a whole number from 0 (from the file) to 16777216")
        _whole("n_slots", self.n_slots, 1, 256, "a whole number from 1 to 256")
        _whole("n_batch", self.n_batch, 1, 2**16, "a whole number from 1 to 65536")
        _whole("n_ubatch", self.n_ubatch, 1, 2**16, "a whole number from 1 to 65536")
        if self.max_rows is not None:
            _whole("max_rows", self.max_rows, 1, 2**16, "a whole number from 1 to 65536")
        for name in ("n_threads", "n_threads_batch"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1, 512, "a whole number from 1 to 512")
        _whole("snapshots", self.snapshots, 0, 64, "a whole number from 0 to 64")
        _whole("checkpoints", self.checkpoints, 0, 64, "a whole number from 0 to 64")
        _whole("gpu_layers", self.gpu_layers, -1, math.inf, "a whole number of at least -1 (-1 is all)")
        check_device(self.device)
        for name in ("kv_type", "key_type", "value_type"):
            if getattr(self, name) not in (*KV_TYPES, *((None,) if name != "kv_type" else ())):
                raise ParameterError(name, getattr(self, name), one_of(KV_TYPES))
        if self.flash_attention not in FLASH_ATTENTION:
            raise ParameterError("flash_attention", self.flash_attention, one_of(FLASH_ATTENTION))
        if self.flash_attention == "off" and self.kv_type.startswith("q"):
            raise ParameterError("flash_attention", "off", Reason("allowed_flash", {"kv_type": self.kv_type}))
