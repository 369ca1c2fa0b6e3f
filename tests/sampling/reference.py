"""The sampler chain once more, slowly: whole vocabulary, plain Python, no line shared with the product."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from foredraft.core.params import SamplingParams


def changed(
    row: Sequence[float], params: SamplingParams, text: Sequence[int], mask: Sequence[bool] | None = None
) -> list[float]:
    """Mask, bias and penalties; `text` is everything before the position, drafted prefix included."""
    logits = [float(x) for x in row]
    if mask is not None:
        logits = [x if ok else -math.inf for x, ok in zip(logits, mask, strict=True)]
    for token, bias in params.logit_bias.items():
        logits[token] += bias
    last = params.penalty_last_n
    window = list(text) if last < 0 else list(text)[max(0, len(text) - last) :]
    for token in set(window):
        if token >= len(logits):
            continue
        x = logits[token]
        x = x / params.repeat_penalty if x > 0 else x * params.repeat_penalty
        logits[token] = x - window.count(token) * params.frequency_penalty - params.presence_penalty
    return logits


def law(
    row: Sequence[float],
    params: SamplingParams,
    text: Sequence[int],
    mask: Sequence[bool] | None = None,
    *,
    slack: float = 0.0,
) -> list[float]:
    """P of every token. `slack` moves the borders of top-p and min-p by that share, for cases on the edge."""
    logits = changed(row, params, text, mask)
    order = sorted((t for t, x in enumerate(logits) if x > -math.inf), key=lambda t: (-logits[t], t))
    if params.temperature == 0.0:
        return [1.0 if t == order[0] else 0.0 for t in range(len(logits))]
    if params.top_k > 0:
        order = order[: params.top_k]
    weight = {t: math.exp(logits[t] - logits[order[0]]) for t in order}
    if params.top_p < 1.0:
        goal = params.top_p * math.fsum(weight.values()) * (1.0 + slack)
        below = [sum_before for sum_before in accumulate((weight[t] for t in order), initial=0.0) if sum_before < goal]
        order = order[: max(1, len(below))]
    if params.min_p > 0.0:
        order = [t for t in order if weight[t] >= min(params.min_p * (1.0 + slack), 1.0)]
    best = logits[order[0]]
    final = {t: math.exp((logits[t] - best) / params.temperature) for t in order}
    total = math.fsum(final.values())
    return [final.get(t, 0.0) / total for t in range(len(logits))]
