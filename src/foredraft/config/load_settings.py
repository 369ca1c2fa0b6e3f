"""Settings of a load, each declared once (`core/declared.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from typing import Annotated

from foredraft.core.declared import Param, check_all
from foredraft.core.errors import ParameterError
from foredraft.core.params import MAX_DRAFT
from foredraft.core.reasons import Reason
from foredraft.core.tables import CONTROLLERS, check_engine, engines

MIN_CONTEXT = 8
"""Tokens. Shorter ones have no room for what is read at a load."""
NUMERICS = ("auto", "exact", "fast")
ISOLATION = ("auto", "on", "off")
GUARDRAILS = ("off", "relaxed", "strict")
FLASH_ATTENTION = ("auto", "on", "off")


def _kv_types() -> Sequence[str]:
    from foredraft.engines.llamacpp.memory import KV_TYPES  # late: names are wanted without the engine

    return KV_TYPES


def _promises() -> Sequence[str]:
    from foredraft.speculative.controllers.adaptive.budget import PRESETS

    return tuple(PRESETS)


def _check_context(tokens: object) -> None:
    if isinstance(tokens, bool) or not isinstance(tokens, int) or (tokens and not MIN_CONTEXT <= tokens <= 2**24):
        raise ParameterError("context", tokens, Reason("allowed_context", {"low": MIN_CONTEXT, "high": 2**24}))


def _check_device(device: object) -> None:
    from foredraft.engines.llamacpp.options import check_device

    try:
        check_device(str(device))
    except ParameterError as error:
        raise ParameterError("draft_device", device, error.allowed) from None


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """How a pair is loaded. Lengths in tokens. Everything here is about speed and memory, and `numerics` about the last
    digits; nothing else about the text."""

    context: Annotated[
        int | None,
        Param("Tokens of context; left out or 0: the file's own, within reason.", low=0, high=2**24,
              check=_check_context, flags=("--context", "-c")),
    ] = None  # fmt: skip
    slots: Annotated[int, Param("Answers at once.", low=1, high=256)] = 1
    batch: Annotated[int, Param("Most tokens of a pass.", low=16, high=2**16)] = 512
    threads: Annotated[
        int | None, Param("Threads of the main model; left out: one a physical core.", low=1, high=512)
    ] = None
    draft_threads: Annotated[
        int | None, Param("Threads of the draft model; left out: one a physical core.", low=1, high=512)
    ] = None
    gpu_layers: Annotated[int, Param("Layers of the main model on the GPU; -1 is all.", low=-1, note="-1 is all")] = -1
    draft_gpu_layers: Annotated[
        int, Param("Layers of the draft model on the GPU; -1 is all.", low=-1, note="-1 is all")
    ] = -1
    draft_device: Annotated[
        str, Param("Where the draft runs: cpu, gpu0, gpu1 …; left out: as the main model.", check=_check_device)
    ] = ""
    kv_type: Annotated[str, Param("Number type of the KV cache.", choices=_kv_types)] = "f16"
    flash_attention: Annotated[
        str,
        Param("As llama.cpp means it; off is attention as a matrix product.", choices=FLASH_ATTENTION),
    ] = "auto"
    numerics: Annotated[
        str,
        Param("exact: the same text to the last bit, whatever the draft, the cache and other answers do; fast: as "
              "llama.cpp computes; auto: exact where that costs next to nothing here, as measured.",
              choices=NUMERICS),
    ] = "auto"  # fmt: skip
    mmap: Annotated[bool, Param("Map the model file instead of reading it.")] = True
    isolation: Annotated[
        str,
        Param("A process for each model, which alone ends in a crash; auto: for large ones.",
              choices=ISOLATION, setting=""),
    ] = "off"  # fmt: skip
    controller: Annotated[
        str,
        Param("How far to guess. adaptive measures, and guesses as far as it pays; fixed always looks as far.",
              choices=CONTROLLERS.names, check=CONTROLLERS.check),
    ] = "adaptive"  # fmt: skip
    promise: Annotated[str, Param("How much time the adaptive controller may lose on trying.", choices=_promises)] = (
        "standard"
    )
    fixed_look_ahead: Annotated[
        int | None,
        Param("Tokens that the fixed controller guesses in every round; left out: the request's max_draft, or a few.",
              low=0, high=MAX_DRAFT, aliases=("max_draft",)),
    ] = None  # fmt: skip
    guardrail: Annotated[
        str,
        Param("Loads that may not fit in memory. off: load anyway; relaxed: refuse what does not fit; strict: leave a "
              "fifth of the memory free.", choices=GUARDRAILS, setting="memory.guardrail"),
    ] = "relaxed"  # fmt: skip
    engine: Annotated[
        str, Param("What computes; auto: what opens such a file.", choices=engines, check=check_engine)
    ] = "auto"
    probe: Annotated[
        bool, Param("Measure the numerics as part of the load; else they are fast.", flags=(), setting="")
    ] = True
    remember: Annotated[
        bool, Param("Keep what is learned about the pair between starts, in the cache folder.", flags=(), setting="")
    ] = True
    remember_answers: Annotated[
        bool,
        Param("Keep answers on this machine, to guess later ones from them.", setting="draft.remember_answers"),
    ] = False
    max_draft: InitVar[int | None] = None
    """The older name of `fixed_look_ahead`."""

    def __post_init__(self, max_draft: int | None) -> None:
        if max_draft is not None:
            object.__setattr__(self, "fixed_look_ahead", max_draft)
        check_all(self)
        if self.numerics == "exact" and not self.probe:
            raise ParameterError("probe", False, Reason("allowed_probe"))
