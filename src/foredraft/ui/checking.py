"""The check of one answer: written again without and with guesses, compared token by token, judged as `verify` does."""

from __future__ import annotations

import dataclasses

from foredraft.chats.records import Message
from foredraft.pair.llm import LLM
from foredraft.pair.verification import Comparison, Difference, first_difference, forced
from foredraft.requests.generation_request import GenerationRequest
from foredraft.runtime.managed_model import LoadedModel
from foredraft.sampling.sampler import Constraint
from foredraft.scheduling.request import Generation
from foredraft.server.context import Services
from foredraft.server.pipeline import Submitted, start
from foredraft.ui.generation import Generations

TOKENS = 200
"""Of an answer that is checked, at most."""
SEED = 7
"""Of a question that nobody has asked yet."""


def answered_last(messages: list[Message]) -> Message | None:
    """The last answer of a chat."""
    return next((message for message in reversed(messages) if message.role == "assistant"), None)


def request_of(generations: Generations, answer: Message, model_id: str) -> GenerationRequest:
    """What an answer was asked with: its history, settings and seed."""
    request = generations.request_of(answer, model_id)
    seed = answer.meta.get("seed", SEED)
    most = TOKENS if request.max_tokens is None else min(TOKENS, request.max_tokens)
    sampling = dataclasses.replace(request.sampling, seed=seed)
    return dataclasses.replace(request, sampling=sampling, max_tokens=most, continuation="")


async def check(services: Services, request: GenerationRequest) -> Comparison:
    """Both answers, beside whatever else is being written; where they differ, the model is wanted alone for the
    judgement. Raises what is wrong with the request."""
    guessing = dataclasses.replace(request, speculation=forced(request.speculation))
    without = dataclasses.replace(guessing, speculation=dataclasses.replace(guessing.speculation, enabled=False))
    plain, _ = await _written(services, without)
    drafted, submitted = await _written(services, guessing)
    if plain.tokens == drafted.tokens:
        return Comparison(plain, drafted, None)

    def judge(model: LoadedModel) -> Difference | None:
        tokenized = submitted.tokenized

        def constraint() -> Constraint | None:
            return model.constraint(guessing, tokenized) if isinstance(model, LLM) else None

        return first_difference(model, tokenized.request, plain, drafted, constraint)

    return Comparison(plain, drafted, await services.runtime.exclusive(submitted.model_id, judge))


async def _written(services: Services, request: GenerationRequest) -> tuple[Generation, Submitted]:
    submitted = await start(services, request)
    return await submitted.choices[0].running.result(), submitted
