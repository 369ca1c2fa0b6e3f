"""Tiny GGUF files with random weights, one for each kind of model that llama.cpp treats in its own way.

    python -m benchmarks.random_kinds FOLDER

Hybrid and recurrent ones, sliding windows, and drafts inside a model or beside it. Keys and tensors are what the loader
of llama.cpp asks for (its `src/models/*.cpp`). All share one vocabulary and one width, so that a draft of one kind fits
before a main model of another. The same kind and seed give the same file.
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

from benchmarks.random_model import add_vocabulary
from foredraft.core.errors import ParameterError

VOCABULARY, WIDTH, CONTEXT = 320, 64, 512
"""Tokens of the vocabulary, numbers of a hidden row, tokens of the context that the files say they were trained for."""
HEADS, KV_HEADS, FEED_FORWARD, EXPERTS = 4, 2, 96, 4
_HEAD = WIDTH // HEADS
_STATE, _GROUPS, _CONV = 16, 2, 4
ASSISTANT_WIDTH = 32

Key = str | bool | int | float | list[int] | list[bool]
Tensor = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file has in it: keys without their "architecture." and tensors as (name, (rows, columns))."""

    architecture: str
    layers: int
    tensors: list[Tensor]
    keys: dict[str, Key] = field(default_factory=dict)


def write_random_kind(path: str | Path, kind: str, *, seed: int = 0) -> Path:
    """Write the file of a kind (one of `KINDS`) and return its path. Raises `ParameterError` for an unknown one."""
    if kind not in KINDS:
        raise ParameterError("kind", kind, f"one of {', '.join(KINDS)}")
    plan = KINDS[kind]()
    weights = {name: _weights(name, size, seed) for name, size in plan.tensors}
    return write_plan(path, plan, weights, name=f"random {kind}")


def write_plan(path: str | Path, plan: Plan, weights: dict[str, NDArray[np.float32]], *, name: str = "random") -> Path:
    """Write a file of these weights, by the names of the plan's tensors."""
    writer = gguf.GGUFWriter(path, plan.architecture)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    keys: dict[str, Key] = {
        "vocab_size": VOCABULARY,
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": plan.layers,
        "feed_forward_length": FEED_FORWARD,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        **plan.keys,
    }
    for key, value in keys.items():
        _add(writer, f"{plan.architecture}.{key}", value)
    add_vocabulary(writer, VOCABULARY)
    for tensor, _ in plan.tensors:
        writer.add_tensor(tensor, weights[tensor])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path)


def _add(writer: gguf.GGUFWriter, key: str, value: Key) -> None:
    """A key with the type that llama.cpp reads it as: whole numbers are uint32, lists of them int32."""
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case list():
            writer.add_array(key, value)


