"""ln softmax of a row, against float64."""

import math

import numpy as np
import pytest

from foredraft.core.errors import NonFiniteLogitsError
from foredraft.sampling.logprobs import logprobs


@pytest.mark.parametrize("n_vocab", [3, 600, 50_000])
@pytest.mark.parametrize("top", [0, 1, 5])
def test_they_are_ln_softmax(n_vocab: int, top: int) -> None:
    row = np.random.default_rng(n_vocab).normal(0, 6, n_vocab).astype(np.float32)
    wide = row.astype(np.float64)
    right = wide - wide.max() - math.log(np.exp(wide - wide.max()).sum())
    chosen, likeliest = logprobs(row, 2, top, 7)
    assert chosen == pytest.approx(right[2], abs=1e-6)
    best = (-right).argsort(kind="stable")[:top]
    assert [token for token, _ in likeliest] == best.tolist()
    assert [logprob for _, logprob in likeliest] == pytest.approx(right[best], abs=1e-6)


def test_ties_go_to_the_lower_id_and_the_impossible_is_never_likely() -> None:
    row = np.array([1.0, -np.inf, 1.0, 0.0], dtype=np.float32)
    chosen, likeliest = logprobs(row, 1, 4, 0)
    assert chosen == -math.inf
    assert [token for token, _ in likeliest] == [0, 2, 3]
    assert logprobs(row, 0, 1, 0)[0] == likeliest[0][1]  # the same number, bit by bit: clients compare them


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_broken_rows_are_refused_by_position(bad: float) -> None:
    row = np.array([0.0, bad, 1.0], dtype=np.float32)
    with pytest.raises(NonFiniteLogitsError, match="7"):
        logprobs(row, 0, 0, 7)
