"""Counting and embedding with the library, as a user calls it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from foredraft import LLM, Embedder, LoadSettings
from foredraft.core.errors import ClosedError, ModelNotFoundError, ParameterError, UnsupportedModelError
from foredraft.runtime.errors import TextTooLongError
from tests import tiny_gguf
from tests.server.toy import ToyEmbedding

QUICK = LoadSettings(controller="fixed", fixed_look_ahead=2, probe=False, remember=False)
TEXTS = ["a cat", "the cat and the dog", "b"]


def test_counts_are_those_of_the_prompts() -> None:
    with LLM.load(settings=QUICK) as llm:
        text = "What is 2 + 3? 二次方程式 🙂"
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
        assert llm.count(text) == llm.generate(text, max_tokens=1).stats.prompt_tokens == len(llm.tokenize(text))
        assert llm.count(messages) == llm.chat(messages, max_tokens=1).result.stats.prompt_tokens
        assert llm.count([messages[1]]) == llm.chat(text, max_tokens=1).result.stats.prompt_tokens
        assert llm.detokenize(llm.tokenize(text, add_special=False)) == text
        rendered = llm.render(messages)
        names = llm.tokenize(rendered, add_special=False)
        assert llm.detokenize(names) == rendered
        assert len(llm.tokenize(rendered, add_special=False, parse_special=False)) > len(names)
        with pytest.raises(ParameterError, match="tokens"):
            llm.detokenize([10**7])
    for door in (lambda: llm.tokenize("x"), lambda: llm.detokenize([1]), lambda: llm.count("x")):
        with pytest.raises(ClosedError):
            door()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_gguf.bert(tmp_path_factory.mktemp("bert") / "tiny-embed.gguf")


def test_texts_become_vectors(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with Embedder.load(bert, progress=lambda what, _: told.append(what)) as embedder:
        vectors = embedder.embed(TEXTS)
        assert vectors.shape == (3, embedder.dimensions) == (3, 32)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
        one = embedder.embed(TEXTS[1])
        assert one.shape == (32,)
        assert one == pytest.approx(vectors[1], abs=1e-5)
        assert embedder.embed([embedder.tokenize(TEXTS[1])])[0] == pytest.approx(vectors[1], abs=1e-5)
        assert embedder.embed([]).shape == (0, 32)
        assert embedder.count(TEXTS[0]) == len(embedder.tokenize(TEXTS[0])) > 2
        assert repr(embedder) == f"Embedder({embedder.info.name} F32, 32 dimensions, texts of up to 128 tokens)"
        with pytest.raises(TextTooLongError, match="Text number 1"):
            embedder.embed(["a cat", "cat " * 200])
        with pytest.raises(ParameterError, match=r"input\.0"):
            embedder.embed([""])
    assert set(told) == {"main"}
    assert "closed" in repr(embedder)
    embedder.close()
    for door in (lambda: embedder.embed("x"), lambda: embedder.tokenize("x"), lambda: embedder.count("x")):
        with pytest.raises(ClosedError, match="has been closed"):
            door()
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(bert.parent))
    with Embedder.load("tiny-embed") as named:
        assert named.embed(TEXTS) == pytest.approx(vectors, abs=1e-5)


def test_threads_take_turns_at_embedding() -> None:
    with Embedder(ToyEmbedding()) as embedder:
        texts = [[f"text {i} {j}" for j in range(40)] for i in range(8)]
        alone = [embedder.embed(some) for some in texts]
        gate = threading.Barrier(8)

        def embed(some: list[str]) -> np.ndarray:
            gate.wait(20)
            return embedder.embed(some)

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(embed, texts))
        assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_models_of_the_other_kind_are_refused_with_the_way_to_go(
    bert: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnsupportedModelError, match="embedding model"):
        Embedder.load(tiny_llama)
    with pytest.raises(ModelNotFoundError):
        Embedder.load("no-such-model", download=False)
    monkeypatch.setenv("FOREDRAFT_MODELS__FOLDERS", str(bert.parent))
    with pytest.raises(UnsupportedModelError, match=r"foredraft\.Embedder"):
        LLM.load("tiny-embed", None)
