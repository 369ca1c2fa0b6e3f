"""Exact answers during training: teacher-forced, which equals greedy decoding and costs little.

If every token of the reference answer is the model's most likely one after the true prefix,
greedy decoding would have written exactly this answer, and the other way round.
"""

from __future__ import annotations

import torch
from tokenizers import Tokenizer

from . import corpus, data
from .model import Model


class Sheet:
    """Held-out prompts by category, encoded once."""

    def __init__(self, tokenizer: Tokenizer, count: int = 40, seed: int = 3) -> None:
        self.rows: list[tuple[str, list[int], list[int]]] = []
        for name in corpus.BUILDERS:
            documents = [d for d in corpus.prompts(seed, name, count) if not d.free]
            for document, (ids, marks) in zip(documents, data.encode(tokenizer, documents), strict=True):
                last = max(
                    i
                    for i, m in enumerate(marks)
                    if m == 1 and marks[i - 1] == 1 and i + 1 < len(marks) and marks[i + 1] == 2
                )
                only = [m if i > last else 0 for i, m in enumerate(marks)]
                self.rows.append((f"{name}/{document.kind.split()[0]}", ids, only))
        self.rows.sort(key=lambda row: len(row[1]))

    @torch.no_grad()
    def score(self, model: Model) -> dict[str, float]:
        """Share of exactly right answers, by builder and kind."""
        right: dict[str, list[bool]] = {}
        for start in range(0, len(self.rows), 16):
            rows = self.rows[start : start + 16]
            width = max(len(ids) for _, ids, _ in rows)
            tokens = torch.tensor([ids + [0] * (width - len(ids)) for _, ids, _ in rows])
            best = model.logits(model(tokens)).argmax(-1)
            for i, (name, ids, marks) in enumerate(rows):
                ok = all(int(best[i, t - 1]) == ids[t] for t in range(1, len(ids)) if marks[t] == 2)
                builder, kind = name.split("/")
                right.setdefault(builder, []).append(ok)
                if builder in ("sums", "copying", "structure", "follow-up", "system"):
                    right.setdefault(kind, []).append(ok)
        return {name: round(sum(v) / len(v), 3) for name, v in right.items()}
