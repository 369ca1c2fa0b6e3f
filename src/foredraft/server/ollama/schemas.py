"""Requests of Ollama's API, with our own additions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from foredraft.server import limits
from foredraft.server.lenient import Lax, Number, Schema, Whole, entries
from foredraft.server.schemas import MAX_TOP_LOGPROBS, DraftControl, Sampling


def _none_if_negative(value: Any) -> Any:
    """-1 is no limit, -2 fills the context: no limit either."""
    return None if isinstance(value, (int, float)) and value < 0 else value


class Options(Sampling):
    """How to answer. What is left out takes Ollama's defaults."""

    top_p: Annotated[Number, Field(ge=0, le=1)] | None = 0.9
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = 0.0
    num_predict: Annotated[Annotated[Whole, Field(ge=0)] | None, BeforeValidator(_none_if_negative)] = Field(
        default=None, description="Most tokens of the answer; -1: as many as fit."
    )
    num_ctx: Annotated[Whole, Field(ge=1, le=2**24)] | None = Field(
        default=None, description="Context in tokens that a model loaded for this gets, at least."
    )
    stop: Annotated[str | list[str] | None, limits.stops("options.stop")] = None
    draft_num_predict: Annotated[Whole, Field(ge=0)] | None = Field(
        default=None, description="Most tokens guessed in one round; 0 is plain decoding."
    )


class Named(Schema):
    """A request that names a model."""

    model: str = ""
    name: str = Field(default="", description="The older name of `model`.")


KeepAlive = Annotated[
    float | str | None, Field(description='Idle time before the model may leave: 600, "10m", -1 for ever, 0 at once.')
]


class Asking(Named, DraftControl):
    """What chat and generate share."""

    stream: bool | None = Field(default=None, description="Lines of JSON as they come; left out: true.")
    format: str | dict[str, Any] | None = Field(default=None, description='"json", or a JSON schema.')
    options: Options | None = None
    keep_alive: KeepAlive = None
    think: bool | str | None = Field(default=None, description="true, false, or an effort: low, medium, high, max.")
    logprobs: bool | None = None
    top_logprobs: Annotated[Whole, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    truncate: bool | None = Field(
        default=None, description="Leave the oldest messages out when they do not fit; left out: true."
    )


class Function(Lax):
    name: str
    arguments: dict[str, Any] | Annotated[str, limits.arguments("messages.tool_calls.function.arguments")] | None = None


class Call(Lax):
    id: str = ""
    function: Function


class Message(Lax):
    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[Any] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class ToolFunction(Lax):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Lax):
    type: Literal["function"] | None = "function"
    function: ToolFunction


class ChatRequest(Asking):
    messages: Annotated[
        list[Message] | None, entries(Message, "messages"), limits.at_most(limits.MESSAGES, "messages")
    ] = Field(default=None, description="Without any, the model is loaded (or, with keep_alive 0, unloaded).")
    tools: Annotated[list[Tool] | None, limits.tools()] = None


class GenerateRequest(Asking):
    prompt: str | None = Field(
        default=None, description="Without one, the model is loaded (or, with keep_alive 0, unloaded)."
    )
    suffix: str | None = Field(default=None, description="Write what stands between the prompt and this.")
    system: str | None = None
    template: str | None = None
    context: list[int] | None = Field(default=None, description="The `context` of an earlier answer, to go on from.")
    raw: bool | None = Field(default=None, description="Continue the prompt as it is, without the chat template.")
    images: list[Any] | None = None


class EmbedRequest(Named):
    input: Annotated[str | Annotated[list[str], Field(fail_fast=True)], limits.texts("input")] = ""
    truncate: bool | None = Field(default=None, description="Cut texts that are too long; left out: true.")
    dimensions: Annotated[Whole, Field(ge=1)] | None = None
    keep_alive: KeepAlive = None
    options: dict[str, Any] | None = None


class EmbeddingsRequest(Named):
    prompt: str = ""
    keep_alive: KeepAlive = None
    options: dict[str, Any] | None = None


class ShowRequest(Named):
    verbose: bool | None = None


class PullRequest(Named):
    stream: bool | None = None
    insecure: bool | None = None


class CopyRequest(Schema):
    source: str = ""
    destination: str = ""
