"""What the app knows of the machine: its memory, the GPUs that the engine can use, and what the engine runs on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from foredraft.engines.llamacpp.devices import Device, built_for_gpus, devices

KEPT_S = 2.0
"""Answers about GPUs are kept for so long: every page asks, and asking is not free."""


@dataclass(slots=True)
class Machine:
    """One for the app. `ask` and `built` are what the engine's library says of its GPUs."""

    ask: Callable[[], list[Device]] = devices
    built: Callable[[], bool] = built_for_gpus
    _gpus: list[Device] = field(default_factory=list)
    _asked: float = float("-inf")

    def memory(self) -> tuple[int, int]:
        """Bytes used and in all."""
        import psutil

        memory = psutil.virtual_memory()
        return memory.total - memory.available, memory.total

    def busy(self) -> bool:
        """Whether more programs want the processor than it has threads: speeds measured now are rough."""
        import psutil

        return bool(psutil.getloadavg()[0] > (psutil.cpu_count() or 1))

    def gpus(self) -> list[Device]:
        """The GPUs with their memory, at most `KEPT_S` old."""
        if time.monotonic() - self._asked > KEPT_S:
            self._gpus, self._asked = (self.ask() if self.built() else []), time.monotonic()
        return self._gpus

    @property
    def backend(self) -> str:
        """What the engine computes with: "CUDA", "Metal", "Vulkan" …, or "CPU"."""
        return ", ".join(dict.fromkeys(gpu.name.rstrip("0123456789") for gpu in self.gpus())) or "CPU"
