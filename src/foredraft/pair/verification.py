"""Is the text really unchanged? The same answer with and without the draft, and a judgement of the first difference.

Greedy and seeded answers are equal token for token wherever the engine computes a batch of tokens exactly as it
computes them one by one. Where it does not (the probe says so, `engines/probe.py`), two tokens whose scores lie closer
together than the rounding can part: a *near-tie*. Any other difference is a defect of Foredraft.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from foredraft.core.params import Request, SpeculationParams
from foredraft.engines.base import Chunk
from foredraft.pair.llm import LLM
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.managed_model import LoadedModel
from foredraft.sampling import noise
from foredraft.sampling.sampler import Constraint, Sampler
from foredraft.scheduling.request import Generation

GUESSES = 7
"""Tokens guessed in every round of a check."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where the two texts part."""

    position: int
    """Index in the answer, in tokens."""
    plain_token: int
    draft_token: int
    plain_text: str
    draft_text: str
    margin: float
    """By how much the plain choice won over the other token, in logits, read one token at a time."""
    bound: float
    """What rounding may explain: twice the probe's largest difference (a prompt's pieces count, too), for two logits
    move against each other."""

    @property
    def near_tie(self) -> bool:
        return self.margin <= self.bound


@dataclass(frozen=True, slots=True)
class Comparison:
    """The two answers, and how they differ, if they do."""

    plain: Generation
    drafted: Generation
    difference: Difference | None

    @property
    def identical(self) -> bool:
        return self.difference is None

    @property
    def checked(self) -> bool:
        """Whether anything was guessed at all."""
        return self.drafted.stats.drafted > 0

    @property
    def verdict(self) -> str:
        """identical, near-tie, defect, or unchecked where nothing was guessed."""
        if self.difference is not None:
            return "near-tie" if self.difference.near_tie else "defect"
        return "identical" if self.checked else "unchecked"

    @property
    def sound(self) -> bool:
        """Identical, or parted at a near-tie."""
        return self.difference is None or self.difference.near_tie

    def as_dict(self) -> dict[str, Any]:
        """For `foredraft verify --json`."""
        d = self.difference
        return {
            "verdict": self.verdict,
            "identical": self.identical,
            "near_tie": d is not None and d.near_tie,
            "difference": None
            if d is None
            else {
                "position": d.position,
                "plain": {"token": d.plain_token, "text": d.plain_text},
                "drafted": {"token": d.draft_token, "text": d.draft_text},
                "margin": d.margin,
                "bound": d.bound,
            },
            "plain": self.plain.as_dict(),
            "drafted": self.drafted.as_dict(),
        }


def verify(llm: LLM, request: Request | GenerationRequest) -> Comparison:
    """Write the answer twice, without and with guesses in every round, and compare token for token.

    The guesses are forced (`GUESSES` a round unless the request says how many): a controller that pauses would compare
    plain decoding with itself. Where still nothing was guessed, `Comparison.checked` is false. A request without a seed
    gets the one that the plain run drew. Under the rules rejection and block only the law is the same, not the text, so
    they are compared under `match`.
    """
    speculation = forced(request.speculation)
    without = dataclasses.replace(request, speculation=dataclasses.replace(speculation, enabled=False))
    plain = llm.stream(without).result
    sampling = dataclasses.replace(request.sampling, seed=plain.seed)
    seeded = dataclasses.replace(request, sampling=sampling, speculation=speculation)
    drafted = llm.stream(seeded).result
    if isinstance(seeded, Request):
        return Comparison(plain, drafted, first_difference(llm, seeded, plain, drafted))
    tokenized = llm.prepare(seeded)
    constraint = partial(llm.constraint, seeded, tokenized)
    return Comparison(plain, drafted, first_difference(llm, tokenized.request, plain, drafted, constraint))


def forced(wanted: SpeculationParams) -> SpeculationParams:
    """With guesses in every round, and under the rule that leaves the text the same."""
    gamma = GUESSES if wanted.max_draft is None else wanted.max_draft
    return dataclasses.replace(wanted, enabled=True, acceptance="match", adapt=False, max_draft=gamma)


def first_difference(
    llm: LoadedModel,
    request: Request,
    plain: Generation,
    drafted: Generation,
    constraint: Callable[[], Constraint | None] = lambda: None,
) -> Difference | None:
    """Where two answers to one (seeded) request part, judged by reading the text anew; None when they are identical.
    Nothing may be running; slot 0 is left empty."""
    a, b = plain.tokens, drafted.tokens
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    if at == len(a) == len(b):
        return None
    exact = llm.numerics
    x, y = (a[at] if at < len(a) else -1), (b[at] if at < len(b) else -1)
    text = llm.engine.tokenizer.piece
    return Difference(
        position=at,
        plain_token=x,
        draft_token=y,
        plain_text=text(x, special=True).decode("utf-8", "replace") if x >= 0 else "",
        draft_text=text(y, special=True).decode("utf-8", "replace") if y >= 0 else "",
        margin=_margin(llm, request, a[:at], x, y, constraint) if x >= 0 and y >= 0 else float("inf"),
        bound=2.0 * exact.rounding if exact is not None else 0.0,
    )


def _margin(
    llm: LoadedModel, request: Request, answer: list[int], x: int, y: int, constraint: Callable[[], Constraint | None]
) -> float:
    """score(x) − score(y) after `answer`, in units of logits, read one token at a time as plain decoding does.

    inf when the truncation steps left only one of them: rounding moved the border, which is judged by the logits.
    """
    tokens = [*request.prompt, *answer]
    engine = llm.engine
    engine.rewind(0, 0)
    llm.scheduler.slots.note(0, [])
    batch = engine.info.n_batch
    head = request.prompt[:-1]
    for at in range(0, len(head), batch):
        engine.forward([Chunk(0, at, head[at : at + batch])])
    row = np.empty(0, dtype=np.float32)
    for at in range(len(head), len(tokens)):
        row = engine.forward([Chunk(0, at, tokens[at : at + 1], want=1)])[0][0]
    sampler = Sampler(request.sampling, request.prompt, n_vocab=engine.info.n_vocab, constraint=constraint())
    sampler.commit(answer)
    scale = 1.0
    if sampler.greedy:
        margin = float(row[x]) - float(row[y])
    else:
        ids, logits = sampler.candidates(row, (), len(tokens))
        scores = dict(zip(ids.tolist(), logits.tolist(), strict=True))
        g = noise.gumbel(noise.key(sampler.seed, noise.TARGET, len(tokens)), np.array([x, y], dtype=np.int64))
        scale = request.sampling.temperature
        if x in scores and y in scores:
            margin = (scores[x] + float(g[0])) - (scores[y] + float(g[1]))
        else:
            inside = x if x in scores else y
            border = min(logits)
            margin = (abs(float(row[y if inside == x else x]) / scale - border)) if len(logits) else float("inf")
    engine.rewind(0, 0)
    return abs(margin) * scale
