"""One answer on toy models, written with the real loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from foredraft.core.params import Request, SamplingParams, SpeculationParams
from foredraft.engines.base import Chunk, Engine
from foredraft.engines.toy import ToyEngine
from foredraft.sampling.sampler import Constraint, Sampler
from foredraft.speculative.acceptance import RULES, AcceptanceRule
from foredraft.speculative.controllers import DraftController, Fixed
from foredraft.speculative.drafters import DRAFTERS, Arbiter, Drafter, ModelDrafter
from foredraft.speculative.round import run_round
from foredraft.speculative.sequence import RunningSequence
from tests.sampling import reference

PROMPT = (0, 1)

Text = tuple[int, ...]
Mask = Callable[[Text], Sequence[bool]]


def start(
    target: Engine,
    request: Request,
    *,
    slot: int = 0,
    rule: AcceptanceRule | None = None,
    constraint: Constraint | None = None,
    n_ctx: int | None = None,
) -> RunningSequence:
    """A sequence whose prompt the target has read but for the last token."""
    target.rewind(slot, 0)
    prompt, batch = request.prompt[:-1], target.info.n_batch
    for at in range(0, len(prompt), batch):
        target.forward([Chunk(slot, at, prompt[at : at + batch])])
    return RunningSequence(
        request,
        slot,
        Sampler(request.sampling, request.prompt, n_vocab=target.info.n_vocab, constraint=constraint),
        rule=rule or RULES[request.speculation.acceptance](),
        eog=target.tokenizer.eog,
        n_ctx=n_ctx or target.info.n_ctx,
        n_read=len(request.prompt) - 1,
    )


def write(
    target: Engine, drafter: Drafter, controller: DraftController, sequence: RunningSequence, rounds: int | None = None
) -> Text:
    """Rounds until the answer ends, or so many; returns the answer."""
    while not sequence.done and rounds != 0:
        run_round([sequence], target, drafter, controller, clock=getattr(target, "clock", time.perf_counter))
        assert target.length(sequence.slot) == sequence.n_read == len(sequence.tokens) - 1
        rounds = None if rounds is None else rounds - 1
    drafter.forget(sequence.slot)
    return tuple(sequence.tokens[sequence.n_prompt :])


def rounds_of_a_pair(
    target: ToyEngine,
    draft: ToyEngine,
    acceptance: str,
    params: SamplingParams,
    *,
    gamma: int = 2,
    rounds: int = 1,
    controller: Callable[[], DraftController] | None = None,
    rule: AcceptanceRule | None = None,
    constraint: Constraint | None = None,
    finders: Sequence[str] = (),
    **speculation: Any,
) -> Text:
    """What a round or more with a draft model emit, beside it the named sources that find their guesses."""
    request = Request(PROMPT, params, SpeculationParams(acceptance=acceptance, **speculation), prediction=(1, 0, 0, 1))
    draft.rewind(0, 0)
    drafter: Drafter = ModelDrafter(draft, target.info.n_vocab)
    if finders:
        drafter = Arbiter([*(DRAFTERS[name]() for name in finders), drafter])
    sequence = start(target, request, rule=rule, constraint=constraint)
    return write(target, drafter, controller() if controller else Fixed(gamma), sequence, rounds)


def plain_law(target: ToyEngine, params: SamplingParams, answer: Text, mask: Mask | None = None) -> list[float]:
    """The law of the next token in plain decoding, from the slow reference."""
    text = (*PROMPT, *answer)
    return reference.law(target.logits(text).tolist(), params, text, mask and mask(answer))


def completed(
    law: dict[Text, float], target: ToyEngine, params: SamplingParams, length: int, mask: Mask | None = None
) -> dict[Text, float]:
    """The law of the first `length` tokens, when plain decoding goes on behind each of these beginnings."""
    result: dict[Text, float] = {}
    for text, probability in law.items():
        if len(text) >= length or set(text) & target.tokenizer.eog:
            result[text[:length]] = result.get(text[:length], 0.0) + probability
            continue
        longer = {
            (*text, token): probability * p for token, p in enumerate(plain_law(target, params, text, mask)) if p > 0.0
        }
        for whole, mass in completed(longer, target, params, length, mask).items():
            result[whole] = result.get(whole, 0.0) + mass
    return result


def largest_error(a: dict[Text, float], b: dict[Text, float]) -> float:
    return max(abs(a.get(text, 0.0) - b.get(text, 0.0)) for text in a.keys() | b.keys())
