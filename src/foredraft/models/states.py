"""Recurrent states, as a file's header tells of them: which layers keep one, how large it is, and how many may be kept.

After llama.cpp's own sizes (`llama-hparams.cpp`: `n_embd_r`, `n_embd_s`; which layers: `src/models/*.cpp`).
"""

from __future__ import annotations

from collections.abc import Sequence

from foredraft.models.gguf import Header

RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
HYBRID = frozenset(
    {
        "jamba", "falcon-h1", "plamo2", "granitehybrid", "lfm2", "lfm2moe", "nemotron_h", "nemotron_h_moe",
        "qwen3next", "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next", "qwen35", "qwen35moe", "qwen4exp",
        "deepseek4", "minimax-01",
    }
)  # fmt: skip
"""Architectures with a state that cannot be cut like a KV cache (llama.cpp, `llama-arch.cpp`)."""
ROLLBACK = frozenset(
    {
        "kimi-k3", "qwen35", "qwen35moe", "qwen4exp", "deepseek4", "glm5-next", "nemotron_h", "nemotron_h_moe", "lfm2",
        "lfm2moe", "bailingmoe3",
    }
)  # fmt: skip
"""Those whose graphs keep the states of the last tokens of a pass (`llm_arch_supports_rs_rollback`)."""
_INTERVAL = frozenset({"qwen35", "qwen35moe", "qwen3next", "qwen4exp", "minimax-01"})


def recurrent_layers(
    header: Header, architecture: str, n_kv_heads: Sequence[int], n_ff: Sequence[int]
) -> tuple[bool, ...]:
    """One a layer: whether it keeps a state. `n_kv_heads` and `n_ff` (the width of its feed-forward part): one a layer
    as well."""
    n_layers = len(n_kv_heads)
    if architecture in RECURRENT or architecture == "falcon-h1":
        return (True,) * n_layers
    if architecture not in HYBRID:
        return (False,) * n_layers
    if architecture in _INTERVAL:
        every = header.integer(f"{architecture}.full_attention_interval") or 4
        own = n_layers - (header.integer(f"{architecture}.nextn_predict_layers") or 0)
        return tuple(layer < own and (layer + 1) % every != 0 for layer in range(n_layers))
    wide = n_ff if architecture.startswith("nemotron_h") else (0,) * n_layers
    return tuple(heads == 0 and width == 0 for heads, width in zip(n_kv_heads, wide, strict=True))


def state_values(header: Header, architecture: str, n_heads: int) -> int:
    """Numbers of the state of one layer and one sequence; 0 without one, or where a file does not say."""

    def number(key: str, default: int = 0) -> int:
        found = header.integer(f"{architecture}.{key}")
        return default if found is None else found

    width, convolved = number("embedding_length"), max(number("ssm.conv_kernel") - 1, 0)
    if head := number("wkv.head_size"):
        return width * (number("token_shift_count", 2) + head)
    if cached := number("shortconv.l_cache"):
        return width * (cached - 1)
    if head := number("kda.head_dim"):
        return n_heads * head * (3 * (convolved or 3) + head)
    if architecture == "minimax-01":
        head = number("attention.key_length") or (width // n_heads if n_heads else 0)
        return n_heads * head * head
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    return inner * state + convolved * (inner + 2 * number("ssm.group_count") * state)
