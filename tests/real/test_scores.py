"""Log probabilities of a text's tokens on trained files, against llama.cpp's own logits of the same file."""

from __future__ import annotations

import numpy as np
import pytest

from foredraft.config.load_settings import LoadSettings
from foredraft.pair.llm import LLM
from tests.real.conftest import RealFile

pytestmark = pytest.mark.real

TEXT = (
    "The old lighthouse keeper climbed the stairs every evening, lit the lamp, and wrote the weather into his book. "
    "def mean(values):\n    return sum(values) / len(values)\n"
    "昨日は朝から雨が降っていたので、駅まで傘をさして歩きました。 "
) * 3


def by_llama_cpp(path: str, tokens: list[int], n_batch: int) -> np.ndarray:
    """ln softmax, in float64, of the library's logits, by the `Llama` class of llama-cpp-python."""
    import llama_cpp

    model = llama_cpp.Llama(path, n_ctx=1024, n_batch=n_batch, flash_attn=True, logits_all=True, verbose=False)
    model.eval(tokens[:-1])
    logits = np.array(model.scores[: len(tokens) - 1], dtype=np.float64)
    model.close()
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return np.array([row[token] for row, token in zip(logits, tokens[1:], strict=True)])


@pytest.mark.parametrize("name", ["smollm2", "qwen-0.5b"])
def test_scores_are_llama_cpps(real_file: RealFile, name: str) -> None:
    """In passes of the same sizes, and with the same way to attend. With others a quantised file's own rounding moves
    single tokens by up to half a nat, in the library as here."""
    path = real_file(name)
    with LLM.load(path, "off", settings=LoadSettings(context=1024, numerics="fast", probe=False)) as llm:
        tokens = llm.engine.tokenizer.encode(TEXT)
        scored = llm.score(tokens, top=2)
        assert llm.score(TEXT, top=2) == scored  # whatever the cache holds
        rows = llm.info.max_rows
    assert rows is not None
    assert len(tokens) > rows
    ours, theirs = np.array([token.chosen.logprob for token in scored]), by_llama_cpp(str(path), tokens, rows)
    print(f"{name}: {len(ours)} tokens, largest difference {np.abs(ours - theirs).max():.2g}, sum {ours.sum():.4f}")
    assert np.abs(ours - theirs).max() < 1e-3
    assert all(token.top[0].logprob >= token.chosen.logprob for token in scored)