def _weights(name: str, size: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Norms and scales of one, decays below zero, small biases, matrices that keep the variance of what goes through
    them, logits with a deviation of 2."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    ones = np.ones(size, dtype=np.float32)
    if name.endswith("ssm_a"):
        return -(0.1 + rng.random(size, dtype=np.float32))
    if "norm" in name or name.endswith(("ssm_d", "rope_freqs.weight", "output_scale.weight")):
        return ones
    if name.endswith(".bias"):
        return np.float32(0.1) * rng.standard_normal(size, dtype=np.float32)
    scale = (2.0 if name in ("token_embd.weight", "output.weight") else 1.0) / size[-1] ** 0.5
    return np.float32(scale) * rng.standard_normal(size, dtype=np.float32)


# The parts that kinds are made of.


def _ends(norm: str = "output_norm.weight", *, tied: bool = True) -> Iterator[Tensor]:
    """`tied`: input and output share their embedding. A shallow model then repeats its last token for ever."""
    yield "token_embd.weight", (VOCABULARY, WIDTH)
    yield norm, (WIDTH,)
    if not tied:
        yield "output.weight", (VOCABULARY, WIDTH)


def _attention(block: str, *, gated: bool = False, normed: bool = False, read: int = WIDTH) -> Iterator[Tensor]:
    """`gated`: the query's rows carry a gate, too; `read`: the width of what is attended from."""
    yield f"{block}.attn_q.weight", (HEADS * _HEAD * (2 if gated else 1), read)
    yield f"{block}.attn_k.weight", (KV_HEADS * _HEAD, read)
    yield f"{block}.attn_v.weight", (KV_HEADS * _HEAD, read)
    yield f"{block}.attn_output.weight", (WIDTH, HEADS * _HEAD)
    if normed:
        yield f"{block}.attn_q_norm.weight", (_HEAD,)
        yield f"{block}.attn_k_norm.weight", (_HEAD,)


def _feed_forward(block: str, width: int = WIDTH) -> Iterator[Tensor]:
    yield f"{block}.ffn_gate.weight", (FEED_FORWARD, width)
    yield f"{block}.ffn_up.weight", (FEED_FORWARD, width)
    yield f"{block}.ffn_down.weight", (width, FEED_FORWARD)


def _experts(block: str) -> Iterator[Tensor]:
    yield f"{block}.ffn_gate_inp.weight", (EXPERTS, WIDTH)
    yield f"{block}.ffn_gate_exps.weight", (EXPERTS, FEED_FORWARD, WIDTH)
    yield f"{block}.ffn_up_exps.weight", (EXPERTS, FEED_FORWARD, WIDTH)
    yield f"{block}.ffn_down_exps.weight", (EXPERTS, WIDTH, FEED_FORWARD)
    yield f"{block}.ffn_gate_shexp.weight", (FEED_FORWARD, WIDTH)
    yield f"{block}.ffn_up_shexp.weight", (FEED_FORWARD, WIDTH)
    yield f"{block}.ffn_down_shexp.weight", (WIDTH, FEED_FORWARD)


_OF_EXPERTS: dict[str, Key] = {
    "expert_count": EXPERTS,
    "expert_used_count": 2,
    "expert_feed_forward_length": FEED_FORWARD,
}


def _norms(block: str, *names: str, width: int = WIDTH) -> Iterator[Tensor]:
    for name in names:
        yield f"{block}.{name}.weight", (width,)


def _nextn(block: str) -> Iterator[Tensor]:
    """What makes a block a head that predicts the token after the next one."""
    yield f"{block}.nextn.eh_proj.weight", (WIDTH, 2 * WIDTH)
    yield from _norms(block, "nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm")


def _delta_net(block: str) -> Iterator[Tensor]:
    """Qwen's gated delta net."""
    keys, values = _STATE * _GROUPS, _STATE * HEADS
    yield f"{block}.attn_qkv.weight", (2 * keys + values, WIDTH)
    yield f"{block}.attn_gate.weight", (values, WIDTH)
    yield f"{block}.ssm_conv1d.weight", (2 * keys + values, _CONV)
    yield f"{block}.ssm_dt.bias", (HEADS,)
    yield f"{block}.ssm_a", (HEADS,)
    yield f"{block}.ssm_beta.weight", (HEADS, WIDTH)
    yield f"{block}.ssm_alpha.weight", (HEADS, WIDTH)
    yield f"{block}.ssm_norm.weight", (_STATE,)
    yield f"{block}.ssm_out.weight", (WIDTH, values)


_OF_DELTA_NET: dict[str, Key] = {
    "ssm.conv_kernel": _CONV,
    "ssm.inner_size": _STATE * HEADS,
    "ssm.state_size": _STATE,
    "ssm.time_step_rank": HEADS,
    "ssm.group_count": _GROUPS,
    "rope.dimension_sections": [2, 3, 3, 0],
    "rope.dimension_count": _HEAD,
    "attention.key_length": _HEAD,
    "attention.value_length": _HEAD,
}


def _mamba(block: str) -> Iterator[Tensor]:
    inner, heads = 2 * WIDTH, 2 * WIDTH // _STATE
    both = inner + 2 * _GROUPS * _STATE
    yield f"{block}.ssm_in.weight", (inner + both + heads, WIDTH)
    yield f"{block}.ssm_conv1d.weight", (both, _CONV)
    yield f"{block}.ssm_conv1d.bias", (both,)
    yield f"{block}.ssm_dt.bias", (heads,)
    yield f"{block}.ssm_a", (heads, 1)
    yield f"{block}.ssm_d", (heads, 1)
    yield f"{block}.ssm_norm.weight", (_GROUPS, inner // _GROUPS)
    yield f"{block}.ssm_out.weight", (WIDTH, inner)


_OF_MAMBA: dict[str, Key] = {
    "ssm.conv_kernel": _CONV,
    "ssm.inner_size": 2 * WIDTH,
    "ssm.state_size": _STATE,
    "ssm.time_step_rank": 2 * WIDTH // _STATE,
    "ssm.group_count": _GROUPS,
}


# The kinds.


def _qwen35(*, experts: bool = False, head: bool = False, head_only: bool = False) -> Plan:
    """Three layers of delta net, one of attention; perhaps with a head behind them, perhaps only that."""
    layers = 4
    tensors = list(_ends())
    for layer in range(layers if head_only else 0, layers + (head or head_only)):
        block = f"blk.{layer}"
        tensors += _norms(block, "attn_norm", "post_attention_norm")
        tensors += _attention(block, gated=True, normed=True) if layer >= 3 else _delta_net(block)
        tensors += _experts(block) if experts else _feed_forward(block)
        if experts:
            tensors += [(f"{block}.ffn_gate_inp_shexp.weight", (WIDTH,))]
    keys: dict[str, Key] = {**_OF_DELTA_NET, "full_attention_interval": 4}
    if head or head_only:
        tensors += _nextn(f"blk.{layers}")
        keys["nextn_predict_layers"] = 1
    if experts:
        keys |= {**_OF_EXPERTS, "expert_shared_feed_forward_length": FEED_FORWARD}
    return Plan("qwen35moe" if experts else "qwen35", layers + (head or head_only), tensors, keys)


def glm4moe(layers: int = 2) -> Plan:
    """Attention only, with experts and a head behind them."""
    tensors = list(_ends(tied=False))
    for layer in range(layers + 1):
        block = f"blk.{layer}"
        tensors += [*_norms(block, "attn_norm", "post_attention_norm"), *_attention(block, normed=True)]
        tensors += _experts(block) if layer else _feed_forward(block)
        if layer:
            tensors += [(f"{block}.exp_probs_b.bias", (EXPERTS,))]
    tensors += _nextn(f"blk.{layers}")
    keys: dict[str, Key] = {**_OF_EXPERTS, "expert_shared_count": 1, "leading_dense_block_count": 1}
    return Plan("glm4moe", layers + 1, tensors, {**keys, "nextn_predict_layers": 1, "rope.dimension_count": _HEAD // 2})


def _lfm2() -> Plan:
    """Short convolutions and attention."""
    with_attention = (2, 4)
    tensors = list(_ends("token_embd_norm.weight"))
    for layer in range(6):
        block = f"blk.{layer}"
        tensors += [*_norms(block, "attn_norm", "ffn_norm"), *_feed_forward(block)]
        if layer in with_attention:
            tensors += _attention(block, normed=True)
        else:
            tensors += [
                (f"{block}.shortconv.conv.weight", (WIDTH, 3)),
                (f"{block}.shortconv.in_proj.weight", (3 * WIDTH, WIDTH)),
                (f"{block}.shortconv.out_proj.weight", (WIDTH, WIDTH)),
            ]
    heads = [KV_HEADS if layer in with_attention else 0 for layer in range(6)]
    return Plan("lfm2", 6, tensors, {"attention.head_count_kv": heads, "shortconv.l_cache": 3})


def _granite() -> Plan:
    """Mamba 2 and, in one layer, attention."""
    tensors = list(_ends())
    for layer in range(4):
        block = f"blk.{layer}"
        tensors += [*_norms(block, "attn_norm", "ffn_norm"), *_feed_forward(block)]
        tensors += _attention(block) if layer == 2 else _mamba(block)
    return Plan("granitehybrid", 4, tensors, {**_OF_MAMBA, "attention.head_count_kv": [0, 0, KV_HEADS, 0]})


def _mamba2() -> Plan:
    """A state and no attention at all."""
    tensors = list(_ends())
    for layer in range(3):
        tensors += [*_norms(f"blk.{layer}", "attn_norm"), *_mamba(f"blk.{layer}")]
    return Plan("mamba2", 3, tensors, {**_OF_MAMBA, "attention.head_count": 0, "attention.head_count_kv": 0})


def _falcon() -> Plan:
    """Mamba 2 and attention side by side in each layer."""
    tensors = list(_ends())
    for layer in range(3):
        block = f"blk.{layer}"
        tensors += [*_norms(block, "attn_norm"), *_mamba(block), *_attention(block), *_feed_forward(block)]
        tensors += [(f"{block}.ffn_norm", (WIDTH,))]
    return Plan("falcon-h1", 3, tensors, dict(_OF_MAMBA))


def _nemotron() -> Plan:
    """Each layer is one of Mamba 2, attention and feed-forward."""
    tensors = list(_ends())
    parts = ("mamba", "feed forward", "attention", "mamba", "feed forward")
    for layer, part in enumerate(parts):
        block = f"blk.{layer}"
        tensors += _norms(block, "attn_norm")
        if part == "mamba":
            tensors += _mamba(block)
        elif part == "attention":
            tensors += _attention(block)
        else:
            tensors += list(_feed_forward(block))[1:]
    keys: dict[str, Key] = {
        **_OF_MAMBA,
        "attention.head_count_kv": [KV_HEADS if part == "attention" else 0 for part in parts],
        "feed_forward_length": [FEED_FORWARD if part == "feed forward" else 0 for part in parts],
        "attention.layer_norm_epsilon": 1e-5,
    }
    return Plan("nemotron_h", len(parts), tensors, keys)


_GEMMA_NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")


def _gemma3() -> Plan:
    """Every sixth layer sees the whole text, the others a window of 32 tokens."""
    tensors = list(_ends(tied=False))
    for layer in range(6):
        block = f"blk.{layer}"
        tensors += [*_norms(block, *_GEMMA_NORMS), *_attention(block, normed=True), *_feed_forward(block)]
    return Plan("gemma3", 6, tensors, {"attention.sliding_window": 32, "attention.key_length": _HEAD})


_OF_GEMMA4: dict[str, Key] = {
    "attention.sliding_window": 32,
    "attention.key_length": _HEAD,
    "attention.value_length": _HEAD,
    "attention.key_length_swa": _HEAD,
    "attention.value_length_swa": _HEAD,
    "rope.dimension_count": _HEAD,
    "rope.dimension_count_swa": _HEAD,
}


def _gemma4() -> Plan:
    """Every third layer sees the whole text, with a row for each layer and token beside the embedding."""
    layers, beside = 6, 8
    tensors = [*_ends(tied=False), ("rope_freqs.weight", (_HEAD // 2,))]
    tensors += [("per_layer_token_embd.weight", (VOCABULARY, beside * layers))]
    tensors += [("per_layer_model_proj.weight", (beside * layers, WIDTH)), ("per_layer_proj_norm.weight", (beside,))]
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += [*_norms(block, *_GEMMA_NORMS, "post_norm"), *_attention(block, normed=True), *_feed_forward(block)]
        tensors += [(f"{block}.inp_gate.weight", (beside, WIDTH)), (f"{block}.proj.weight", (WIDTH, beside))]
        tensors += [(f"{block}.layer_output_scale.weight", (1,))]
    window = [layer % 3 != 2 for layer in range(layers)]
    keys: dict[str, Key] = {"attention.sliding_window_pattern": window, "embedding_length_per_layer_input": beside}
    return Plan("gemma4", layers, tensors, {**_OF_GEMMA4, **keys})


def _gemma4_assistant() -> Plan:
    """The draft of `gemma4`: it attends to what the main model has in its memory, so it has no keys and values."""
    width, layers = ASSISTANT_WIDTH, 4
    tensors: list[Tensor] = [
        ("token_embd.weight", (VOCABULARY, width)),
        ("output_norm.weight", (width,)),
        ("rope_freqs.weight", (_HEAD // 2,)),
        ("nextn.pre_projection.weight", (width, 2 * WIDTH)),
        ("nextn.post_projection.weight", (WIDTH, width)),
    ]
    for layer in range(layers):
        block = f"blk.{layer}"
        tensors += [*_norms(block, *_GEMMA_NORMS, width=width), *_feed_forward(block, width)]
        tensors += [
            (f"{block}.attn_q.weight", (HEADS * _HEAD, width)),
            (f"{block}.attn_output.weight", (width, HEADS * _HEAD)),
            (f"{block}.attn_q_norm.weight", (_HEAD,)),
            (f"{block}.layer_output_scale.weight", (1,)),
        ]
    keys: dict[str, Key] = {
        "embedding_length": width,
        "embedding_length_out": WIDTH,
        "nextn_predict_layers": layers,
        "attention.sliding_window_pattern": [layer < layers - 1 for layer in range(layers)],
        "attention.shared_kv_layers": layers,
    }
    return Plan("gemma4-assistant", layers, tensors, {**_OF_GEMMA4, **keys})


def _llama() -> Plan:
    """Attention only: a main model for `eagle3`, which reads what comes out of its layers."""
    tensors = list(_ends(tied=False))
    for layer in range(4):
        block = f"blk.{layer}"
        tensors += [*_norms(block, "attn_norm", "ffn_norm"), *_attention(block), *_feed_forward(block)]
    return Plan("llama", 4, tensors, {"rope.dimension_count": _HEAD})


def _eagle3() -> Plan:
    """The draft of `llama`: one layer over (token, what three of the main model's layers were given)."""
    tensors = [("fc.weight", (WIDTH, 3 * WIDTH)), ("output_norm.weight", (WIDTH,))]
    tensors += [*_norms("blk.0", "attn_norm", "attn_norm_2", "ffn_norm"), *_feed_forward("blk.0")]
    tensors += _attention("blk.0", read=2 * WIDTH)
    keys: dict[str, Key] = {"target_layers": [1, 2, 3], "target_hidden_size": WIDTH, "rope.dimension_count": _HEAD}
    return Plan("eagle3", 1, tensors, keys)


KINDS: dict[str, Callable[[], Plan]] = {
    "llama": _llama,
    "eagle3": _eagle3,
    "qwen35": _qwen35,
    "qwen35-mtp": lambda: _qwen35(head=True),
    "qwen35-mtp-only": lambda: _qwen35(head_only=True),
    "qwen35moe": lambda: _qwen35(experts=True),
    "qwen35moe-mtp": lambda: _qwen35(experts=True, head=True),
    "glm4moe-mtp": glm4moe,
    "lfm2": _lfm2,
    "granitehybrid": _granite,
    "mamba2": _mamba2,
    "falcon-h1": _falcon,
    "nemotron_h": _nemotron,
    "gemma3": _gemma3,
    "gemma4": _gemma4,
    "gemma4-assistant": _gemma4_assistant,
}
"""The kinds of files, by name. `eagle3`, `gemma4-assistant` and `qwen35-mtp-only` are drafts that need a main model."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_kinds", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one; may be given several times")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    for kind in chosen.kind or KINDS:
        print(write_random_kind(chosen.folder / f"{kind}.gguf", kind, seed=chosen.seed))


if __name__ == "__main__":
    main()
