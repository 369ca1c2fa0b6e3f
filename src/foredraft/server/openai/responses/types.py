"""Requests of /v1/responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from foredraft.server import limits
from foredraft.server.lenient import Lax, Most, Number, Schema, Whole, entries
from foredraft.server.schemas import DraftControl, Sampling
from foredraft.server.sessions import Session


class Part(Lax):
    type: str = "input_text"
    text: str | None = None
    refusal: str | None = None
    annotations: Any = None
    logprobs: Any = None


class Tool(Lax):
    """A function, a tool that takes plain text (custom), several under one name (namespace), or one that OpenAI's
    servers have."""

    type: str = "function"
    name: str = ""
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    tools: list[Tool] | None = None


class Item(Lax):
    """A message, thinking, a call of a tool, what a tool gave, or the name of an item that is kept."""

    type: str | None = None
    id: str | None = None
    status: Any = None
    role: Literal["system", "developer", "user", "assistant"] | None = None
    content: Annotated[str | list[Part] | None, limits.at_most(limits.PARTS, "input.content")] = None
    summary: Annotated[list[Part] | None, limits.at_most(limits.PARTS, "input.summary")] = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: Annotated[str | dict[str, Any] | None, limits.arguments("input.arguments")] = None
    input: str | None = None
    output: Annotated[str | list[Part] | None, limits.at_most(limits.PARTS, "input.output")] = None
    tools: Annotated[list[Tool] | None, limits.tools()] = None

    @property
    def kind(self) -> str:
        """Its type; clients leave that of messages out, and of references."""
        if self.type is not None:
            return self.type
        return "item_reference" if self.role is None and self.id is not None else "message"


class TextFormat(Schema):
    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    schema_: Annotated[dict[str, Any] | bool | None, limits.schema("text.format.schema")] = Field(
        default=None, alias="schema"
    )
    strict: bool | None = None


class TextSettings(Schema):
    format: TextFormat | None = None
    verbosity: str | None = None


class ReasoningSettings(Schema):
    effort: str | bool | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponsesRequest(Sampling, DraftControl, Session):
    model: str = ""
    input: Annotated[
        str | Annotated[list[Item], Field(min_length=1, fail_fast=True)],
        entries(Item, "input", content=Part, output=Part),
        limits.at_most(limits.MESSAGES, "input"),
    ]
    instructions: str | None = None
    previous_response_id: str | None = Field(default=None, description="The kept response that this one goes on from.")
    store: bool | None = Field(
        default=None, description="false keeps nothing. Otherwise it is kept where the server keeps responses."
    )
    stream: bool | None = False
    max_output_tokens: Most = None
    tools: Annotated[list[Tool] | None, limits.tools()] = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    max_tool_calls: Whole | None = Field(default=None, description="Counts the tools of the server: there are none.")
    text: TextSettings | None = None
    reasoning: ReasoningSettings | None = None
    truncation: Literal["auto", "disabled"] | None = "disabled"
    metadata: dict[str, str] | None = None
    ttl: Number | None = None
    include: list[str] | None = None
    top_logprobs: Whole | None = None
    background: bool | None = None
    service_tier: str | None = None
    user: str | None = None
    client_metadata: Any = None
    safety_identifier: str | None = None
    conversation: Any = Field(default=None, description="Refused: conversations are chains of responses here.")
    prompt: Any = Field(default=None, description="Refused: no prompts are kept here.")
