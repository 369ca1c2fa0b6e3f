"""The request for an answer in no dialect, and the same as tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from foredraft.core.params import Request, SamplingParams, SpeculationParams, check_limits
from foredraft.formats.entries import Form
from foredraft.formats.response_parser import ResponseParser
from foredraft.requests.warnings import noted

Parser = TypeVar("Parser", bound=ResponseParser)


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """What is asked for. Either `messages` (a conversation in OpenAI's form) or `prompt` (text or tokens to go on
    with)."""

    model: str = ""
    """The name of the model; empty: whichever answers (`server/naming.py`). `LLM` answers itself."""
    messages: Sequence[Mapping[str, Any]] | None = None
    prompt: str | Sequence[int] | None = None
    suffix: str = ""
    """What stands behind the text that is wanted: the model fills in between `prompt` and this. Empty: it goes on."""
    sampling: SamplingParams = field(default_factory=SamplingParams)
    speculation: SpeculationParams = field(default_factory=SpeculationParams)
    draft: str = "auto"
    """The draft that should guess: auto (whichever is loaded), off, or a name, which is loaded first."""
    draft_required: bool = False
    """Refuse the request rather than answer without the draft."""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    n: int = 1
    """Answers wanted; with a seed they get seed, seed + 1, …"""
    prediction: str = ""
    top_logprobs: int | None = None
    """Log probabilities of the answer's tokens, with so many likely others; None is none."""
    prompt_logprobs: int | None = None
    """The same of the prompt's tokens."""
    schema: Mapping[str, Any] | bool | None = None
    """The answer must be JSON of this schema."""
    grammar: str = ""
    """The answer must be of this grammar (llguidance's Lark)."""
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str = "auto"
    """auto, none, required, or the name of one tool."""
    several_calls: bool = True
    tool_format: str = ""
    """The name of the form that calls and thinking are written in; empty: what the model's template says."""
    continue_last: bool | None = None
    """Whether the last message, where it is the assistant's, is the beginning of the answer; None: it is."""
    continuation: str = ""
    """What the model has written of the answer already, marks and names of control tokens included: it goes on behind
    that, and so does its grammar."""
    generation_prompt: bool = True
    """The template opens the assistant's turn."""
    truncate: bool = False
    """Leave the oldest messages out when the conversation does not fit."""
    template: str = ""
    """A chat template (Jinja) instead of the model's own."""
    template_variables: Mapping[str, Any] | None = None
    context: int | None = None
    """Tokens of context the model must have; one that is loaded for this request gets them."""
    ttl_s: float | None = -1.0
    """Idle seconds after which a model loaded for this request may leave; -1 takes the server's default, None never."""
    ignore_eos: bool = False
    session: str = ""
    """The conversation's name, by which it keeps to its own cached prefix (`server/sessions.py`)."""
    warnings: list[str] = field(default_factory=noted)
    """What of the request was left out, a sentence each (`warnings.py`): the answer repeats it."""
    answer_id: str = ""
    keep: bool = False
    """Can be followed again by its id (`Runtime.answer`)."""

    def __post_init__(self) -> None:
        check_limits(self.max_tokens, self.stop)

    @property
    def forces_call(self) -> bool:
        """The answer must be a call of a tool."""
        return bool(self.tools) and self.tool_choice not in ("auto", "none")


@dataclass(frozen=True, slots=True)
class TokenizedRequest:
    """A request as tokens, with what is needed to read its answer."""

    request: Request
    thinking: bool
    """The prompt ends inside the model's thinking."""
    tool_format: Form | None
    """How the model writes its answers; without calls where there are no tools. None: no conversation."""
    begun: bool = False
    """The prompt has begun the content of the answer."""
    continuation: tuple[int, ...] = ()
    """The end of the prompt that belongs to the answer: what its grammar has read already."""
    tools: Sequence[Mapping[str, Any]] = ()
    """Those that may be called."""

    def parser(self, kind: type[Parser]) -> Parser:
        """A parser of the answer."""
        return kind(self.thinking, self.tool_format, begun=self.begun, tools=self.tools)
