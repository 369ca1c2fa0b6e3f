"""The steps of the sampler chain, each one formula.

They work on candidates: ids (int64) and logits (float64), both of shape (n,), sorted by falling logit, ties by rising
id. Sorted candidates make every truncation a cut of the tail. The order of the chain is that of llama.cpp's defaults
(`common_params_sampling`): penalties, top-k, top-p, min-p, temperature; bias comes first of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foredraft.core.params import SamplingParams

Ids = NDArray[np.int64]
Values = NDArray[np.float64]


def penalise(logits: Values, counts: Values, repeat: float, frequency: float, presence: float) -> Values:
    """Penalties on tokens that occurred `counts` ≥ 1 times in the window.

    l ← l / repeat if l > 0 else l · repeat (Keskar et al. 2019, CTRL, in the sign-safe form of llama.cpp);
    l ← l − counts · frequency − presence (OpenAI API reference).
    """
    if repeat != 1.0:
        logits = np.where(logits > 0.0, logits / repeat, logits * repeat)
    return logits - counts * frequency - presence


def sort(ids: Ids, logits: Values) -> tuple[Ids, Values]:
    """By falling logit, ties by rising id (`ids` must come in rising order: the sort is stable)."""
    order = (-logits).argsort(kind="stable")
    return ids[order], logits[order]


def top_k(logits: Values, k: int) -> int:
    """How many candidates remain of the k most likely (Fan et al. 2018)."""
    return min(k, len(logits))


def top_p(logits: Values, p: float, mass: float | None = None) -> int:
    """How many candidates make up the smallest set with probability ≥ p (Holtzman et al. 2020); at least one.

    `mass` is Σ exp(l − l₁) over all tokens where the candidates are only the likeliest of them."""
    total = np.exp(logits - logits[0]).cumsum()
    return min(int(total.searchsorted(p * (total[-1] if mass is None else mass))) + 1, len(logits))


def min_p(logits: Values, p: float) -> int:
    """How many candidates are at least p times as likely as the first (Nguyen et al. 2024): l ≥ l₁ + ln p."""
    return int((-logits).searchsorted(-(logits[0] + math.log(p)), side="right"))


@dataclass(frozen=True, slots=True)
class Truncation:
    """A step that cuts the tail of the candidates off."""

    active: Callable[[SamplingParams], bool]
    """Whether it can cut anything."""
    keep: Callable[[Values, SamplingParams, float | None], int]
    """How many of the sorted logits remain; the last argument is `top_p`'s mass."""


TRUNCATIONS: dict[str, Truncation] = {
    "top_k": Truncation(lambda asked: asked.top_k > 0, lambda logits, asked, _: top_k(logits, asked.top_k)),
    "top_p": Truncation(lambda asked: asked.top_p < 1.0, lambda logits, asked, mass: top_p(logits, asked.top_p, mass)),
    "min_p": Truncation(lambda asked: asked.min_p > 0.0, lambda logits, asked, _: min_p(logits, asked.min_p)),
}
"""In the order in which they work, each on what the one before has left. To add one, write it and add a line here, and
a parameter to `SamplingParams`."""


def truncate(logits: Values, params: SamplingParams, names: Iterable[str], mass: float | None = None) -> int:
    """How many of the sorted logits remain after the truncations of these names."""
    keep = len(logits)
    for name in names:
        keep = min(keep, TRUNCATIONS[name].keep(logits[:keep], params, mass))
    return keep


def temperature(logits: Values, best: float, t: float) -> Values:
    """(l − l₁) / T: relative to the best, so that no temperature is too small to divide by (1e-250 is as good as 0)."""
    scaled: Values = (logits - best) / max(t, 1e-250)
    return scaled
