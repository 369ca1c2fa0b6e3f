"""Requests of Anthropic's Messages API, with our own additions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from foredraft.server import limits
from foredraft.server.lenient import Lax, Schema, Whole, entries
from foredraft.server.schemas import DraftControl, Sampling


class Block(Lax):
    """One part of a message: its `type` says which of the fields count."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] | None = None
    tool_use_id: str = ""
    content: Annotated[str | list[Block] | dict[str, Any] | None, limits.at_most(limits.PARTS, "messages.content")] = (
        None
    )
    source: dict[str, Any] | str | None = None
    title: str | None = None
    context: Any = None
    is_error: Any = None
    citations: Any = None
    signature: Any = None
    data: Any = None
    cache_control: Any = Field(default=None, description="Nothing to do: the prompt cache works by itself.")


Content = Annotated[str | list[Block], limits.at_most(limits.PARTS, "messages.content")]


class Message(Lax):
    role: Literal["user", "assistant", "system"]
    content: Content


class Tool(Lax):
    name: str = ""
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    type: str | None = Field(
        default=None, description="null or custom; tools that Anthropic's servers run are left out."
    )


class ToolChoice(Schema):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class Thinking(Schema):
    type: str = Field(description="disabled, or whatever else asks for thinking (enabled, adaptive …).")
    budget_tokens: int | None = None
    display: str | None = Field(default=None, description="omitted: the thinking is done, but its text is left out.")


class OutputFormat(Schema):
    type: Literal["json_schema"] = "json_schema"
    schema_: Annotated[dict[str, Any] | bool, limits.schema("output_config.format.schema")] = Field(alias="schema")


class OutputConfig(Schema):
    effort: str | None = None
    format: OutputFormat | None = None


class Conversation(DraftControl):
    """What a message and a count of tokens share."""

    model: str = Field(default="", description="Empty, and claude-… where there is no such model: the default model.")
    messages: Annotated[
        list[Message],
        Field(min_length=1, fail_fast=True),
        entries(Message, "messages", content=Block),
        limits.at_most(limits.MESSAGES, "messages"),
    ]
    system: Annotated[str | list[Block] | None, limits.at_most(limits.PARTS, "system")] = None
    tools: Annotated[list[Tool] | None, limits.tools()] = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = Field(default=None, description="The older place of output_config.format.")
    mcp_servers: list[Any] | None = None
    container: Any = None
    context_management: dict[str, Any] | None = None
    cache_control: Any = None


class MessageRequest(Conversation, Sampling):
    max_tokens: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="What does not fit in the context ends there (model_context_window_exceeded)."
    )
    stream: bool | None = False
    stop_sequences: Annotated[list[str] | None, limits.stops("stop_sequences")] = None
    ttl: float | None = Field(default=None, description="Idle seconds before a model loaded for this may leave.")
