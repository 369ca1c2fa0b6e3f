"""What a loaded model holds in memory, and whether a load will fit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from foredraft.engines import control_groups

KV_BITS = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q5_1": 6.0, "q5_0": 5.5, "q4_1": 5.0, "q4_0": 4.5}
"""Bits of one number in the KV cache, scales included (ggml's block formats)."""
KV_TYPES = tuple(KV_BITS)

_BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size =\s*([\d.]+) MiB")
_COPIES = ("AMX", "CPU_REPACK", "CPU_AARCH64")
"""Buffers of weights in a layout that suits the processor."""


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes held by one engine, as llama.cpp reported them when it loaded (to a hundredth of a MiB)."""

    weights: int
    mapped: int
    """The part of `weights` that is mapped from the file: the system may drop it and read it again."""
    kv: int
    """KV cache and recurrent state of all slots."""
    compute: int
    """Scratch buffers and rows of logits."""

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute

    @classmethod
    def from_log(cls, lines: Iterable[str], tensors: int) -> MemoryUse:
        """Add up the "… buffer size = … MiB" lines of a load of a model with `tensors` bytes of weights."""
        sums = dict.fromkeys(("model", "mapped", "copied", "KV", "RS", "compute", "output"), 0)
        for line in lines:
            if found := _BUFFER.search(line):
                size = round(float(found[3]) * 2**20)
                sums[found[2]] += size
                if found[2] == "model" and found[1].endswith("_Mapped"):
                    sums["mapped"] += size
                elif found[2] == "model" and found[1] in _COPIES:
                    sums["copied"] += size
        if sums["copied"] and sums["mapped"]:
            # what was copied into another layout lies in the mapping too, and is never read there again
            sums["model"] = max(tensors, sums["copied"])
            sums["mapped"] = sums["model"] - sums["copied"]
        return cls(sums["model"], sums["mapped"], sums["KV"] + sums["RS"], sums["compute"] + sums["output"])


def kv_estimate(n_ctx: int, n_layer: int, n_kv_heads: int, key_length: int, value_length: int, kv_type: str) -> int:
    """Bytes of the KV cache of a plain transformer: what the library will ask for, known before it does."""
    cells = -(-n_ctx // 256) * 256  # the library rounds up
    return round(cells * n_layer * n_kv_heads * (key_length + value_length) * KV_BITS[kv_type] / 8)


def free_memory() -> int:
    """Bytes that can be taken without swapping: of the machine, or of the container where it has less."""
    free: int = psutil.virtual_memory().available
    left = control_groups.memory()
    return free if left is None else min(free, left)
