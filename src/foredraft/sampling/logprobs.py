"""Log probabilities of a row of logits: the model's own, ln softmax before bias, penalties and temperature."""

from __future__ import annotations

import math

import numpy as np

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.sampling import steps
from foredraft.sampling.search import Row, Scores


def logprobs(row: Row, token: int, top: int, position: int) -> tuple[float, list[tuple[int, float]]]:
    """(ln P(token), the `top` likeliest tokens with ln of theirs, falling, ties to the lower id; impossible ones are
    never among them). -inf for a token that cannot come.

    Raises `NonFiniteLogitsError` (with `position`) for a row with NaN or +inf, or without any possible token.
    """
    mass = log_mass(row, position)
    likeliest: list[tuple[int, float]] = []
    if top:
        ids, logits = steps.sort(*Scores(row).best(min(top, len(row)), position))
        likeliest = [(int(i), float(logit) - mass) for i, logit in zip(ids[:top], logits[:top], strict=True)]
    return float(row[token]) - mass, likeliest


def log_mass(row: Row, position: int) -> float:
    """ln Σ exp(logit), what softmax divides by. The terms are float32, as the logits are, their sum is float64: the
    error is below 1e-6. Raises as `logprobs` does."""
    best = row.max()  # NaN if any is
    if not -math.inf < best < math.inf:
        raise NonFiniteLogitsError(position)
    return float(best) + math.log(float(np.exp(row - best).sum(dtype=np.float64)))
