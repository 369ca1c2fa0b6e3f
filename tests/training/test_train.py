"""The recipe end to end, in a few seconds: the loss falls, a stopped run goes on, the file loads and answers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the recipe needs the extra `training`")
pytest.importorskip("tokenizers", reason="the recipe needs the extra `training`")

from foredraft.engines.llamacpp import quantise
from training import answers, corpus, data, gguf_writer, tokenizer, train
from training.corpus import Turn
from training.model import Shape


def steps(folder: Path) -> int:
    import torch

    return int(torch.load(folder / "main.pt", weights_only=False)["step"])


def test_a_short_training_learns_resumes_and_exports(tmp_path: Path) -> None:
    vocabulary = tokenizer.train(1, tmp_path / "tokenizer.json", count=1500)
    rows = data.pack(vocabulary, islice(corpus.documents(2), 1200), tmp_path / "corpus", 1 << 30)
    assert rows > 100
    shape = Shape(vocab=vocabulary.get_vocab_size(), width=32, layers=1, heads=1, feed_forward=64, context=256)
    plan = train.Plan(str(tmp_path), "main", shape, 0.05, workers=1, rows=4, warmup=5, evaluate_every=0, compile=False)
    checkpoint = train.run(plan)
    first = steps(tmp_path)
    assert first > 3

    import torch
    from torch.nn import functional

    def loss(model: train.Model) -> float:
        tokens, _ = data.load(tmp_path / "corpus")
        batch = torch.from_numpy(tokens[:8].astype("int64"))
        with torch.no_grad():
            logits = model.logits(model(batch))[:, :-1]
        return float(functional.cross_entropy(logits.reshape(-1, shape.vocab), batch[:, 1:].reshape(-1)))

    torch.manual_seed(0)
    trained = train.restore(checkpoint)
    assert loss(trained) < loss(train.Model(shape)) - 0.3

    train.run(train.Plan(**{**{f: getattr(plan, f) for f in plan.__slots__}, "minutes": 0.07}))
    assert steps(tmp_path) > first  # went on from the checkpoint, and only for the minutes that were left

    full = gguf_writer.write(trained, vocabulary, tmp_path / "main.gguf", "test")
    writer = answers.Writer(quantise(full, tmp_path / "small.gguf", "q8_0"), slots=2, context=128)
    try:
        prompt = writer.tokenizer.encode(tokenizer.render([Turn("user", "What is 2 + 2?")], answer=True))
        one, two, three = writer.answers([prompt] * 3, 12)
    finally:
        writer.close()
    assert one.tokens == two.tokens == three.tokens
    assert len(one.tokens) == 12 or one.ended


def test_rows_hold_whole_documents(tmp_path: Path) -> None:
    vocabulary = tokenizer.train(1, tmp_path / "tokenizer.json", count=1500)
    data.pack(vocabulary, islice(corpus.documents(2), 500), tmp_path / "corpus", 1 << 30)
    tokens, marks = data.load(tmp_path / "corpus")
    bos, end, pad = (vocabulary.token_to_id(t) for t in (tokenizer.BOS, tokenizer.END, tokenizer.PAD))
    assert (tokens[:, 0] == bos).all()
    assert ((tokens == pad) == (marks == 0)).all()
    assert (marks == 2).mean() > 0.25
    # An answer's mark covers its end, which the model has to say.
    said_end = marks[tokens == end]
    assert {1, 2} == set(said_end.tolist())
