"""Chats that go on: LM Studio's `previous_response_id`, `store` and `response_id` over the kept responses."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from foredraft.chats.responses import Kept
from foredraft.formats.response_parser import ResponseParser
from foredraft.requests.generation_request import GenerationRequest
from foredraft.server.answers import as_message
from foredraft.server.kept import Responses
from foredraft.server.lmstudio.schemas import ChatRequest


@dataclass(frozen=True, slots=True)
class Turn:
    """One request of a chat."""

    question: GenerationRequest
    id: str
    previous: str | None
    messages: list[dict[str, Any]]
    """Of this request alone."""
    kept: Responses | None
    """None: it is not to be kept."""

    async def keep(self, result: dict[str, Any], reader: ResponseParser) -> dict[str, Any]:
        """The result with its `response_id`, where it is kept; else without, and why."""
        if self.kept is None:
            return result
        messages = [*self.messages, as_message(reader)]
        said = result | {"response_id": self.id}
        kept, problem = await self.kept.keep(Kept(self.id, self.previous, messages, said, []))
        if problem:
            warnings = [*result.get("warnings", ()), problem]
            result, said = result | {"warnings": warnings}, said | {"warnings": warnings}
        return said if kept else result


async def going_on(body: ChatRequest, question: GenerationRequest, kept: Responses) -> Turn:
    """The request with the conversation that it goes on from. A `system_prompt` holds for the rest of the conversation.
    Raises what is wrong with `previous_response_id`."""
    first, before = "", list[dict[str, Any]]()
    if body.previous_response_id is not None:
        first, before = await kept.conversation(body.previous_response_id)
    messages = [dict(message) for message in question.messages or ()]
    response_id = kept.new_id()
    question = dataclasses.replace(
        question,
        messages=_one_system([*before, *messages]),
        session=question.session or first or response_id,
    )
    store = body.store and kept.enabled
    return Turn(question, response_id, body.previous_response_id, messages, kept if store else None)


def _one_system(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation under its last system prompt."""
    prompts = [message for message in messages if message["role"] == "system"]
    return [*prompts[-1:], *(message for message in messages if message["role"] != "system")]
