"""Requests of OpenAI's dialect, with LM Studio's and our own additions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from foredraft.server import limits
from foredraft.server.lenient import Lax, Most, Number, Schema, Whole, entries
from foredraft.server.schemas import MAX_TOP_LOGPROBS, DraftControl, Sampling
from foredraft.server.sessions import Session


class FunctionCall(Lax):
    name: str
    arguments: Annotated[str | dict[str, Any], limits.arguments("messages.tool_calls.function.arguments")] = "{}"


class ToolCall(Lax):
    id: str = ""
    type: Literal["function"] = "function"
    function: FunctionCall


class ContentPart(Lax):
    type: str
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Lax):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str | list[ContentPart] | None, limits.at_most(limits.PARTS, "messages.content")] = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None


class Function(Schema):
    name: Annotated[str, Field(min_length=1, max_length=128)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Schema):
    type: Literal["function"] = "function"
    function: Function


class NamedFunction(Schema):
    name: str


class NamedTool(Schema):
    type: Literal["function"] = "function"
    function: NamedFunction


class JsonSchema(Schema):
    name: str = "answer"
    schema_: Annotated[dict[str, Any] | bool | None, limits.schema("response_format.json_schema.schema")] = Field(
        default=None, alias="schema"
    )
    strict: bool | None = None


class ResponseFormat(Schema):
    type: Literal["text", "json_object", "json_schema", "grammar"] = "text"
    json_schema: JsonSchema | None = None
    schema_: Annotated[dict[str, Any] | bool | None, limits.schema("response_format.schema")] = Field(
        default=None, alias="schema", description="The schema in llama.cpp's form, with json_object or json_schema."
    )
    grammar: Annotated[str | None, limits.grammar("response_format.grammar")] = Field(
        default=None, description="llguidance's dialect of Lark, with type grammar."
    )


class StreamOptions(Schema):
    include_usage: bool = False


class Prediction(Schema):
    type: Literal["content"] = "content"
    content: Annotated[str | list[ContentPart], limits.at_most(limits.PARTS, "prediction.content")] = ""


class ModelWorker(Sampling, DraftControl, Session):
    """What chat and text completions share."""

    model: str = Field(default="", description="Empty: the default model.")
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    stop: Annotated[str | list[str] | None, limits.stops()] = None
    n: Annotated[Whole, Field(ge=1)] | None = 1
    max_tokens: Most = Field(default=None, description="null and -1: to the end of the answer or of the context.")
    prediction: Prediction | None = Field(default=None, description="The answer as expected: a free source of guesses.")
    ttl: Number | None = Field(default=None, description="Idle seconds before a model loaded for this may leave.")
    keep_alive: Number | str | None = Field(default=None, description='The same as Ollama has it: 600, "10m", -1, 0.')
    ignore_eos: bool = False


class ChatRequest(ModelWorker):
    messages: Annotated[
        list[ChatMessage],
        Field(min_length=1, fail_fast=True),
        entries(ChatMessage, "messages", content=ContentPart),
        limits.at_most(limits.MESSAGES, "messages"),
    ]
    max_completion_tokens: Most = None
    logprobs: bool | None = False
    top_logprobs: Annotated[Whole, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool] | None, limits.tools()] = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = True
    reasoning_effort: str | bool | None = None
    chat_template_kwargs: Annotated[dict[str, Any] | None, limits.variables("chat_template_kwargs")] = Field(
        default=None, description="Variables of the chat template."
    )
    tool_format: Annotated[str, Field(max_length=40)] = Field(
        default="", description="The form of tool calls and thinking, where the chat template does not tell it right."
    )
    continue_final_message: bool | None = Field(
        default=None,
        description="The last message is the assistant's, and the answer goes on with it. Default: it does.",
    )
    add_generation_prompt: bool | None = None
    truncation: Literal["auto", "disabled"] = Field(
        default="disabled", description="auto leaves the oldest messages out when the conversation does not fit."
    )


class CompletionRequest(ModelWorker):
    prompt: (
        str
        | Annotated[list[int], Field(fail_fast=True)]
        | Annotated[list[str], Field(fail_fast=True)]
        | Annotated[list[list[int]], Field(fail_fast=True)]
    ) = ""
    suffix: str | None = Field(
        default=None, description="Text behind what is to be written, for models that can fill in; empty is none."
    )
    max_tokens: Most = 16
    echo: bool | None = Field(
        default=False, description="Begin with the prompt; with logprobs, with those of its tokens, too."
    )
    logprobs: Annotated[Whole, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None


class EmbeddingRequest(Schema):
    input: Annotated[
        str
        | Annotated[list[str], Field(min_length=1, fail_fast=True)]
        | Annotated[list[int], Field(min_length=1, fail_fast=True)]
        | Annotated[list[list[int]], Field(min_length=1, fail_fast=True)],
        limits.texts("input"),
    ] = Field(description="A text, several texts, or their token ids.")
    model: str = Field(default="", description="Empty: the embedding model that is loaded, or the only one there is.")
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Annotated[Whole, Field(ge=1)] | None = Field(
        default=None, description="Fewer numbers a vector, where the model was trained for that."
    )
    ttl: Number | None = Field(default=None, description="Idle seconds before a model loaded for this may leave.")
    keep_alive: Number | str | None = Field(default=None, description='The same as Ollama has it: 600, "10m", -1, 0.')


class TokenizeRequest(Schema):
    model: str = ""
    content: str = ""
    add_special: bool = False


class TokensRequest(TokenizeRequest):
    """`prompt` or `messages` as vLLM has them, or `content` as llama-server has it, each with its own defaults."""

    prompt: str | None = None
    messages: Annotated[
        list[ChatMessage] | None, Field(min_length=1, fail_fast=True), limits.at_most(limits.MESSAGES, "messages")
    ] = None
    add_special_tokens: bool = Field(default=True, description="Of `prompt`: begin and end as the model wants it.")
    parse_special: bool = Field(default=True, description="Of `content`: read control tokens by their names.")
    return_token_strs: bool | None = False
    chat_template_kwargs: Annotated[dict[str, Any] | None, limits.variables("chat_template_kwargs")] = None


class DetokenizeRequest(Schema):
    model: str = ""
    tokens: Annotated[list[int], Field(fail_fast=True), limits.at_most(limits.DETOKENIZE, "tokens")]
