"""Settings of a load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from foredraft.core.errors import ParameterError
from foredraft.engines.llamacpp.memory import KV_TYPES
from foredraft.engines.llamacpp.options import check_device
from foredraft.pair.numerics import check_mode
from foredraft.pair.opening import check_isolation
from foredraft.speculative.controllers import CONTROLLERS
from foredraft.speculative.controllers.adaptive.budget import PRESETS

MIN_CONTEXT = 8
"""Tokens. Shorter ones have no room for what is read at a load."""
MIN_BATCH, MAX_BATCH = 16, 2**16
"""Tokens of a pass."""

CHOICES: Mapping[str, Sequence[str]] = {
    "kv_type": KV_TYPES,
    "flash_attention": ("auto", "on", "off"),
    "promise": tuple(PRESETS),
    "guardrail": ("off", "relaxed", "strict"),
}
"""What those settings of a load may be."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a pair is loaded. Lengths in tokens. Everything here is about speed and memory, and `numerics` about the last
    digits; nothing else about the text."""

    context: int | None = None
    """None takes the file's own, within reason."""
    slots: int = 1
    """Answers at once."""
    batch: int = 512
    threads: int | None = None
    draft_threads: int | None = None
    gpu_layers: int = -1
    draft_gpu_layers: int = -1
    draft_device: str = ""
    """Where the draft runs: "" is as the main model; "cpu"; "gpu0" …"""
    kv_type: str = "f16"
    flash_attention: str = "auto"
    numerics: str = "auto"
    """exact: the same text to the last bit, whatever the draft, the cache and other answers do. fast: as llama.cpp
    computes by default. auto: exact where that costs next to nothing here, as measured."""
    mmap: bool = True
    isolation: str = "off"
    """Whether each model has a process of its own: off, on, or auto (large ones). A crash then ends that process only;
    whoever answers for nobody else has little of it."""
    controller: str = "adaptive"
    """adaptive measures and guesses as far as it pays; fixed always looks `max_draft` tokens ahead."""
    promise: str = "standard"
    """How much time the adaptive controller may lose on trying: standard, strict or eager."""
    max_draft: int | None = None
    """The look-ahead of the fixed controller, 0 to 16. (A request caps any controller: `SpeculationParams`.)"""
    guardrail: str = "relaxed"
    """What to do about a load that may not fit in memory: off, relaxed (refuse) or strict (leave a fifth free)."""
    probe: bool = True
    """Measure the numerics as part of the load. Without that they are fast, and nobody knows how they round."""
    remember: bool = True
    """Keep what is learned about the pair between starts, in the user's cache folder."""
    remember_answers: bool = False
    """Keep the answers themselves on this machine, as a source of guesses for later ones."""

    def __post_init__(self) -> None:
        CONTROLLERS.check(self.controller)
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ParameterError(name, getattr(self, name), f"one of {', '.join(allowed)}")
        if self.context and self.context < MIN_CONTEXT:
            raise ParameterError("context", self.context, f"0 (from the file), or at least {MIN_CONTEXT}")
        if not MIN_BATCH <= self.batch <= MAX_BATCH:
            raise ParameterError("batch", self.batch, f"a whole number from {MIN_BATCH} to {MAX_BATCH}")
        check_device(self.draft_device)
        check_mode(self.numerics)
        check_isolation(self.isolation)
        if self.numerics == "exact" and not self.probe:
            raise ParameterError("probe", False, "true with exact numerics, which are found by measuring")
