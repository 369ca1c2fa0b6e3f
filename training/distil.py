"""Rows for the draft's second phase: prompts of the corpus with the main model's own answers.

The answers are generated once and stored, which costs no more per token than the corpus does;
where the main model errs, the draft learns the error, for that is what it must guess.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tokenizers import Tokenizer

from . import corpus, data, tokenizer
from .answers import Writer
from .corpus import Document, Turn


def answered(
    main: Path, documents: Iterator[Document], count: int, threads: int = 1, limit: int = 200
) -> Iterator[Document]:
    """``count`` documents whose last answer is the main model's.

    Greedy for half of the batches, sampled at temperature 0.8 for the other half.
    """
    writer = Writer(main, slots=32, threads=threads)
    try:
        for number in range(0, count, 512):
            batch = list(islice(documents, min(512, count - number)))
            prompts = [writer.tokenizer.encode(tokenizer.render(d.turns[:-1], answer=True)) for d in batch]
            temperature = 0.0 if number // 512 % 2 == 0 else 0.8
            answers = writer.answers(prompts, limit, temperature, seed=number)
            for document, answer in zip(batch, answers, strict=True):
                text = b"".join(writer.tokenizer.piece(t) for t in answer.tokens)
                if answer.ended:
                    turns = (*document.turns[:-1], Turn("assistant", text.decode("utf-8", "replace")))
                    yield Document(document.category, document.language, turns)
    finally:
        writer.close()


def store(main: Path, vocabulary: Tokenizer, folder: Path, count: int, seed: int, threads: int = 1) -> int:
    """Pack the answers of ``count`` prompts into ``folder``; returns the number of rows.

    With each answer comes one fresh document of the corpus: there are far more steps than answers,
    and a draft that saw nothing but these would learn them by heart.
    """
    fresh = corpus.documents(seed + 1)

    def mixed() -> Iterator[Document]:
        for document in answered(main, corpus.documents(seed), count, threads):
            yield document
            yield next(fresh)

    return data.pack(vocabulary, mixed(), folder, 1 << 40)
