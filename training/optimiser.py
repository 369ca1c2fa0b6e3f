"""Muon for the matrices of the layers, AdamW for embedding, output and norms.

All parameters of a model are views into one flat tensor, and so are their gradients: workers
then exchange one block of memory, and a checkpoint is a handful of tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .model import Model

STEPS = 3
"""Newton-Schulz steps: three are nearly as good as five and cost much less at small batches."""


def flatten(model: Model) -> tuple[Tensor, Tensor, dict[str, slice]]:
    """(parameters, gradients, where each lives); the model's tensors become views into them."""
    count = model.parameters_count()
    values, gradients = torch.empty(count), torch.zeros(count)
    where: dict[str, slice] = {}
    at = 0
    for name, p in model.named_parameters():
        place = slice(at, at + p.numel())
        values[place] = p.detach().reshape(-1)
        p.data = values[place].view_as(p)
        p.grad = gradients[place].view_as(p)
        where[name] = place
        at = place.stop
    return values, gradients, where


def orthogonal(batch: Tensor) -> Tensor:
    """(N, rows, columns) → nearly orthogonal matrices of the same directions (quintic iteration)."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = batch.shape[1] > batch.shape[2]
    x = batch.transpose(1, 2) if tall else batch
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


HOLD = 0.2
"""Decay of Q and K, as a share of Muon's rate. Its steps all have the same size, so these two grow for
ever; without a norm on them (the llama architecture has none) attention then hardens, after a few
thousand steps each head looks at one token, and copying is never found."""


class Optimiser:
    """One step of both methods; ``rank`` of ``world`` workers does its part of Muon's work.

    ``momentum`` and ``updates`` are flat like the parameters and shared between workers.
    """

    def __init__(
        self,
        model: Model,
        values: Tensor,
        gradients: Tensor,
        where: dict[str, slice],
        momentum: Tensor,
        updates: Tensor,
        rank: int,
        world: int,
        muon_rate: float,
        adam_rate: float,
    ) -> None:
        self.values, self.gradients = values, gradients
        self.momentum, self.updates = momentum, updates
        self.muon_rate, self.adam_rate = muon_rate, adam_rate
        shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
        self.matrices = [n for n, s in shapes.items() if n.startswith("layers.") and len(s) == 2]
        groups: dict[tuple[int, int], list[slice]] = {}
        for name in self.matrices:
            rows, columns = shapes[name]
            # Q, K and V are three matrices, gate and up two, though each lies in one tensor. Made
            # orthogonal together, the part with the largest gradient (V) takes the whole step: the
            # first layers then never learn to attend, and nothing that needs copying is learnt.
            parts = 3 if "qkv" in name else 2 if "gate_up" in name else 1
            start, size = where[name].start, rows // parts * columns
            blocks = [slice(start + i * size, start + (i + 1) * size) for i in range(parts)]
            groups.setdefault((rows // parts, columns), []).extend(blocks)
        self.groups = [(shape, blocks[rank::world]) for shape, blocks in groups.items()]
        self.held = [
            slice(where[n].start, where[n].start + 2 * (where[n].stop - where[n].start) // 3)
            for n in self.matrices
            if "qkv" in n
        ]
        self.places = [where[n] for n in self.matrices]
        others = [p for n, p in model.named_parameters() if n not in self.matrices]
        # Adam's steps are as large for a norm as for a weight; at full rate the first layer's norm is
        # driven to zero before its attention has learnt anything.
        groups_of = [
            {"params": [p for p in others if p.dim() == 2], "share": 1.0},
            {"params": [p for p in others if p.dim() == 1], "share": 0.1},
        ]
        self.adam = torch.optim.AdamW(
            groups_of, lr=adam_rate, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True
        )

    def prepare(self) -> None:
        """Write Muon's updates of this worker's matrices into the shared block."""
        for shape, places in self.groups:
            if not places:
                continue
            steps = []
            for place in places:
                gradient, memory = self.gradients[place], self.momentum[place]
                memory.lerp_(gradient, 0.05)
                steps.append(gradient.lerp(memory, 0.95).view(shape))
            scale = max(1.0, shape[0] / shape[1]) ** 0.5
            for place, update in zip(places, orthogonal(torch.stack(steps)), strict=True):
                self.updates[place] = update.reshape(-1) * scale

    def apply(self, factor: float) -> None:
        """Move the parameters; ``factor`` is where the schedule stands, 0 to 1."""
        for place in self.held:
            self.values[place] *= 1.0 - factor * self.muon_rate * HOLD
        for place in self.places:
            self.values[place] -= (factor * self.muon_rate) * self.updates[place]
        for group in self.adam.param_groups:
            group["lr"] = factor * self.adam_rate * group["share"]
        self.adam.step()
