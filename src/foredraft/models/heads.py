"""Drafts that read another model's hidden rows: heads inside a file (MTP, "nextn"), in a file of their own, Gemma 4's
assistants, EAGLE-3 and DFlash. What a header says of them, and what can be run. (Whether one fits: `head_fit.py`.)

Which architectures llama.cpp can run a head of, and how many, is read from its sources (`src/models/*.cpp`, 0.3.36 of
the bindings): for any other it would end the process, so those are refused before it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from foredraft.models.gguf import SCALARS, Header, read_array

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
