"""A draft that is too sharp or too flat finds its temperature, and the text keeps its law."""

from __future__ import annotations

import numpy as np
import pytest

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.toy import ToyEngine
from foredraft.sampling.distribution import Distribution
from foredraft.sampling.sampler import Sampler
from foredraft.speculative.controllers import Fixed
from foredraft.speculative.drafters import ModelDrafter
from foredraft.speculative.drafters.temperature import GRID, DraftTemperature
from tests.speculative.stage import start, write

PARAMS = SamplingParams(temperature=0.8, top_k=0, top_p=0.97, min_p=0.0, seed=1)


def test_a_power_of_the_law_is_the_law_at_another_temperature() -> None:
    rng = np.random.default_rng(0)
    row = rng.normal(0, 3, 40).astype(np.float32)
    at = {factor: Sampler(PARAMS).law(row, [], 0, 0.8 * float(factor)) for factor in GRID}
    p = Sampler(PARAMS).law(rng.normal(0, 3, 40).astype(np.float32), [], 0)
    learned = DraftTemperature()
    learned.learn(0.8, p, at[1.0])
    assert learned._kept[0.8][:-1] == pytest.approx([p.overlap(q) for q in at.values()], abs=1e-12)


@pytest.mark.parametrize(("sharpness", "moves"), [(0.5, "down"), (1.0, "not"), (2.0, "up")])
@pytest.mark.parametrize("acceptance", ["rejection", "block"])
def test_the_draft_finds_its_temperature(sharpness: float, moves: str, acceptance: str) -> None:
    """The draft's logits are the target's times a factor, which is what another temperature undoes."""
    target = ToyEngine.random(4, n_vocab=12, sharpness=1.5, n_ctx=900)

    def law(context: tuple[int, ...]) -> np.ndarray:
        powers = target.law(context) ** sharpness
        return powers / powers.sum()

    drafter = ModelDrafter(ToyEngine(law, target.tokenizer, order=2, n_ctx=900), 12)
    request = Request((0, 2), PARAMS, SpeculationParams(acceptance=acceptance), max_tokens=800, ignore_eos=True)
    write(target, drafter, Fixed(2), start(target, request))
    factor = drafter.temperature.factor(0.8)
    assert {"down": factor < 0.8, "not": factor == 1.0, "up": factor > 1.3}[moves]


def test_overlap_of_laws_on_different_supports() -> None:
    p = Distribution(np.array([5, 1, 3]), np.array([0.5, 0.3, 0.2]))
    q = Distribution(np.array([3, 7]), np.array([0.6, 0.4]))
    assert p.probs_of(np.array([1, 2, 3, 9])).tolist() == [0.3, 0.0, 0.2, 0.0]
    assert p.overlap(q) == q.overlap(p) == pytest.approx(0.2)
