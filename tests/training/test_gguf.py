"""The GGUF file computes what the torch model computes, and cuts text as the tokenizer does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foredraft.engines.base import Chunk
from foredraft.engines.llamacpp import LlamaCppEngine, LlamaTokenizer, LoadOptions

torch = pytest.importorskip("torch", reason="the recipe needs the extra `training`")
pytest.importorskip("tokenizers", reason="the recipe needs the extra `training`")

from training import corpus, gguf_writer, tokenizer  # noqa: E402 - after the skips
from training.model import Model, Shape  # noqa: E402

MIXED = (
    "Hello  world\n\n 12345 don't",
    "二次方程式の公式は何ですか? ｘ＝１２３",
    "😀👩‍👩‍👧 naïve Ünïcödé",
    "a\r\nb\tc   d\n",
    "३४५ ٣٤٥ ４５６",
    "한국어와 Ελληνικά и русский",
    "x = (-b ± √(b² - 4ac)) / (2a)",
    "```python\ndef f(a, b):\n    return a+b\n```",
    '{"name": "花子", "age": 35}',
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object, Model]:
    """A random model with a tokenizer trained on a few documents."""
    folder = tmp_path_factory.mktemp("gguf")
    vocabulary = tokenizer.train(1, folder / "tokenizer.json", count=2500)
    torch.manual_seed(3)
    shape = Shape(vocab=vocabulary.get_vocab_size(), width=96, layers=2, heads=3, feed_forward=128, context=256)
    model = Model(shape).eval()
    for parameter in model.parameters():  # norms other than one, weights large enough to tell positions apart
        if parameter.dim() == 1:
            parameter.data.uniform_(0.5, 1.5)
        else:
            parameter.data *= 2
    path = gguf_writer.write(model, vocabulary, folder / "model.gguf", "test")
    return path, vocabulary, model


def test_logits_equal_the_torch_models(files: tuple[Path, object, Model]) -> None:
    path, _, model = files
    text = "<|user|>\nWhat is 12 + 34?<|end|>\n<|assistant|>\n12 + 34 = 40 + 6 = 46<|end|>\n"
    options = LoadOptions(n_ctx=256, n_threads=1, kv_type="f32", flash_attention="off", probe=False)
    engine = LlamaCppEngine(path, options)
    try:
        ids = engine.tokenizer.encode(text)
        rows = engine.forward([Chunk(0, 0, ids, len(ids))])[0].copy()
    finally:
        engine.close()
    with torch.no_grad():
        ours = model.logits(model(torch.tensor([ids])))[0].numpy()
    assert ours.std() > 0.5  # a model that says nothing would pass anything
    assert np.abs(rows - ours).max() < 1e-3


def test_text_is_cut_alike(files: tuple[Path, object, Model]) -> None:
    path, vocabulary, _ = files
    documents = [t.text for name in corpus.BUILDERS for d in corpus.prompts(1, name, 12) for t in d.turns]
    with LlamaTokenizer.from_file(path) as theirs:
        for text in [*MIXED, *documents]:
            assert theirs.encode(text, add_special=False) == vocabulary.encode(text, add_special_tokens=False).ids


def test_bos_comes_once_and_the_end_ends(files: tuple[Path, object, Model]) -> None:
    path, vocabulary, _ = files
    with LlamaTokenizer.from_file(path) as theirs:
        ids = theirs.encode("<|user|>\nHi<|end|>\n<|assistant|>\n")
        assert ids[0] == theirs.bos == vocabulary.token_to_id(tokenizer.BOS)
        assert ids.count(ids[0]) == 1
        assert vocabulary.token_to_id(tokenizer.END) in theirs.eog
