"""Tokens on disk: whole documents packed into rows of 256, with a mark for answers.

Two flat files: ``tokens.u16`` and ``marks.u8`` (0 padding, 1 prompt, 2 answer), both a multiple
of the row length. Every row begins with a document, so each document sees its own <|bos|>.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .corpus import Document
from .tokenizer import BOS, PAD, segments

ROW = 256


def encode(tokenizer: Tokenizer, documents: Iterable[Document]) -> Iterator[tuple[list[int], list[int]]]:
    """(tokens, marks) of each document, <|bos|> first. Encoded in batches, which uses all cores.

    A document is encoded in one piece, as llama.cpp will do it; marks come from offsets.
    """
    bos = int(tokenizer.token_to_id(BOS) or 0)
    source = iter(documents)
    while batch := list(islice(source, 2000)):
        split = [segments(d) for d in batch]
        encodings = tokenizer.encode_batch(["".join(t for t, _ in s) for s in split], add_special_tokens=False)
        for pieces, encoding in zip(split, encodings, strict=True):
            marks: list[int] = []
            borders: list[tuple[int, int]] = []
            end = 0
            for text, said in pieces:
                end += len(text)
                borders.append((end, 2 if said else 1))
            i = 0
            for start, _ in encoding.offsets:
                while start >= borders[i][0]:
                    i += 1
                marks.append(borders[i][1])
            yield [bos, *encoding.ids], [1, *marks]


def pack(tokenizer: Tokenizer, documents: Iterable[Document], folder: Path, count: int) -> int:
    """Write about ``count`` tokens of packed rows into ``folder``; returns the number of rows."""
    folder.mkdir(parents=True, exist_ok=True)
    pad = tokenizer.token_to_id(PAD)
    open_rows: list[tuple[list[int], list[int]]] = []
    rows = 0
    with (folder / "tokens.u16").open("wb") as tokens, (folder / "marks.u8").open("wb") as marks:

        def close(row: tuple[list[int], list[int]]) -> None:
            nonlocal rows
            missing = ROW - len(row[0])
            tokens.write(np.array(row[0] + [pad] * missing, np.uint16).tobytes())
            marks.write(np.array(row[1] + [0] * missing, np.uint8).tobytes())
            rows += 1

        for ids, kinds in encode(tokenizer, documents):
            if len(ids) > ROW:
                continue
            # First open row with room; a few open rows keep the waste at some two percent.
            for row in open_rows:
                if len(row[0]) + len(ids) <= ROW:
                    row[0].extend(ids)
                    row[1].extend(kinds)
                    break
            else:
                open_rows.append((list(ids), list(kinds)))
                if len(open_rows) > 24:
                    fullest = max(range(len(open_rows)), key=lambda i: len(open_rows[i][0]))
                    close(open_rows.pop(fullest))
            if rows * ROW >= count:
                break
        for row in open_rows:
            close(row)
    return rows


def load(folder: Path) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """Tokens and marks, each (rows, 256), mapped and not read."""
    tokens = np.memmap(folder / "tokens.u16", np.uint16, "r").reshape(-1, ROW)
    marks = np.memmap(folder / "marks.u8", np.uint8, "r").reshape(-1, ROW)
    return tokens, marks


def copy_rows(
    rng: np.random.Generator, rows: int, newline: int, first: int, text: NDArray[np.uint16]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Rows of shuffled tokens in runs that are said again; only the repetitions count.

    In-context copying is the gate to sums, JSON and replacing: without such rows it takes a small
    model very long to find it. The tokens are those of a ``text`` row without the special ones
    (below ``first``), each once, in no order: nothing but copying can tell what comes next.
    Drawing from all tokens instead was tried first: after 3 million tokens nothing was learnt from
    it (most of them are rare, so input and output of a token do not know each other yet), and its
    large loss made all other gradients noisy. Half repeat a run once, half until the row is full.
    """
    tokens = np.full((rows, ROW), newline, np.int64)
    marks = np.zeros((rows, ROW), np.uint8)
    for r in range(rows):
        known = np.unique(text[rng.integers(len(text))]).astype(np.int64)
        known = known[known >= first]
        often = rng.random() < 0.5
        at = 0
        while at < ROW - 12:
            longest = 40 if often else min(60, (ROW - at) // 2 - 1)
            length = min(int(rng.integers(4, longest + 1)), len(known))
            run = rng.permutation(known)[:length]
            tokens[r, at : at + length] = run[: ROW - at]
            at += length + 1
            for _ in range(ROW // (length + 1) if often else 1):
                end = min(ROW, at + length)
                if end > at:
                    tokens[r, at:end] = run[: end - at]
                    marks[r, at:end] = 2
                at += length + 1
    return tokens, marks
