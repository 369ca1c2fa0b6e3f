"""Drafts that read another model's hidden rows: heads inside a file (MTP, "nextn"), in a file of their own, Gemma 4's
assistants, EAGLE-3 and DFlash. What a header says of them, for what main model they were made, and what can be run.

Which architectures llama.cpp can run a head of, and how many, is read from its sources (`src/models/*.cpp`, 0.3.36 of
the bindings): for any other it would end the process, so those are refused before it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from foredraft.core.reasons import Reason, Value
from foredraft.models.gguf import SCALARS, Header, read_array

if TYPE_CHECKING:
    from foredraft.models.facts import ModelFacts

ASSISTANT = "gemma4-assistant"
LAYER_READERS = frozenset({"eagle3", "dflash"})
"""Drafts that read what goes into three or more of the main model's layers."""
HELPERS = frozenset({*LAYER_READERS, ASSISTANT, "gemma4_assistant", "gemma4_mtp"})
"""Architectures that are drafts of another model and cannot run alone. The last two are other programs' spellings."""
WITH_HEADS = frozenset(
    {
        "qwen35", "qwen35moe", "qwen3next", "glm4moe", "glm-dsa", "glm5-next", "deepseek2", "deepseek32", "deepseek4",
        "nemotron_h_moe", "bailingmoe3", "cohere2moe", "hy-v3", "mimo2",
    }
)  # fmt: skip
"""Architectures of which llama.cpp can run one head, over and over. (`step35` has several that take turns.)"""

GIVES_LAYERS = frozenset(
    {
        "llama", "qwen3", "qwen3moe", "qwen35", "qwen35moe", "qwen3next", "qwen4exp", "gemma4", "gpt-oss", "lfm2",
        "lfm2moe", "nemotron_h", "nemotron_h_moe", "minimax-m2", "mimo2", "deepseek4", "hunyuan_vl", "nanbeige",
        "bailingmoe3", "muse-glimmer", "minimax-01",
    }
)  # fmt: skip
"""Main models whose layers' inputs llama.cpp gives, which EAGLE-3 reads. Asked of any other it ends the process."""

_HEAD = re.compile(r"blk\.\d+\.nextn\.eh_proj\.weight$")


@dataclass(frozen=True, slots=True)
class Heads:
    """What a file has in it that guesses further tokens from hidden rows. Zeros for a file without any."""

    said: int = 0
    """Heads that the header speaks of."""
    here: int = 0
    """Those whose weights are in the file."""
    width: int = 0
    """Numbers of a hidden row that the heads, or the draft, read."""
    trunk: int = 0
    """Layers of the main model; 0 where the file does not say."""
    layers: tuple[int, ...] = ()
    """The main model's layers of which EAGLE-3 and DFlash read the input."""

    @property
    def missing(self) -> bool:
        """Whether the header speaks of heads that are not in the file."""
        return self.said > self.here


def read_heads(headers: Sequence[Header], architecture: str) -> tuple[Heads, bool]:
    """The heads of a file, and whether it has nothing else: the main model is another file then."""
    header = headers[0]

    def number(key: str) -> int:
        return header.integer(f"{architecture}.{key}") or 0

    names = {tensor.name for part in headers for tensor in part.tensors}
    if architecture in HELPERS:
        width = number("target_hidden_size") or number("embedding_length_out")
        ids = header.arrays.get(f"{architecture}.target_layers")
        layers: tuple[int, ...] = ()
        if ids is not None and ids.kind in SCALARS and ids.count <= 64:
            layers = tuple(int(layer) for layer in read_array(header.path, ids))
        return Heads(width=width, layers=layers), True
    said = number("nextn_predict_layers")
    here = sum(1 for name in names if _HEAD.match(name))
    if not said and not here:
        return Heads(), False
    heads = Heads(said, here, number("embedding_length"), max(0, number("block_count") - said))
    return heads, bool(here) and not any(name.startswith("blk.0.") for name in names)


def own_head(main: ModelFacts) -> Reason | None:
    """Why the head inside a main model cannot be used; None where it can. Only for files with `heads`."""
    if not main.heads.here:
        return Reason("heads_no_weights", {"n": main.heads.said})
    if main.architecture not in WITH_HEADS:
        return Reason("heads_architecture", {"architecture": main.architecture})
    if main.heads.said != 1:
        return Reason("heads_several", {"n": main.heads.said})
    return None


def misfit(main: ModelFacts, draft: ModelFacts) -> Reason | None:
    """Why a draft that reads hidden rows was not made for this main model: `what` differs, `a` of the draft and `b` of
    the main model. None where it fits. Vocabularies are compared elsewhere."""
    architecture, heads = main.architecture, draft.heads
    made_for = draft.architecture
    if draft.architecture in HELPERS:
        made_for = "gemma4" if draft.architecture not in LAYER_READERS else architecture
    if architecture != made_for:
        return _differ("architecture", made_for, architecture)
    if heads.width and heads.width != main.shape.n_embd:
        return _differ("width", heads.width, main.shape.n_embd)
    if draft.architecture in LAYER_READERS and not (heads.layers and min(heads.layers) >= 0):
        return _differ("read_layers", str(list(heads.layers)), Reason("those_of_main"))
    if heads.layers and architecture not in GIVES_LAYERS:
        return _differ("gives_layers", Reason("one_of_several"), architecture)
    trunk = main.heads.trunk or main.shape.n_layers
    if heads.trunk and heads.trunk != trunk:
        return _differ("layers", heads.trunk, trunk)
    if heads.layers and max(heads.layers) > trunk:
        return _differ("highest_layer", max(heads.layers), trunk)
    return None


def _differ(what: str, a: Value, b: Value) -> Reason:
    return Reason("head_misfit", {"what": Reason(f"what_{what}"), "a": a, "b": b})


def made_for(draft: ModelFacts) -> Reason:
    """What main models a draft is for: "gemma4 models with hidden rows of 2,560 numbers"."""
    heads, kind = draft.heads, draft.architecture
    if kind in HELPERS:
        kind = "" if kind in LAYER_READERS else "gemma4"
    models = Reason("models_of", {"architecture": kind}) if kind else Reason("models_any")
    parts = [Reason("hidden_rows", {"n": heads.width})] if heads.width else []
    if heads.trunk:
        parts.append(Reason("layers", {"n": heads.trunk}))
    elif heads.layers:
        parts.append(Reason("layers_least", {"n": max(heads.layers)}))
    return Reason("models_with", {"models": models, "parts": tuple(parts)}) if parts else models
