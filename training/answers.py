"""The main model's own answers, written through llama.cpp with many sequences in one pass.

The draft learns from these (it must guess what the main model says, right or wrong), and the
evaluation reads them. One engine pass decodes one token for every running sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foredraft.engines.base import Chunk, Logits
from foredraft.engines.llamacpp import LlamaCppEngine, LoadOptions


@dataclass(slots=True)
class Answer:
    """One finished answer: prompt and answer tokens, and whether it ended by itself."""

    prompt: list[int]
    tokens: list[int]
    ended: bool


@dataclass(slots=True)
class _Running:
    index: int
    prompt: list[int]
    tokens: list[int]
    rng: np.random.Generator


class Writer:
    """One model with ``slots`` sequences; answers come back in the order of the prompts."""

    def __init__(self, model: Path, slots: int = 32, threads: int = 1, context: int = 512) -> None:
        self.slots, self.context = slots, context
        self.engine = LlamaCppEngine(
            model,
            LoadOptions(
                n_ctx=slots * context,
                n_slots=slots,
                n_batch=2048,
                max_rows=slots * 2,
                n_threads=threads,
                n_threads_batch=threads,
                probe=False,
            ),
        )
        self.tokenizer = self.engine.tokenizer

    def close(self) -> None:
        self.engine.close()

    def answers(
        self, prompts: Iterable[list[int]], limit: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Answer]:
        """Answers of at most ``limit`` tokens; greedy at temperature 0, else sampled."""
        waiting: Iterator[tuple[int, list[int]]] = iter(enumerate(prompts))
        running: dict[int, _Running] = {}
        finished: dict[int, Answer] = {}
        more = True
        while more or running:
            chunks: list[Chunk] = []
            room = self.engine.info.n_batch - len(running)
            for slot, state in running.items():
                at = len(state.prompt) + len(state.tokens) - 1
                chunks.append(Chunk(slot, at, [state.tokens[-1]], 1))
            for slot in range(self.slots):
                if not more or slot in running:
                    continue
                item = next(waiting, None)
                if item is None:
                    more = False
                    break
                index, prompt = item
                rng = np.random.default_rng([seed, index])
                if self.engine.length(slot):
                    self.engine.rewind(slot, 0)
                running[slot] = _Running(index, prompt, [], rng)
                chunks.append(Chunk(slot, 0, prompt, 1))
                room -= len(prompt)
                if room < self.context:
                    break
            if not chunks:
                break
            for chunk, rows in zip(chunks, self.engine.forward(chunks), strict=True):
                state = running[chunk.slot]
                token = choose(rows[0], temperature, state.rng)
                ended = token in self.tokenizer.eog
                if not ended:
                    state.tokens.append(token)
                if ended or len(state.tokens) >= limit:
                    finished[state.index] = Answer(state.prompt, state.tokens, ended)
                    del running[chunk.slot]
        return [finished[i] for i in sorted(finished)]


def choose(logits: Logits, temperature: float, rng: np.random.Generator) -> int:
    """The most likely token, or one drawn at this temperature (Gumbel-max)."""
    if temperature == 0.0:
        return int(logits.argmax())
    noise = -np.log(rng.exponential(size=logits.shape[0]))
    return int((logits / temperature + noise).argmax())
