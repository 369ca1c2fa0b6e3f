"""Whose request it is: the name by which a conversation keeps to its own cached prefix (`scheduling/slots.py`).

OpenAI's clients say it in the body (`prompt_cache_key`), gateways in a header. It decides over nothing but the slot.
"""

from __future__ import annotations

import dataclasses

from pydantic import Field
from starlette.requests import Request

from foredraft.requests.generation_request import GenerationRequest
from foredraft.server.lenient import Schema

HEADERS = ("x-session-affinity", "x-session-id", "session-id")
"""The last is Codex's."""
LONGEST = 256
"""Characters that are told apart."""


class Session(Schema):
    """The fields of a body that name its session."""

    prompt_cache_key: str | None = Field(
        default=None, description="Name of the conversation: its requests keep to their own cached prefix."
    )
    session_id: str | int | None = Field(default=None, description="The same.")


def of_session(question: GenerationRequest, request: Request, body: Session | None = None) -> GenerationRequest:
    """The question with the name of its session: the body's, else a header's, else the one it has."""
    named = [body.prompt_cache_key, body.session_id] if body is not None else []
    for name in (*named, *map(request.headers.get, HEADERS)):
        if name not in (None, ""):
            return dataclasses.replace(question, session=str(name)[:LONGEST])
    return question
