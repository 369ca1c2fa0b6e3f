"""The network: a plain llama-architecture decoder, small enough to train on two cores.

Nothing here is special on purpose: RMSNorm, rotary positions, SwiGLU, no biases, an output
matrix of its own. llama.cpp runs exactly this graph for ``general.architecture = llama``.

Shapes in the comments: B rows, T tokens a row, D width, H heads, h head size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides the size of a model; goes into its checkpoint and its GGUF."""

    vocab: int = 4096
    width: int = 192
    layers: int = 8
    heads: int = 3
    feed_forward: int = 512
    context: int = 2048
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_size(self) -> int:
        return self.width // self.heads


MAIN = Shape()
DRAFT = Shape(width=96, layers=2, heads=3, feed_forward=256)


def rotary_tables(length: int, head_size: int, base: float) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each (T, h/2): the angle of pair j at position t is t · base^(-2j/h)."""
    inverse = base ** (-torch.arange(0, head_size, 2, dtype=torch.float32) / head_size)
    angles = torch.arange(length, dtype=torch.float32)[:, None] * inverse[None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions in the half-split layout: element j is paired with j + h/2.

    llama.cpp pairs neighbours instead; ``training.gguf_writer`` permutes Q and K accordingly.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, f = shape.width, shape.feed_forward
        self.heads = shape.heads
        self.eps = shape.norm_eps
        self.attention_norm = nn.Parameter(torch.ones(d))
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.output = nn.Linear(d, d, bias=False)
        self.feed_norm = nn.Parameter(torch.ones(d))
        self.gate_up = nn.Linear(d, 2 * f, bias=False)
        self.down = nn.Linear(f, d, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, t, d = x.shape
        normed = F.rms_norm(x, (d,), self.attention_norm, self.eps)
        qkv = self.qkv(normed).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, h)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        x = x + self.output(mixed.transpose(1, 2).reshape(b, t, d))
        normed = F.rms_norm(x, (d,), self.feed_norm, self.eps)
        gate, up = self.gate_up(normed).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    """tokens (B, T) → hidden states (B, T, D); ``logits`` makes (…, V) of any of them."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocab, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = nn.Parameter(torch.ones(shape.width))
        self.head = nn.Linear(shape.width, shape.vocab, bias=False)
        cos, sin = rotary_tables(shape.context, shape.head_size, shape.rope_base)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights; what adds to the stream starts smaller, so depth does not blow it up."""
        for name, p in self.named_parameters():
            if p.dim() < 2:
                continue
            std = 0.5 * p.shape[1] ** -0.5 if "embedding" not in name else 0.05
            if "output" in name or "down" in name:
                std /= (2 * self.shape.layers) ** 0.5
            nn.init.normal_(p, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        t = tokens.shape[1]
        x = self.embedding(tokens)
        cos, sin = self.cos[:t], self.sin[:t]
        for layer in self.layers:
            x = layer(x, cos, sin)
        return F.rms_norm(x, (self.shape.width,), self.norm, self.shape.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.head(hidden)
        return out

    def parameters_count(self) -> int:
        return sum(p.numel() for p in self.parameters())
