"""From a checkpoint to a GGUF file that llama.cpp runs: tensors, tokenizer, chat template.

The only thing that is not a copy: llama.cpp rotates neighbouring pairs of a head, the model
here rotates halves, so the rows of Q and K are put in another order (``interleave``).
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from . import tokenizer as tk
from .model import Model


def interleave(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """(H·h, D): within each head, row j + half goes next to row j."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


def write(model: Model, vocabulary: Tokenizer, path: Path, name: str) -> Path:
    """Write the model as F32; quantising is llama.cpp's work."""
    shape = model.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "ja"])
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_eps)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocab)
    _add_tokenizer(writer, vocabulary)

    def add(tensor: str, value: torch.Tensor) -> None:
        writer.add_tensor(tensor, value.detach().float().contiguous().numpy())

    add("token_embd.weight", model.embedding.weight)
    for i, layer in enumerate(model.layers):
        block = f"blk.{i}."
        q, k, v = layer.qkv.weight.detach().float().numpy().reshape(3, shape.width, shape.width)
        gate, up = layer.gate_up.weight.chunk(2)
        add(f"{block}attn_norm.weight", layer.attention_norm)
        writer.add_tensor(f"{block}attn_q.weight", interleave(q, shape.heads))
        writer.add_tensor(f"{block}attn_k.weight", interleave(k, shape.heads))
        writer.add_tensor(f"{block}attn_v.weight", np.ascontiguousarray(v))
        add(f"{block}attn_output.weight", layer.output.weight)
        add(f"{block}ffn_norm.weight", layer.feed_norm)
        add(f"{block}ffn_gate.weight", gate)
        add(f"{block}ffn_up.weight", up)
        add(f"{block}ffn_down.weight", layer.down.weight)
    add("output_norm.weight", model.norm)
    add("output.weight", model.head.weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, vocabulary: Tokenizer) -> None:
    tokens, merges = tk.parts(vocabulary)
    special = set(tk.SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocabulary.token_to_id(tk.BOS))
    writer.add_eos_token_id(vocabulary.token_to_id(tk.END))
    writer.add_pad_token_id(vocabulary.token_to_id(tk.PAD))
    # The tokenizer adds <|bos|>, the chat template does not: it must be there exactly once.
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(tk.CHAT_TEMPLATE)
