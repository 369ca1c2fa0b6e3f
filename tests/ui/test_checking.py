"""The check of an answer in the app: forced guesses, counted; differences judged as `foredraft verify` does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foredraft.chats import ChatStore
from foredraft.chats.records import Message
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.context import Services
from foredraft.speculative.acceptance.match import Match
from foredraft.speculative.controllers import Adaptive
from foredraft.speculative.controllers.adaptive.costs import CostModel
from foredraft.speculative.drafters import ModelDrafter
from foredraft.ui.checking import answered_last, check, request_of
from foredraft.ui.generation import Generations
from foredraft.ui.hub import Hub
from tests.server import toy


def load(spec: LoadSpec, progress: Any) -> LLM:
    main = toy.engine()
    if spec.model == "alone":
        return LLM(main)
    draft = ModelDrafter(main.blurred(0.3), main.info.n_vocab)
    # a draft so dear that the controller would never ask it by itself
    return LLM(main, draft, Adaptive(CostModel({1: 1e-3, 2: 2e-3}, 1.0)))


@pytest.fixture
async def made():
    services = Services(Runtime(load), None)
    chats = ChatStore(None)
    generations = Generations(services, chats, Hub())
    yield generations, services, chats
    await generations.close()
    await services.runtime.close(0.0)
    chats.close()


async def answered(generations: Generations, services: Services, chats: ChatStore, model: str) -> Message:
    """The second answer of a chat with a system prompt."""
    await services.runtime.load(LoadSpec(model, id="toy"))
    chat = chats.create(settings={"seed": 5, "max_tokens": 40, "temperature": 0.8}, system_prompt="Be brief.")
    for text in ("One?", "Two?"):
        before = chats.messages(chat.id)
        asked = chats.add(chat.id, "user", text, parent=before[-1].id if before else None)
        written = generations.answer(chat.id, asked)
        assert written is not None
        async for _ in generations.stream(written, 0):
            pass
    answer = answered_last(chats.messages(chat.id))
    assert answer is not None
    return answer


async def test_the_answer_above_is_checked_with_forced_guesses_that_are_counted(made) -> None:
    generations, services, chats = made
    answer = await answered(generations, services, chats, "pair")
    request = request_of(generations, answer, "toy")
    assert [message["role"] for message in request.messages] == ["system", "user", "assistant", "user"]
    comparison = await check(services, request)
    assert comparison.plain.text == answer.text, "its history, settings and seed"
    assert comparison.verdict == "identical"
    assert comparison.drafted.stats.drafted > 0, "the controller alone would have guessed nothing"
    assert comparison.plain.stats.drafted == 0


async def test_where_nothing_was_guessed_nothing_was_checked(made) -> None:
    generations, services, chats = made
    answer = await answered(generations, services, chats, "alone")
    comparison = await check(services, request_of(generations, answer, "toy"))
    assert comparison.verdict == "unchecked"


async def test_a_defect_is_called_one_and_the_model_goes_on(made, monkeypatch: pytest.MonkeyPatch) -> None:
    generations, services, chats = made
    answer = await answered(generations, services, chats, "pair")
    honest = Match.accept

    def generous(self: Match, target: Any, proposal: Any) -> Any:
        verdict = honest(self, target, proposal)
        if verdict.kind == "corrected":
            verdict.token = proposal.tokens[verdict.accepted]  # the guess that failed stands all the same
        return verdict

    monkeypatch.setattr(Match, "accept", generous)
    comparison = await check(services, request_of(generations, answer, "toy"))
    assert comparison.verdict == "defect"
    assert comparison.difference is not None
    assert comparison.difference.margin > comparison.difference.bound
    monkeypatch.undo()
    again, beside = await asyncio.gather(*(check(services, request_of(generations, answer, "toy")) for _ in range(2)))
    assert again.verdict == beside.verdict == "identical"
