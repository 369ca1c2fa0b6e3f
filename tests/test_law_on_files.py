"""The law on trained weights: every token of a speculative answer is a sample of what plain decoding would sample from.

For each token take F = (mass of the likelier tokens) + w · p(token), w uniform, under the law of an independent pass
token by token through the slow reference sampler. These F are independent and uniform if, and only if,
the text follows the law: a Kolmogorov–Smirnov test and the correlation of neighbours tell (bounds: p < 1e-6).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import ModelDrafter
from tests.sampling import reference
from tests.speculative.stage import start, write

ANSWERS, LENGTH = 15, 40


@pytest.fixture(scope="module")
def pair(story_pair: tuple[Path, Path]) -> tuple[Engine, Engine]:
    options = LoadOptions(n_ctx=128, n_threads=1, kv_type="f32", probe=False)
    return LlamaCppEngine(story_pair[0], options), LlamaCppEngine(story_pair[1], options)


def places(target: Engine, request: Request, answer: tuple[int, ...], params: SamplingParams) -> list[float]:
    """F of each token of an answer, under the law of `params`."""
    rng = np.random.default_rng(request.sampling.seed)
    target.rewind(0, 0)
    text = list(request.prompt)
    result = []
    target.forward([Chunk(0, 0, text[:-1])])
    for token in answer:
        row = target.forward([Chunk(0, len(text) - 1, [text[-1]], want=1)])[0][0]
        law = reference.law(row.tolist(), params, text)
        result.append(math.fsum(p for p in law if p > law[token]) + rng.random() * law[token])
        text.append(token)
    return result


def distance_from_uniform(values: list[float]) -> float:
    """Kolmogorov–Smirnov: √n · sup |empirical − uniform|; above 2.7 with probability 1e-6."""
    n = len(values)
    ordered = np.sort(values)
    steps = np.arange(1, n + 1) / n
    return math.sqrt(n) * float(np.maximum(steps - ordered, ordered - steps + 1 / n).max())


PENALISED = {"temperature": 1.1, "repeat_penalty": 1.3, "frequency_penalty": 0.2, "top_k": 0}


@pytest.mark.parametrize(
    ("rule", "settings"), [("match", {"temperature": 0.9}), ("rejection", PENALISED), ("block", PENALISED)]
)
def test_answers_follow_the_law(pair: tuple[Engine, Engine], rule: str, settings: dict[str, float]) -> None:
    target, draft = pair
    found: list[float] = []
    wrong: list[float] = []
    for seed in range(ANSWERS):
        params = SamplingParams(seed=seed, **settings)
        prompt = target.tokenizer.encode(("Once upon a time", "The dog", "Tom and Lily")[seed % 3])
        request = Request(tuple(prompt), params, SpeculationParams(acceptance=rule), max_tokens=LENGTH, ignore_eos=True)
        draft.rewind(0, 0)
        sequence = start(target, request)
        answer = write(target, ModelDrafter(draft, target.info.n_vocab), Fixed(1 + seed % 5), sequence)
        assert sequence.stats.accepted > 0
        found += places(target, request, answer, params)
        if rule == "match":
            hotter = SamplingParams(**{**settings, "temperature": settings["temperature"] + 0.5})
            wrong += places(target, request, answer, hotter)
    assert distance_from_uniform(found) < 2.7
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 5 / math.sqrt(len(found))
    if wrong:  # the measure sees a law that is a little off
        assert distance_from_uniform(wrong) > distance_from_uniform(found)
